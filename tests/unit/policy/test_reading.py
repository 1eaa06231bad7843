# SPDX-License-Identifier: Apache-2.0
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from callers import google_account, verdict_of, workload
from podpass.policy import HandlerToken, InvokerPolicy, Mode, Refusal, Request, TrustedIssuer
from podpass.policy.fields import DOCUMENT
from podpass.policy.invoker_policy import GOOGLE
from podpass.policy.reading import PolicyFileError, parse

# The example of the interface, word for word.
WHOLE = """\
apiVersion: podpass.dev/v1alpha1
kind: InvokerPolicy
metadata: {name: auth-server}
spec:
  audiences: [https://auth-server.example]
  issuers:
    cluster: {kind: kubernetes, url: https://storage.googleapis.com/demo-oidc, keys: discovery}   # keys: discovery | file: PATH | apiserver
    google:  {kind: google}
  groups:
    callers: [kubernetes:cluster/id-namespace/gke-sa]
  rules:
    - paths: [/private, /private/*]      # * is one segment, ** any number; the most specific rule decides
      methods: [GET]
      members: [group:callers, serviceAccount:gke-gsa@demo-project.iam.gserviceaccount.com]
      condition: identity.kubernetes.pod.name.startsWith('auth-client')
    - paths: [/]
      members: [allUsers]
  mode: enforce                          # audit: verdicts of the rules are logged, not enforced; authentication always is
"""


@pytest.fixture(scope="module")
def whole() -> InvokerPolicy:
    return parse(WHOLE.encode(), Path("/etc/podpass/policy.yaml"))


def test_the_whole_example_is_read(whole: InvokerPolicy) -> None:
    assert (whole.name, whole.mode, whole.leeway) == ("auth-server", Mode.ENFORCE, timedelta(seconds=30))
    assert [str(audience) for audience in whole.audiences] == ["https://auth-server.example"]
    assert [(issuer.name, issuer.kind, str(issuer.issuer), issuer.keys) for issuer in whole.issuers] == [
        ("cluster", "kubernetes", "https://storage.googleapis.com/demo-oidc", "discovery"),
        ("google", "google", "https://accounts.google.com", "discovery"),
    ]
    assert [rule.name for rule in whole.rules] == ["rules[0]", "rules[1]"]
    assert [str(member) for member in whole.rules[0].members] == [
        "kubernetes:cluster/id-namespace/gke-sa",
        "serviceAccount:gke-gsa@demo-project.iam.gserviceaccount.com",
    ]


def test_the_whole_example_admits_whom_it_says(whole: InvokerPolicy) -> None:
    client = workload("id-namespace", "gke-sa", bound=claim("auth-client-1"))
    other_pod = workload("id-namespace", "gke-sa", bound=claim("shell"))
    assert verdict_of(whole, Request("GET", "/private"), client).refusal is None
    assert verdict_of(whole, Request("GET", "/private/a"), client).refusal is None
    assert verdict_of(whole, Request("GET", "/private"), other_pod).refusal is Refusal.CONDITION
    assert verdict_of(whole, Request("GET", "/private"), google_account()).refusal is Refusal.CONDITION
    assert verdict_of(whole, Request("GET", "/private"), workload("shop", "checkout")).refusal is Refusal.NOT_A_MEMBER
    assert verdict_of(whole, Request("POST", "/private"), client).refusal is Refusal.NO_METHOD
    assert verdict_of(whole, Request("GET", "/elsewhere"), client).refusal is Refusal.NO_RULE
    assert verdict_of(whole, Request("GET", "/"), None).refusal is None


def claim(pod: str) -> dict[str, Any]:
    return {"namespace": "id-namespace", "serviceaccount": {"name": "gke-sa", "uid": "1"}, "pod": {"name": pod, "uid": "2"}}


def test_every_setting_is_read() -> None:
    text = """\
apiVersion: podpass.dev/v1alpha1
kind: InvokerPolicy
metadata: {name: p}
spec:
  audiences: [orders-api]
  issuers:
    a: {kind: kubernetes, url: https://a.example, keys: {file: keys/a.json}, apiAudiences: [my-api]}
    b: {kind: kubernetes, url: https://a.example, keys: apiserver, algorithms: [EdDSA, RS256, EdDSA]}
    c: {kind: oidc, url: https://c.example}
  rules: [{name: all, paths: [/**], members: ["kubernetes:b/*/*"], tokenReview: true}]
  mode: audit
  leeway: 0
  severalAudiences: true
  serverlessAuthorization: true
  handlerToken: unsigned
"""
    policy = parse(text.encode(), Path("/etc/podpass/policy.yaml"))
    assert policy.issuers[0].keys == Path("/etc/podpass/keys/a.json")
    assert policy.issuers[0].api_audiences == {"my-api"}
    assert [issuer.algorithms for issuer in policy.issuers] == [("RS256", "ES256"), ("RS256", "EdDSA"), ("RS256", "ES256")]
    assert [issuer.keys for issuer in policy.issuers[1:]] == ["apiserver", "discovery"]
    assert (policy.rules[0].name, policy.rules[0].token_review) == ("all", True)
    assert (policy.mode, policy.leeway) == (Mode.AUDIT, timedelta(0))
    assert (policy.several_audiences, policy.serverless_authorization) == (True, True)
    assert policy.handler_token is HandlerToken.UNSIGNED


HEAD = "apiVersion: podpass.dev/v1alpha1\nkind: InvokerPolicy\nmetadata: {name: p}\n"
# A sound spec, to be broken in one place each.
SPEC = {
    "audiences": "[orders-api]",
    "issuers": "{c: {kind: kubernetes, url: https://c.example}, g: {kind: google}, o: {kind: oidc, url: https://o.example}}",
    "groups": "{callers: ['kubernetes:c/shop/checkout']}",
    "rules": "[{paths: [/], members: [allUsers]}]",
}


def spec(**changed: str) -> str:
    lines = (f"  {key}: {value}\n" for key, value in {**SPEC, **changed}.items() if value)
    return HEAD + "spec:\n" + "".join(lines)


def rule(**changed: str) -> str:
    fields = {"paths": "[/]", "members": "[allUsers]", **changed}
    return "[{" + ", ".join(f"{key}: {value}" for key, value in fields.items() if value) + "}]"


MISTAKES = [
    ("", "policy.yaml:1:1: This file is empty. Write an InvokerPolicy; without one every request is denied. [config.empty]"),
    ("kind: Federation\napiVersion: podpass.dev/v1alpha1\n", "policy.yaml:1:7: kind: 'Federation' is unknown here."),
    (HEAD, "policy.yaml:1:1: The key 'spec' is missing."),
    (spec(audiences=""), "policy.yaml:5:3: spec: The key 'audiences' is missing. What the service is called in the token's `aud`."),
    (spec(audiences="[]"), "policy.yaml:5:14: spec.audiences: This list is empty. Write at least 1 item. [config.empty]"),
    (spec(audiences="orders-api"), "spec.audiences: This is text ('orders-api'); a list is wanted."),
    (spec(audiences="[https://c.example]"), "policy.yaml:5:15: spec.audiences[0]: 'https://c.example' is the issuer itself"),
    (spec(audiences="[https://kubernetes.default.svc]"), "is the address of an API server"),
    (spec(audiences="[k3s]"), "an API server's by the distribution's defaults"),
    (
        spec(issuers="{c: {kind: kubernetes, url: https://c.example, apiAudiences: [orders-api]}}"),
        "'orders-api' is declared as an audience of the API server (issuer 'c')",
    ),
    (spec(rules=""), "spec: The key 'rules' is missing."),
    (spec(audience="[x]", audiences=""), "policy.yaml:8:3: spec.audience: The key 'audience' is unknown. Did you mean 'audiences'?"),
    (spec(paths="[/]"), "spec.paths: The key 'paths' is unknown. 'paths' belongs in spec.rules."),
    (spec(mode="audited"), "policy.yaml:9:9: spec.mode: 'audited' is not one of the values known here. Did you mean 'audit'?"),
    (spec(leeway="301"), "spec.leeway: 301 is outside 0 to 300 seconds."),
    (spec(leeway="30s"), "spec.leeway: This is text ('30s'); a whole number of seconds is wanted."),
    (spec(severalAudiences="yes"), "spec.severalAudiences: This is true or false ('yes'); true or false is wanted."),
    (spec(serverlessAuthorization="'true'"), "spec.serverlessAuthorization: This is text ('true'); true or false is wanted."),
    (spec(issuers="[]"), "spec.issuers: This is a list; a mapping is wanted."),
    (spec(issuers="{Cluster: {kind: google}}"), "policy.yaml:6:13: spec.issuers.Cluster: 'Cluster' cannot be a name here."),
    (spec(issuers="{c: {kind: kubernets, url: https://c.example}}"), "spec.issuers.c.kind: 'kubernets' is not one of"),
    (spec(issuers="{c: {url: https://c.example}}"), "policy.yaml:6:16: spec.issuers.c: The key 'kind' is missing."),
    (spec(issuers="{c: {kind: kubernetes}}"), "spec.issuers.c: The key 'url' is missing."),
    (spec(issuers="{c: {kind: oidc, url: http://c.example}}"), "spec.issuers.c.url: 'http://c.example' cannot be an issuer."),
    (spec(issuers="{g: {kind: google, url: https://c.example}}"), "An issuer of kind google is https://accounts.google.com."),
    (spec(issuers="{g: {kind: google, keys: apiserver}}"), "An API server has no keys of an issuer of kind google."),
    (spec(issuers="{g: {kind: google, apiAudiences: [x]}}"), "An issuer of kind google has no API server."),
    (spec(issuers="{c: {kind: oidc, url: https://c.example, keys: dicovery}}"), "Did you mean 'discovery'?"),
    (spec(issuers="{c: {kind: oidc, url: https://c.example, keys: {path: x}}}"), "spec.issuers.c.keys: The key 'file' is missing."),
    (
        spec(issuers="{c: {kind: oidc, url: https://c.example}, d: {kind: kubernetes, url: https://c.example}}"),
        "spec.issuers.d: 'd' has the URL and the keys of 'c'; nothing would tell their tokens apart.",
    ),
    (spec(issuers="{g: {kind: google, algorithms: []}}"), "spec.issuers.g.algorithms: This list is empty."),
    (spec(issuers="{g: {kind: google, algorithms: [HS256]}}"), "podpass does not verify 'HS256'. A shared secret is never a key here"),
    (spec(issuers="{g: {kind: google, algorithms: [RS526]}}"), "podpass does not verify 'RS526'. Did you mean RS512?"),
    (spec(issuers="{g: {kind: google, algorithms: [none]}}"), "podpass does not verify 'none'."),
    (spec(groups="{callers: []}"), "spec.groups.callers: This list is empty."),
    (spec(groups="{callers: [allUsers]}"), "spec.groups.callers[0]: A group does not hold allUsers."),
    (spec(groups="{callers: ['group:callers']}"), "A group does not hold group:callers. Name its members here."),
    (spec(rules=rule(members="['group:caller']")), "spec.rules[0].members[0]: There is no group 'caller'. Did you mean 'callers'?"),
    (spec(rules=rule(members="['kubernetes:d/shop/*']")), "There is no issuer 'd'. Known here: c, g, o."),
    (spec(rules=rule(members="['subject:*/x']")), "There is no issuer '*'."),
    (spec(rules=rule(members="['kubernetes:g/shop/*']")), "'g' is of kind google; it has no Kubernetes service accounts."),
    (spec(issuers="{}", groups="", rules=rule(members="['domain:example.com']")), "no issuer is of kind google"),
    (spec(issuers="{}", groups="", rules=rule(members="['user:ann@example.com']")), "no issuer is of kind google"),
    (spec(rules=rule(members="['group:team@example.com']")), "Nobody can tell who is in the Google group team@example.com."),
    (
        spec(issuers="{}", groups="", groupResolver="{kind: cloudIdentity}", rules=rule(members="['group:team@example.com']")),
        "group:team@example.com needs Google's tokens, and no issuer is of kind google.",
    ),
    (
        spec(groupResolver="{kind: cloudIdentity}", rules=rule(members="['group:team@example.com']", tokenReview="true")),
        "The API server knows nothing about group:team@example.com",
    ),
    (spec(groupResolver="{kind: ldap}"), "spec.groupResolver.kind: 'ldap' is not one of the values known here."),
    (spec(handlerToken="some"), "spec.handlerToken: 'some' is not one of the values known here."),
    (spec(rules=rule(members="['user:ann']")), "spec.rules[0].members[0]: 'user:ann' is not a member."),
    (spec(rules=rule(members="[]")), "spec.rules[0].members: This list is empty."),
    (spec(rules=rule(members="")), "spec.rules[0]: The key 'members' is missing."),
    (spec(rules=rule(paths="")), "spec.rules[0]: The key 'paths' is missing."),
    (spec(rules=rule(paths="[private]")), "spec.rules[0].paths[0]: 'private' is not a pattern of paths."),
    (spec(rules=rule(methods="[get]")), "spec.rules[0].methods[0]: 'get' is not a method known here. Did you mean GET?"),
    (spec(rules=rule(methods="[FETCH]")), "'FETCH' is not a method known here."),
    (spec(rules=rule(methods="[]")), "spec.rules[0].methods: This list is empty."),
    (spec(rules=rule(condition="identity.sub == 'x'")), "spec.rules[0].condition: \"identity.sub == 'x'\" is not an expression"),
    (spec(rules=rule(condition="identity.subject")), "'identity.subject' is not a condition."),
    (spec(rules=rule(tokenReview="true")), "The API server knows nothing about allUsers"),
    (spec(rules=rule(tokenReview="true", members="['subject:o/x']")), "The API server knows nothing about subject:o/x"),
    (spec(rules=rule(member="[allUsers]", members="")), "The key 'member' is unknown. Did you mean 'members'?"),
    (
        spec(rules="[{paths: [/a], members: [allUsers]}, {paths: [/b, /a/], members: [allAuthenticatedUsers]}]"),
        "spec.rules[1].paths: Every other method on /a is decided by rule spec.rules[0] already.",
    ),
    (
        spec(rules="[{name: a, paths: [/a], members: [allUsers]}, {name: a, paths: [/b], members: [allUsers]}]"),
        "spec.rules[1].name: Another rule is called 'a'.",
    ),
    (spec() + "---\n" + spec(), "policy.yaml:10:1: A file holds one document; here begins another one."),
    ("a: [", "This is not YAML"),
    ("- a\n", "policy.yaml:1:1: This is a list; a mapping is wanted."),
]


@pytest.mark.parametrize(("text", "expected"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_is_told_with_its_place_and_cure(text: str, expected: str) -> None:
    with pytest.raises(PolicyFileError) as caught:
        parse(text.encode(), Path("policy.yaml"))
    told = [mistake.render(Path("policy.yaml")) for mistake in caught.value.mistakes]
    assert any(expected in line for line in told), told


def test_all_mistakes_are_told_at_once() -> None:
    text = spec(
        audiences="[]",
        issuers="{c: {kind: kubernetes, url: ftp://x}}",
        mode="on",
        rules="[{paths: [x], methods: [get], members: [nobody], condition: 'identity.x'}]",
    )
    with pytest.raises(PolicyFileError) as caught:
        parse(text.encode(), Path("policy.yaml"))
    assert [mistake.path for mistake in caught.value.mistakes] == [
        "spec.audiences",
        "spec.issuers.c.url",
        "spec.rules[0].paths[0]",
        "spec.rules[0].methods[0]",
        "spec.rules[0].members[0]",
        "spec.rules[0].condition",
        "spec.mode",
    ]
    assert caught.value.full_code == "config.policy-file"
    assert "until then this file admits nobody" in str(caught.value)


def test_a_token_review_of_a_clusters_own_subjects_is_read() -> None:
    members = "['kubernetes:c/shop/*', 'subject:c/system:serviceaccount:shop:checkout', 'group:callers']"
    assert parse(spec(rules=rule(tokenReview="true", members=members)).encode(), Path("p.yaml")).rules[0].token_review


def test_one_path_for_two_methods_may_have_two_rules() -> None:
    rules = "[{paths: [/a], methods: [GET], members: [allUsers]}, {paths: [/a], members: [allAuthenticatedUsers]}]"
    assert len(parse(spec(rules=rules).encode(), Path("p.yaml")).rules) == 2


def test_google_is_an_issuer_without_an_address() -> None:
    assert parse(spec().encode(), Path("p.yaml")).issuers[1] == TrustedIssuer("g", "google", GOOGLE)


def test_every_form_writes_its_schema() -> None:
    schema = DOCUMENT.schema()
    assert schema["required"] == ["apiVersion", "kind", "metadata", "spec"]
    assert "'type': 'boolean'" in str(schema)
    assert "oneOf" in str(schema)


def test_google_groups_are_kept_apart_from_members_that_need_nobody() -> None:
    text = spec(
        groupResolver="{kind: cloudIdentity}",
        groups="{callers: ['kubernetes:c/shop/checkout', 'group:inner@example.com']}",
        rules=rule(members="['group:team@example.com', 'group:callers', 'group:team@example.com', 'user:ann@example.com']"),
    )
    policy = parse(text.encode(), Path("p.yaml"))
    assert policy.group_resolver == "cloudIdentity"
    assert [str(member) for member in policy.rules[0].members] == ["kubernetes:c/shop/checkout", "user:ann@example.com"]
    assert policy.rules[0].google_groups == ("team@example.com", "inner@example.com")
