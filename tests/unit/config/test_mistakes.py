# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 - the lines of the table are what the reader sees, whole
"""A table of bad federation files: each row is one fault in an otherwise good file, with the line that the reader sees."""

from pathlib import Path

import pytest

from podpass.config.mistakes import FederationFileError
from podpass.config.reading import parse

FILE = Path("podpass.yaml")
GOOD = """\
apiVersion: podpass.dev/v1alpha1
kind: Federation
metadata: {name: demo}
spec:
  cluster:
    kubeconfig: kubeconfig
  issuer:
    url: https://storage.googleapis.com/demo-oidc
    keys: bucket
    bucket: {name: demo-oidc}
  google:
    project: demo-project
    pool: {id: demo-pool}
    provider: {id: demo-provider}
    attributeMapping:
      google.subject: assertion.sub
      attribute.sub: assertion.sub
      attribute.namespace: assertion['kubernetes.io'].namespace
    attributeCondition: generated
  workloads:
    - serviceAccount: default/a
      googleServiceAccount: account-a
      member: attribute.sub
      roles: [roles/storage.admin]
      grants: [{role: roles/viewer, project: other-project}]
      token: {expiration: 3600}
      credentials: {configMap: sts-config}
"""
SECOND = "\n    - serviceAccount: {name}\n      {rest}"

# id: (text to replace, its replacement, what is printed after the file's name)
ONE_FAULT = {
    "unknown key at the top": (
        "kind:",
        "knid: x\nkind:",
        ":2:1: knid: The key 'knid' is unknown. Known keys: apiVersion, kind, metadata, spec. [config.unknown-key]",
    ),
    "unknown key, nearest is told": (
        "serviceAccount: default/a",
        "serviceAcount: default/a",
        ":21:7: spec.workloads[0].serviceAcount: The key 'serviceAcount' is unknown. Did you mean 'serviceAccount'? [config.unknown-key]",
    ),
    "another spelling of a key": (
        "attributeCondition: generated",
        "attribute_condition: generated",
        (
            ":19:5: spec.google.attribute_condition: The key 'attribute_condition' is unknown. Did you mean 'attributeCondition'? "
            "[config.unknown-key]"
        ),
    ),
    "a key in the wrong place": (
        "  issuer:",
        "  pool: {id: demo-pool}\n  issuer:",
        ":7:3: spec.pool: The key 'pool' is unknown. 'pool' belongs in spec.google. [config.unknown-key]",
    ),
    "unknown key with nothing near": (
        "{name: demo}",
        "{name: demo, xyz: 1}",
        ":3:24: metadata.xyz: The key 'xyz' is unknown. Known keys: name. [config.unknown-key]",
    ),
    "merge key": (
        "{id: demo-pool}",
        "{id: demo-pool, <<: {}}",
        ":13:27: spec.google.pool.<<: Merge keys are not read. Write the values out. [config.unknown-key]",
    ),
    "missing key": (
        "    project: demo-project\n",
        "",
        ":12:5: spec.google: The key 'project' is missing. Id of the project where pool and accounts live. [config.missing-key]",
    ),
    "duplicate key": (
        "{id: demo-pool}",
        "{id: demo-pool, id: other-pool}",
        ":13:27: spec.google.pool.id: The key 'id' is there twice, first in line 13. Keep one of them. [config.duplicate-key]",
    ),
    "unknown apiVersion": (
        "podpass.dev/v1alpha1",
        "podpass.dev/v2",
        (
            ":1:13: apiVersion: 'podpass.dev/v2' is unknown here. podpass reads podpass.dev/v1alpha1 here. "
            "Write podpass.dev/v1alpha1. [config.unknown-api-version]"
        ),
    ),
    "unknown kind": (
        "kind: Federation",
        "kind: InvokerPolicy",
        ":2:7: kind: 'InvokerPolicy' is unknown here. podpass reads Federation here. Name a file of kind Federation. [config.unknown-kind]",
    ),
    "mistyped kind": (
        "kind: Federation",
        "kind: federation",
        ":2:7: kind: 'federation' is unknown here. podpass reads Federation here. Write Federation. [config.unknown-kind]",
    ),
    "no apiVersion": (
        "apiVersion: podpass.dev/v1alpha1\n",
        "",
        ":1:1: The key 'apiVersion' is missing. Write apiVersion: podpass.dev/v1alpha1. [config.missing-key]",
    ),
    "a number for a text": (
        "kubeconfig: kubeconfig",
        "kubeconfig: 12",
        ":6:17: spec.cluster.kubeconfig: This is a number ('12'); text is wanted. Put it in quotes: \"12\". [config.wrong-type]",
    ),
    "a word that YAML reads as true": (
        "kubeconfig: kubeconfig",
        "kubeconfig: on",
        ":6:17: spec.cluster.kubeconfig: This is true or false ('on'); text is wanted. Put it in quotes: \"on\". [config.wrong-type]",
    ),
    "a list for a text": (
        "kubeconfig: kubeconfig",
        "kubeconfig: [a]",
        ":6:17: spec.cluster.kubeconfig: This is a list; text is wanted. [config.wrong-type]",
    ),
    "nothing for a text": (
        "kubeconfig: kubeconfig",
        "kubeconfig:",
        ":6:16: spec.cluster.kubeconfig: This is nothing; text is wanted. Write a value, or remove the key. [config.wrong-type]",
    ),
    "null for the word none": (
        "attributeCondition: generated",
        "attributeCondition: null",
        (
            ":19:25: spec.google.attributeCondition: This is nothing; text is wanted. Write the word none, or remove the key. "
            "[config.wrong-type]"
        ),
    ),
    "a text for a mapping": (
        "{id: demo-pool}",
        "demo-pool",
        ":13:11: spec.google.pool: This is text ('demo-pool'); a mapping is wanted. Known keys: id, displayName, existing. [config.wrong-type]",
    ),
    "a mapping for a list": (
        "[roles/storage.admin]",
        "{roles/storage.admin: }",
        ":24:14: spec.workloads[0].roles: This is a mapping; a list is wanted. Begin each item with '- '. [config.wrong-type]",
    ),
    "text for a number": (
        "expiration: 3600",
        'expiration: "3600"',
        (
            ":26:27: spec.workloads[0].token.expiration: This is text ('3600'); a whole number of seconds is wanted. Remove the quotes. "
            "[config.wrong-type]"
        ),
    ),
    "a sexagesimal number": (
        "expiration: 3600",
        "expiration: 1:00:00",
        ":26:27: spec.workloads[0].token.expiration: This is a number ('1:00:00'); a whole number of seconds is wanted. [config.wrong-type]",
    ),
    "a token too short for Kubernetes": (
        "expiration: 3600",
        "expiration: 599",
        ":26:27: spec.workloads[0].token.expiration: 599 is outside 600 to 86400 seconds. Write a number from 600 to 86400. [config.range]",
    ),
    "a token too long": (
        "expiration: 3600",
        "expiration: 172800",
        (
            ":26:27: spec.workloads[0].token.expiration: 172800 is outside 600 to 86400 seconds. Write a number from 600 to 86400. "
            "[config.range]"
        ),
    ),
    "a wrong word": (
        "keys: bucket",
        "keys: buckets",
        ":9:11: spec.issuer.keys: 'buckets' is not one of the values known here. Did you mean 'bucket'? [config.choice]",
    ),
    "an issuer that is not https": (
        "url: https://storage.googleapis.com/demo-oidc",
        "url: http://storage.googleapis.com/demo-oidc",
        (
            ":8:10: spec.issuer.url: 'http://storage.googleapis.com/demo-oidc' cannot be an issuer. Its scheme is 'http'; Google and every "
            "verifier demand https. Write the issuer exactly as the cluster's tokens carry it in `iss`: https://HOST[/PATH]. [config.issuer]"
        ),
    ),
    "bucket keys with a foreign issuer": (
        "url: https://storage.googleapis.com/demo-oidc",
        "url: https://storage.googleapis.com/demo-oidc/",
        (
            ":8:10: spec.issuer.url: 'https://storage.googleapis.com/demo-oidc/' is not the URL of the bucket 'demo-oidc'; Google would look "
            "for the keys elsewhere. Write url: https://storage.googleapis.com/demo-oidc, exactly so, or keys: inline. [config.issuer-bucket]"
        ),
    ),
    "bucket keys and the cluster's own issuer": (
        "url: https://storage.googleapis.com/demo-oidc",
        "url: keep",
        (
            ":8:5: spec.issuer: The keys shall come from a bucket; then the issuer is the bucket's URL. "
            "Write url: https://storage.googleapis.com/demo-oidc. [config.issuer-bucket]"
        ),
    ),
    "bucket keys without a bucket": (
        "    bucket: {name: demo-oidc}\n",
        "",
        (
            ":9:11: spec.issuer.keys: The keys shall come from a bucket, but none is named. Add bucket: {name: NAME} to spec.issuer. "
            "[config.issuer-bucket]"
        ),
    ),
    "a bucket that nothing uses": (
        "keys: bucket",
        "keys: inline",
        (
            ":10:13: spec.issuer.bucket: A bucket is named, but the keys do not come from it. Write keys: bucket, or remove the bucket. "
            "[config.issuer-bucket]"
        ),
    ),
    "a project's number": (
        "project: demo-project",
        "project: 415104041262",
        (
            ":12:14: spec.google.project: '415104041262' is a project's number. The id is wanted here, since the emails of service accounts "
            "are made of it. Write what `gcloud projects describe 415104041262 --format='value(projectId)'` prints. [config.project]"
        ),
    ),
    "a reserved pool id": (
        "id: demo-pool",
        "id: gcp-pool",
        (
            ":13:16: spec.google.pool.id: 'gcp-pool' cannot be the id of a workload identity pool. The prefix 'gcp-' is reserved by Google. "
            "Choose another id. [config.id]"
        ),
    ),
    "a display name too long": (
        "id: demo-pool",
        "id: demo-pool, displayName: 123456789 123456789 123456789 123",
        ":13:40: spec.google.pool.displayName: This display name has 33 characters. Google accepts 32. Shorten it. [config.display-name]",
    ),
    "no subject in the mapping": (
        "      google.subject: assertion.sub\n",
        "",
        (
            ":12:5: spec.google: The attribute mapping has no google.subject. Google demands it of every provider. "
            "Add google.subject: assertion.sub to attributeMapping. [config.attribute]"
        ),
    ),
    "an attribute of another name": (
        "attribute.namespace:",
        "kubernetes.namespace:",
        (
            ":18:7: spec.google.attributeMapping.kubernetes.namespace: 'kubernetes.namespace' is not an attribute that Google maps to. Those are "
            "google.subject, google.groups, and attribute.NAME with 1 to 100 of a-z, 0-9 and '_'. Write attribute.kubernetes_namespace. "
            "[config.attribute]"
        ),
    ),
    "a condition mistyped": (
        "attributeCondition: generated",
        "attributeCondition: generate",
        ":19:25: spec.google.attributeCondition: 'generate' is not an expression. Did you mean 'generated'? [config.choice]",
    ),
    "no workloads": (
        GOOD[GOOD.index("    - serviceAccount") :],
        "    []\n",
        ":21:5: spec.workloads: This list is empty. Write at least 1 item. [config.empty]",
    ),
    "an account without a namespace": (
        "serviceAccount: default/a",
        "serviceAccount: a",
        (
            ":21:23: spec.workloads[0].serviceAccount: 'a' does not name a Kubernetes service account. It has no namespace. "
            "Write it as NAMESPACE/NAME, for instance default/a. [config.service-account]"
        ),
    ),
    "one Kubernetes account declared twice": (
        "sts-config}",
        "sts-config}" + SECOND.format(name="default/a", rest="roles: []"),
        (
            ":28:23: spec.workloads[1].serviceAccount: default/a is declared twice, first in line 21. "
            "Make one workload of the two; it may have many roles and grants. [config.duplicate-workload]"
        ),
    ),
    "one config map for two workloads": (
        "sts-config}",
        "sts-config}" + SECOND.format(name="default/b", rest="credentials: {configMap: sts-config}"),
        (
            ":29:32: spec.workloads[1].credentials.configMap: The config map default/sts-config is another workload's already, in line 27. "
            "Give each workload a config map of its own. [config.duplicate-config-map]"
        ),
    ),
    "a Google account of a wrong form": (
        "googleServiceAccount: account-a",
        "googleServiceAccount: Account",
        (
            ":22:29: spec.workloads[0].googleServiceAccount: 'Account' cannot be the id of a Google service account. An id has 6 to 30 of a-z, "
            "0-9 and '-', begins with a letter, does not end in '-'; this one has 'A'. Choose another id, or write the full email of "
            "an existing account: ID@PROJECT.iam.gserviceaccount.com. [config.google-service-account]"
        ),
    ),
    "an account by id and by email": (
        "sts-config}",
        "sts-config}" + SECOND.format(name="default/b", rest="googleServiceAccount: account-a@demo-project.iam.gserviceaccount.com"),
        (
            ":29:29: spec.workloads[1].googleServiceAccount: account-a@demo-project.iam.gserviceaccount.com is named by its id in one place and "
            "by its email in another (line 22). By its id podpass makes it, by its email it exists already: write the same form in both. "
            "[config.google-service-account]"
        ),
    ),
    "a member that selects nobody": (
        "member: attribute.sub",
        "member: everybody",
        (
            ":23:15: spec.workloads[0].member: 'everybody' selects no principal. Write subject, or the attribute of the mapping that copies "
            "assertion.sub, such as attribute.sub. [config.member]"
        ),
    ),
    "a member that is not mapped": (
        "member: attribute.sub",
        "member: attribute.subject",
        (
            ":23:15: spec.workloads[0].member: The mapping has no attribute.subject. Add attribute.subject: assertion.sub to "
            "spec.google.attributeMapping, or write member: subject. [config.member]"
        ),
    ),
    "a member that others share": (
        "member: attribute.sub",
        "member: attribute.namespace",
        (
            ":23:15: spec.workloads[0].member: attribute.namespace is \"assertion['kubernetes.io'].namespace\", so other workloads may have the "
            "same value and would be admitted with this one. Bind an attribute that is assertion.sub, or write member: subject. [config.member]"
        ),
    ),
    "a role without its prefix": (
        "roles/storage.admin",
        "storage.admin",
        (
            ":24:15: spec.workloads[0].roles[0]: 'storage.admin' is not the name of an IAM role. A role is roles/NAME, projects/ID/roles/NAME or "
            "organizations/NUMBER/roles/NAME. Write roles/storage.admin. [config.role]"
        ),
    ),
    "a role granted twice": (
        "project: other-project",
        "project: demo-project}, {role: roles/storage.admin, project: demo-project",
        (
            ":25:61: spec.workloads[0].grants[1]: roles/storage.admin on project demo-project is granted twice, first in line 24. "
            "Keep one of the two. [config.duplicate-grant]"
        ),
    ),
    "a grant on nothing": (
        "role: roles/viewer, project: other-project",
        "role: roles/viewer",
        ":25:16: spec.workloads[0].grants[0]: This grant names no resource. Write exactly one of bucket and project. [config.grant]",
    ),
    "a grant on two things": (
        "project: other-project",
        "project: other-project, bucket: other-bucket",
        (
            ":25:16: spec.workloads[0].grants[0]: This grant names a bucket and a project. Write exactly one of bucket and project. "
            "[config.grant]"
        ),
    ),
    "a condition on a basic role": (
        "project: other-project",
        "project: other-project, condition: {title: a, expression: 'true'}",
        ":25:16: spec.workloads[0].grants[0]: roles/viewer takes no condition. It is a basic role. Grant a narrower role. [config.grant]",
    ),
    "a relative token path": (
        "{configMap: sts-config}",
        "{configMap: sts-config, tokenPath: tokens/../token}",
        (
            ":27:55: spec.workloads[0].credentials.tokenPath: 'tokens/../token' is not the path of a file in a container. It begins with '/', "
            "names a file, and holds no '..', no '//' and no '/' at its end. Write the mount path and the token's file name: "
            "/var/run/secrets/tokens/gcp-ksa/token. [config.token-path]"
        ),
    ),
    "Talos settings for another distribution": (
        "kubeconfig: kubeconfig",
        "distribution: k3s\n    talos: {talosconfig: t}",
        (
            ":7:12: spec.cluster.talos: These settings are for Talos; the distribution is 'k3s'. Remove them, or write distribution: talos. "
            "[config.cluster]"
        ),
    ),
    "a shell on machines that have none": (
        "kubeconfig: kubeconfig",
        'distribution: talos\n    nodes: {command: [ssh, "{node}", sh]}',
        (
            ":7:12: spec.cluster.nodes: These settings are for machines with a shell; the distribution is 'talos'. Remove them, or write whose "
            "machines these are. [config.cluster]"
        ),
    ),
    **{
        f"a command that reaches no node: {command}": (
            "kubeconfig: kubeconfig",
            f"nodes: {{command: {command}}}",
            (
                ":6:12: spec.cluster.nodes: This command does not reach one node. One of its words, and not the first, holds {node} or "
                '{address}, once. Write it as words: [ssh, "{node}", sudo, -n, sh]. [config.node-command]'
            ),
        )
        for command in ("[ssh, cp-1]", '["{node}", sh]', '[ssh, "{host}"]', '[ssh, "{node}", "{address}"]', '[ssh, "{node}", "${HOME}"]')
    },
    "an own tag": (
        "{name: demo}\nspec",
        "{name: !env demo}\nspec",
        ":3:18: metadata.name: The tag '!env' is not read here. Remove it. [config.tag]",
    ),
    "two documents": (
        "apiVersion: podpass.dev/v1alpha1\n",
        GOOD + "---\napiVersion: podpass.dev/v1alpha1\n",
        ":29:1: A file holds one document; here begins another one. Move it to its own file. [config.documents]",
    ),
    "not YAML": (
        "{name: demo}",
        "{name: demo",
        ":4:5: This is not YAML: while parsing a flow mapping expected ',' or '}', but got ':'. [config.not-yaml]",
    ),
}


def printed(raw: bytes) -> list[str]:
    with pytest.raises(FederationFileError) as caught:
        parse(raw, FILE)
    return caught.value.why.splitlines()


def test_the_file_that_the_table_starts_from_is_good() -> None:
    assert parse(GOOD.encode(), FILE).name == "demo"


@pytest.mark.parametrize(("old", "new", "expected"), ONE_FAULT.values(), ids=ONE_FAULT)
def test_a_fault_is_told_once_with_its_place_and_its_cure(old: str, new: str, expected: str) -> None:
    assert GOOD.count(old) == 1
    assert printed(GOOD.replace(old, new, 1).encode()) == [f"podpass.yaml{expected}"]


WHOLE_FILE = {
    "empty": (b"", ":1:1: This file is empty. Run `podpass init` to write one. [config.empty]"),
    "only a comment": (b"# nothing\n", ":1:1: This file is empty. Run `podpass init` to write one. [config.empty]"),
    "only document marks": (b"---\n---\n", ":1:1: This file is empty. Run `podpass init` to write one. [config.empty]"),
    "a written null": (
        b"null\n",
        ":1:1: This is nothing; a mapping is wanted. Known keys: apiVersion, kind, metadata, spec. [config.wrong-type]",
    ),
    "a list": (b"- a\n", ":1:1: This is a list; a mapping is wanted. Known keys: apiVersion, kind, metadata, spec. [config.wrong-type]"),
    "not UTF-8": (
        b"kind: Federation\nmetadata: {name: \xff}\n",
        ":2:18: This is not UTF-8: the byte 0xff begins no character. Save the file as UTF-8. [config.not-utf-8]",
    ),
    "UTF-16": (
        "kind: x".encode("utf-16"),
        ":1:1: This is not UTF-8: the byte 0xff begins no character. Save the file as UTF-8. [config.not-utf-8]",
    ),
    "tabs": (
        b"kind: Federation\nspec:\n\tgoogle: {}\n",
        (
            ":3:1: This is not YAML: while scanning for the next token found character '\\t' that cannot start any token. "
            "Indent with spaces. [config.not-yaml]"
        ),
    ),
    "a control character": (b"a: \x01", ":1:4: This is not YAML: the character U+0001 is not allowed. [config.not-yaml]"),
    "a key that is a list": (b"? [a]\n: b\n", ":1:3: A key is text; this one is a list or a mapping. [config.wrong-type]"),
    "an alias that holds itself": (b"a: &r [*r]\n", ":1:4: a[0]: This alias holds itself. Write the value out. [config.alias]"),
    "deep": (
        b"[" * 100_000,
        (
            ":1:1: This unfolds to more than 20000 values, or more than 32 deep. Write the values out instead of aliases of aliases. "
            "[config.too-large]"
        ),
    ),
    "an alias bomb": (
        (
            b"a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
            b"d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d]\n"
        ),
        (
            ":1:1: This unfolds to more than 20000 values, or more than 32 deep. Write the values out instead of aliases of aliases. "
            "[config.too-large]"
        ),
    ),
    "too large": (b"#" * 1_048_577, ":1:1: This file has 1048577 bytes; 1048576 are read at most. [config.too-large]"),
}


@pytest.mark.parametrize(("raw", "expected"), WHOLE_FILE.values(), ids=WHOLE_FILE)
def test_what_is_no_federation_file_at_all_is_told(raw: bytes, expected: str) -> None:
    assert f"podpass.yaml{expected}" in printed(raw)


def test_every_mistake_is_told_at_once_in_the_order_of_the_file() -> None:
    faults = ["a list for a text", "a wrong word", "a reserved pool id", "a role without its prefix", "a token too long"]
    raw = GOOD
    for name in faults:
        old, new, _ = ONE_FAULT[name]
        raw = raw.replace(old, new, 1)
    assert printed(raw.encode()) == [f"podpass.yaml{ONE_FAULT[name][2]}" for name in faults]


def test_mistakes_between_fields_are_told_beside_mistakes_within_them() -> None:
    raw = GOOD.replace("id: demo-pool", "id: x").replace("sts-config}", "sts-config}" + SECOND.format(name="default/a", rest="roles: [5]"))
    assert [line.split()[-1] for line in printed(raw.encode())] == ["[config.id]", "[config.duplicate-workload]", "[config.role]"]


def test_a_rule_keeps_silent_where_its_fields_are_broken_already() -> None:
    raw = GOOD.replace("url: https://storage.googleapis.com/demo-oidc", "url: http://x").replace("attribute.sub:", "attribute.Sub:")
    assert [line.split()[-1] for line in printed(raw.encode())] == ["[config.issuer]", "[config.attribute]"]


def test_the_head_line_counts_and_the_cure_says_that_nothing_happened() -> None:
    with pytest.raises(FederationFileError) as one:
        parse(b"", FILE)
    with pytest.raises(FederationFileError) as many:
        parse(GOOD.replace("demo-pool", "x").replace("demo-provider", "y").encode(), FILE)
    assert one.value.what == "podpass.yaml has one mistake."
    assert many.value.what == "podpass.yaml has 2 mistakes."
    assert many.value.next_step == "Correct what is listed; nothing was changed."
    assert many.value.full_code == "config.federation-file"
    assert [(mistake.line, mistake.column, mistake.path) for mistake in many.value.mistakes] == [
        (13, 16, "spec.google.pool.id"),
        (14, 20, "spec.google.provider.id"),
    ]


def test_a_file_of_something_else_is_not_told_line_by_line() -> None:
    with pytest.raises(FederationFileError) as wrong:
        parse("".join(f"user{number}: secret{number}\n" for number in range(500)).encode(), FILE)
    assert wrong.value.what == "podpass.yaml has 504 mistakes."
    assert len(wrong.value.mistakes) == 504
    assert wrong.value.why.count("\n") == 40
    assert wrong.value.why.endswith("\n… and 464 more.")
