# SPDX-License-Identifier: Apache-2.0
"""Workloads that a file does not name: what is read, and each fault with its line and column."""

from datetime import timedelta
from pathlib import Path

import pytest

from podpass.config.cross_checks import is_namespace_claim
from podpass.config.federation import Federation
from podpass.config.mistakes import FederationFileError
from podpass.config.reading import parse
from podpass.names import GoogleServiceAccount, ServiceAccountRef
from podpass.names.labels import LabelSelector, Requirement

HEAD = """\
apiVersion: podpass.dev/v1alpha1
kind: Federation
metadata: {name: demo}
spec:
  google:
    project: demo-project
    pool: {id: demo-pool}
    provider: {id: cluster}
    attributeMapping:
      {google.subject: assertion.sub, attribute.namespace: "assertion['kubernetes.io']['namespace']", attribute.own: assertion.sub}
  workloads:
"""


def read(workloads: str, head: str = HEAD) -> Federation:
    return parse((head + workloads).encode(), Path("podpass.yaml"))


def told(workloads: str, head: str = HEAD) -> list[str]:
    with pytest.raises(FederationFileError) as caught:
        read(workloads, head)
    return [mistake.render(Path("f")) for mistake in caught.value.mistakes]


def test_a_selector_is_read_whole() -> None:
    federation = read("""\
  - selector:
      matchLabels: {example.com/app: shop}
      matchExpressions:
      - {key: tier, operator: NotIn, values: [test, ""]}
      - {key: ready, operator: Exists}
      namespaces: [shop, billing]
      atMost: 7
    googleServiceAccount: shop-sa
    roles: [roles/viewer]
    token: {expiration: 7200}
    credentials: {configMap: google}
""")
    assert federation.workloads == ()
    (selection,) = federation.selections
    app = Requirement("example.com/app", "In", ("shop",))
    assert selection.selector.labels == LabelSelector((app, Requirement("tier", "NotIn", ("test", "")), Requirement("ready", "Exists")))
    assert (selection.selector.namespaces, selection.selector.at_most) == (("shop", "billing"), 7)
    workload = selection.workload(ServiceAccountRef("shop", "web"))
    assert str(workload) == workload.label == "shop/web"
    assert (workload.selected_by, workload.roles, workload.member) == ("spec.workloads[0]", ("roles/viewer",), "subject")
    assert workload.google_service_account == GoogleServiceAccount("shop-sa@demo-project.iam.gserviceaccount.com")
    assert workload.token.expiration == timedelta(hours=2)
    assert federation.patterns == (selection.pattern,)


def test_a_namespace_is_read_and_called_what_no_account_is() -> None:
    (workload,) = read("  - {namespace: shop, roles: [roles/viewer]}").workloads
    assert workload.is_namespace
    assert (workload.member, workload.label, str(workload)) == ("attribute.namespace", "attribute.namespace/shop", "namespace shop")


FAULTS = {
    "nobody": ("  - roles: [roles/viewer]", "f:12:5: spec.workloads[0]: The key 'serviceAccount' is missing."),
    "two ways": ("  - {serviceAccount: a/b, namespace: c}", "f:12:5: spec.workloads[0]: This workload is named in more than one way."),
    "a bad namespace": ("  - namespace: Shop", "f:12:16: spec.workloads[0].namespace: 'Shop' is not a Kubernetes namespace."),
    "a namespace of slashes": ("  - namespace: a/b", "f:12:16: spec.workloads[0].namespace: 'a/b' is not a Kubernetes namespace."),
    "one namespace twice": (
        "  - namespace: shop\n  - namespace: shop",
        "f:13:16: spec.workloads[1].namespace: The namespace shop is declared twice, first in line 12.",
    ),
    "a namespace as one subject": (
        "  - namespace: shop\n    member: subject",
        "f:13:13: spec.workloads[0].member: The namespace shop is a set of accounts, and subject stands for one.",
    ),
    "a namespace by an attribute that is none": (
        "  - namespace: shop\n    member: attribute.own",
        "f:13:13: spec.workloads[0].member: attribute.own is 'assertion.sub', which need not be the namespace",
    ),
    "a namespace by nothing that is mapped": (
        "  - namespace: shop\n    member: attribute.ns",
        "f:13:13: spec.workloads[0].member: The mapping has no attribute.ns. Add attribute.ns: assertion['kubernetes.io']['namespace'] to",
    ),
    "an empty selector": ("  - selector: {}", "f:12:15: spec.workloads[0].selector: This selector takes every account, also one without"),
    "a selector of denials": (
        "  - selector: {matchExpressions: [{key: a, operator: DoesNotExist}]}",
        "f:12:15: spec.workloads[0].selector: This selector takes every account, also one without a label.",
    ),
    "everything and a label": (
        "  - selector: {everything: true, matchLabels: {a: b}}",
        "f:12:15: spec.workloads[0].selector: everything: true stands beside labels that an account has to have.",
    ),
    "everything as a word": (
        "  - selector: {everything: yes}",
        "f:12:28: spec.workloads[0].selector.everything: This is true or false ('yes'); true or false is wanted.",
    ),
    "namespaces in two ways": (
        "  - selector: {matchLabels: {a: b}, namespaces: [c], namespaceSelector: {matchLabels: {d: e}}}",
        "f:12:15: spec.workloads[0].selector: This selector names namespaces, and selects some.",
    ),
    "no namespace": (
        "  - selector: {matchLabels: {a: b}, namespaces: []}",
        "f:12:49: spec.workloads[0].selector.namespaces: This list is empty.",
    ),
    "every namespace": (
        "  - selector: {matchLabels: {a: b}, namespaceSelector: {}}",
        "f:12:56: spec.workloads[0].selector.namespaceSelector: This selector takes every namespace.",
    ),
    "a label's key": (
        "  - selector: {matchLabels: {'a,b': c}}",
        "f:12:30: spec.workloads[0].selector.matchLabels.a,b: 'a,b' cannot be the key of a label.",
    ),
    "a label's value that adds a requirement": (
        "  - selector: {matchLabels: {a: 'b,c!=d'}}",
        "f:12:33: spec.workloads[0].selector.matchLabels.a: 'b,c!=d' cannot be the value of a label.",
    ),
    "a value that is a number": (
        "  - selector: {matchLabels: {a: 1}}",
        "f:12:33: spec.workloads[0].selector.matchLabels.a: This is a number ('1'); text is wanted. Put it in quotes",
    ),
    "an operator": (
        "  - selector: {matchExpressions: [{key: a, operator: in, values: [b]}]}",
        "f:12:54: spec.workloads[0].selector.matchExpressions[0].operator: 'in' is not one of the values known here. Did you mean 'In'?",
    ),
    "In without values": (
        "  - selector: {matchExpressions: [{key: a, operator: In}]}",
        "f:12:35: spec.workloads[0].selector.matchExpressions[0]: The operator In needs values.",
    ),
    "Exists with values": (
        "  - selector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}",
        "f:12:35: spec.workloads[0].selector.matchExpressions[0]: The operator Exists takes no values.",
    ),
    "too many": (
        "  - selector: {matchLabels: {a: b}, atMost: 1501}",
        "f:12:45: spec.workloads[0].selector.atMost: 1501 is outside 1 to 1500 accounts.",
    ),
    "one selector twice": (
        "  - selector: {matchLabels: {a: b}}\n  - selector: {matchLabels: {a: b}}",
        "f:13:15: spec.workloads[1].selector: This selector is declared twice, first in line 12.",
    ),
    "an unknown key": (
        "  - selector: {matchLabel: {a: b}}",
        "f:12:16: spec.workloads[0].selector.matchLabel: The key 'matchLabel' is unknown. Did you mean 'matchLabels'?",
    ),
    "one config map for two contents": (
        (
            "  - {serviceAccount: a/b, credentials: {configMap: c}}\n"
            "  - {selector: {matchLabels: {a: b}}, credentials: {configMap: c, key: k}}"
        ),
        "f:13:64: spec.workloads[1].credentials.configMap: In a namespace of both, the config map c would be that of line 12 as well",
    ),
}


@pytest.mark.parametrize(("workloads", "expected"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_told_once_where_it_stands(workloads: str, expected: str) -> None:
    (mistake,) = told(workloads)
    assert mistake.startswith(expected)


def test_config_maps_of_one_content_or_of_namespaces_that_do_not_meet_are_fine() -> None:
    same = "credentials: {configMap: c}"
    other = "credentials: {configMap: c, key: k}"
    found = read(f"""\
  - {{serviceAccount: a/b, {same}}}
  - {{selector: {{matchLabels: {{a: b}}, namespaces: [d]}}, {other}}}
  - {{namespace: a, {same}}}
""")
    assert len(found.patterns) == 3


@pytest.mark.parametrize(
    "expression",
    [
        "assertion['kubernetes.io']['namespace']",
        "assertion['kubernetes.io'].namespace",
        ' assertion[ "kubernetes.io" ]["namespace"] ',
        "'one:' + assertion['kubernetes.io']['namespace']",
        '"cluster-1."+assertion["kubernetes.io"].namespace',
    ],
)
def test_the_claim_of_the_api_server_is_a_namespace(expression: str) -> None:
    assert is_namespace_claim(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "assertion.sub",
        "assertion.namespace",
        "assertion['kubernetes.io']['pod']['name']",
        "assertion['kubernetes.io'].namespaces",
        "assertion['kubernetes.io'].namespace.split('-')[0]",
        "assertion['kubernetes.io'].namespace + '-x'",
        "assertion.aud[0] + assertion['kubernetes.io'].namespace",
        "'one' + assertion['kubernetes.io'].namespace",  # 'one' + 'shop' and 'ones' + 'hop' are one value
        "'a/b/' + assertion['kubernetes.io'].namespace",
        "'one: ' + assertion['kubernetes.io'].namespace",
        "'one:' + 'two:' + assertion['kubernetes.io'].namespace",
        "true ? 'shop' : assertion['kubernetes.io'].namespace",
        "assertion['kubernetes.io'].namespace // shop",
        "assertion['kubernetes.io\"]['namespace']",
    ],
)
def test_what_a_pods_maker_may_choose_or_another_cluster_could_come_to_is_none(expression: str) -> None:
    assert not is_namespace_claim(expression)


REFERENCES = {
    "a provider in a pool that is not": ("{id: demo-pool}", "{id: cluster, existing: true}", "f:8:39: spec.google.provider.existing: The"),
    "a name for what others keep": (
        "{id: demo-pool, existing: true, displayName: Ours}",
        "{id: cluster}",
        "f:7:56: spec.google.pool.displayName: Whoever keeps the pool names it.",
    ),
    "a condition for what others keep": (
        "{id: demo-pool, existing: true}",
        "{id: cluster, existing: true}\n    attributeCondition: none",
        "f:9:25: spec.google.attributeCondition: Whoever keeps the provider writes its condition.",
    ),
}


@pytest.mark.parametrize(("pool", "provider", "expected"), REFERENCES.values(), ids=REFERENCES)
def test_what_somebody_else_keeps_is_not_said_how_to_be(pool: str, provider: str, expected: str) -> None:
    head = HEAD.replace("{id: demo-pool}", pool).replace("{id: cluster}", provider)
    (mistake,) = told("  - serviceAccount: a/b", head)
    assert mistake.startswith(expected)
