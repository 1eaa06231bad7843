# SPDX-License-Identifier: Apache-2.0
"""Each fault of a change to a control plane, in each form in which people write one."""

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from podpass.errors import ConfigError
from podpass.federate.clusters.finding import Standing
from podpass.federate.clusters.lint import findings
from podpass.federate.clusters.reading import read
from podpass.verify import thumbprint_kid

KEY = ec.generate_private_key(ec.SECP256R1())
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
ENCODED = base64.b64encode(PEM.encode()).decode()
KID = thumbprint_kid(KEY.public_key())
OLD, NEW = "https://10.0.0.1:6443", "https://storage.googleapis.com/demo-oidc"
GOOGLE = "projects/415104041262/locations/global/workloadIdentityPools/demo/providers/oidc"
NOW = Standing((OLD,), (OLD,), frozenset({KID}))
BOTH = f"[{NEW}, {OLD}]"

# The first article's own change, as a script.
SCRIPT = r"""#!/bin/bash
RSA_KEY_ENCODED=$(openssl genrsa 4096 2> /dev/null | base64 -w 0)
for NODE_ADDRESS in ${ADDRESSES}; do
    talosctl --nodes "${NODE_ADDRESS}" patch mc \
        --immediate \
        --patch "[{\"op\": \"add\", \"path\": \"/cluster/apiServer\", \"value\": {\"extraArgs\": {\"api-audiences\": \"https://kubernetes.default.svc.cluster.local,${OIDC_PROVIDER_URL}\", \"service-account-issuer\": \"${BUCKET_NAME}\", \"service-account-jwks-uri\": \"${BUCKET_NAME}/keys.json\"}}}, {\"op\": \"add\", \"path\": \"/cluster/serviceAccount\", \"value\": {\"key\": \"${RSA_KEY_ENCODED}\"}}]"
done
"""  # noqa: E501 - one line, as people paste it


def codes(content: str, now: Standing | None = None) -> list[str]:
    return [f"{one.severity} {one.code.removeprefix('lint.')}" for one in findings(read(content, "file"), now)]


def talos(**arguments: object) -> str:
    return json.dumps({"cluster": {"apiServer": {"extraArgs": arguments}}})


def test_the_first_articles_change_has_every_fault_named() -> None:
    assert codes(SCRIPT) == [
        "error removed-option",
        "error google-audience",
        "error issuer-replaced",
        "error audience-dropped",
        "error key-replaced",
        "error whole-replaced",
        "warning json-patch",
    ]


def test_a_finding_says_what_why_and_what_instead() -> None:
    (finding,) = findings(
        read(talos(**{"api-audiences": f"{OLD},{NEW},{GOOGLE}", "service-account-issuer": [NEW, OLD]}), "patch.yaml"), NOW
    )
    assert finding.where == "patch.yaml"
    assert finding.what == f"api-audiences holds '{GOOGLE}', which is Google's."
    assert "use it against the API server" in finding.why
    assert finding.as_json()["code"] == "lint.google-audience"


@pytest.mark.parametrize(
    "audience",
    [
        GOOGLE,
        f"//iam.googleapis.com/{GOOGLE}",
        f"https://iam.googleapis.com/{GOOGLE}",
        "https://sts.googleapis.com",
        "my-project.svc.id.goog",
        "${OIDC_PROVIDER_URL}",
    ],
)
def test_google_is_recognised_however_it_is_written(audience: str) -> None:
    assert codes(talos(**{"api-audiences": f"{OLD},{audience}"}), NOW) == ["error google-audience"]


def test_an_issuer_in_a_bucket_of_google_is_no_audience_of_google() -> None:
    assert codes(talos(**{"api-audiences": f"{OLD},{NEW}", "service-account-issuer": [NEW, OLD]}), NOW) == []


KEPT_IN_A_DOCUMENT = {
    "apiVersion": "v1alpha1",
    "kind": "KubeServiceAccountConfig",
    "issuer": {"issuerURL": NEW, "privateKey": PEM},
    "accepted": {"issuers": [OLD]},
}
GOOD = [
    f'{{"cluster": {{"apiServer": {{"extraArgs": {{"service-account-issuer": ["{NEW}", "{OLD}"]}}}}}}}}',
    f"apiVersion: v1alpha1\nkind: KubeAPIServerConfig\nextraArgs: {{service-account-issuer: {BOTH}}}",
    json.dumps(KEPT_IN_A_DOCUMENT),
    (
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\napiServer: {extraArgs: "
        f"[{{name: service-account-issuer, value: {NEW}}}, {{name: service-account-issuer, value: {OLD}}}]}}"
    ),
    f"kube-apiserver-arg: [service-account-issuer-={NEW}]",
    f"kube-apiserver-arg+: [service-account-issuer={NEW}, service-account-issuer={OLD}]",
    (
        f"apiVersion: kops.k8s.io/v1alpha2\nkind: Cluster\nspec: {{kubeAPIServer: {{serviceAccountIssuer: {NEW}, "
        f"additionalServiceAccountIssuers: [{OLD}]}}}}"
    ),
    f"--service-account-issuer={NEW}\n--service-account-issuer={OLD}\n# MicroK8s\n",
]


@pytest.mark.parametrize("content", GOOD)
def test_a_change_that_keeps_the_old_issuer_has_no_fault(content: str) -> None:
    assert codes(content, NOW) == []


ONE = {
    "Talos patch": talos(**{"service-account-issuer": NEW}),
    "Talos KubeAPIServerConfig": f"apiVersion: v1alpha1\nkind: KubeAPIServerConfig\nextraArgs: {{service-account-issuer: {NEW}}}",
    "kubeadm v1beta3": f"apiVersion: kubeadm.k8s.io/v1beta3\nkind: ClusterConfiguration\napiServer: "
    f"{{extraArgs: {{service-account-issuer: {NEW}}}}}",
    "kubeadm v1beta4": "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\napiServer: {extraArgs: "
    f"[{{name: service-account-issuer, value: {NEW}}}]}}",
    "kubeadm v1beta4 in kind": "apiVersion: kind.x-k8s.io/v1alpha4\nkind: Cluster\nnodes:\n- kubeadmConfigPatches:\n  - |\n"
    f"    apiVersion: kubeadm.k8s.io/v1beta4\n    apiServer: {{extraArgs: [{{name: service-account-issuer, value: {NEW}}}]}}",
    "KubeadmControlPlane": "apiVersion: controlplane.cluster.x-k8s.io/v1beta2\nkind: KubeadmControlPlane\nspec: {kubeadmConfigSpec: "
    f"{{clusterConfiguration: {{apiServer: {{extraArgs: [{{name: service-account-issuer, value: {NEW}}}]}}}}}}}}",
    "kubeadm in a config map": "apiVersion: v1\nkind: ConfigMap\ndata:\n  ClusterConfiguration: |\n"
    f"    apiServer: {{extraArgs: {{service-account-issuer: {NEW}}}}}",
    "k3s": f"kube-apiserver-arg: [service-account-issuer={NEW}, anonymous-auth=false]",
    "k0s": f"apiVersion: k0s.k0sproject.io/v1beta1\nkind: ClusterConfig\nspec: {{api: {{extraArgs: {{service-account-issuer: {NEW}}}}}}}",
    "kops": f"apiVersion: kops.k8s.io/v1alpha2\nkind: Cluster\nspec: {{kubeAPIServer: {{serviceAccountIssuer: {NEW}}}}}",
}


@pytest.mark.parametrize("content", ONE.values(), ids=ONE)
def test_an_issuer_that_takes_the_place_of_the_old_one_is_found_in_every_form(content: str) -> None:
    assert codes(content) == ["error issuer-replaced"]
    assert codes(content, NOW) == ["error issuer-replaced"]
    assert codes(content, Standing((NEW,), (NEW,), frozenset())) == []  # it is the issuer already


def test_an_audience_that_is_left_out_is_named() -> None:
    lost = talos(**{"service-account-issuer": [NEW, OLD], "api-audiences": NEW})
    (finding,) = findings(read(lost, "f"), NOW)
    assert (finding.code, OLD in finding.what) == ("lint.audience-dropped", True)
    assert codes(talos(**{"api-audiences": OLD})) == ["warning audience-dropped"]
    k0s = "apiVersion: k0s.k0sproject.io/v1beta1\nkind: ClusterConfig\nspec: {api: {extraArgs: {api-audiences: %s}}}" % OLD  # noqa: UP031 - braces
    (finding,) = findings(read(k0s, "f"), NOW)
    assert "without system:konnectivity-server" in finding.what


def test_a_key_is_replaced_only_where_it_is_another_key() -> None:
    patch = json.dumps({"cluster": {"serviceAccount": {"key": ENCODED}}})
    assert codes(patch) == ["error key-replaced"]
    assert codes(patch, NOW) == []
    assert codes(patch, Standing((OLD,), (OLD,), frozenset({"another"}))) == ["error key-replaced"]
    whole = json.dumps({"machine": {"type": "controlplane"}, "cluster": {"serviceAccount": {"key": ENCODED}}})
    assert codes(whole) == []


def test_a_key_beside_which_the_old_one_verifies_is_no_fault() -> None:
    document = {"apiVersion": "v1alpha1", "kind": "KubeServiceAccountConfig", "issuer": {"issuerURL": OLD, "privateKey": PEM}}
    other = Standing((OLD,), (OLD,), frozenset({"another"}))
    assert codes(json.dumps(document), other) == ["error key-replaced"]
    assert codes(json.dumps(document | {"accepted": {"publicKeys": ["PEM"]}}), other) == []
    files = "kube-apiserver-arg: [service-account-signing-key-file=/n.key, service-account-key-file=/n.pub%s]"
    assert codes(files % "") == ["error key-replaced"]
    assert codes(files % ", service-account-key-file=/o.pub") == []


def test_keys_are_in_no_repr_and_in_no_finding() -> None:
    said = read(json.dumps({"cluster": {"serviceAccount": {"key": ENCODED}}}), "f")
    told = repr(said) + repr(findings(said))
    assert "PRIVATE" not in told
    assert ENCODED[40:80] not in told


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (talos(**{"service-account-key-file": "/x"}), ["error refused-flag"]),
        ("--service-account-issuer=http://issuer.example", ["error issuer-form"]),
        ("--service-account-issuer=https://issuer.example?x=1", ["error issuer-form"]),
        ("--service-account-issuer=https://i.example\n--service-account-jwks-uri=http://i.example/k", ["error jwks-uri"]),
        ("--service-account-issuer=https://i.example\n--service-account-jwks-uri=https://o.example/k", ["warning jwks-uri"]),
        ("--service-account-issuer=https://i.example\n--service-account-jwks-uri=https://i.example/k", []),
        ("--service-account-max-token-expiration=30m", ["error max-expiration"]),
        ("--service-account-max-token-expiration=1h", []),
    ],
)
def test_flags_that_cannot_be_are_named(content: str, expected: list[str]) -> None:
    assert codes(content) == expected


@pytest.mark.parametrize(("kind", "depth"), [("Pod", 0), ("Job", 1), ("Deployment", 1), ("CronJob", 2)])
@pytest.mark.parametrize(("seconds", "expected"), [(172800, ["error token-life"]), (86400, ["warning token-life"]), (3600, []), (None, [])])
def test_long_tokens_for_google_are_found_in_whatever_makes_pods(kind: str, depth: int, seconds: int | None, expected: list[str]) -> None:
    token = {"audience": f"//iam.googleapis.com/{GOOGLE}", **({"expirationSeconds": seconds} if seconds else {})}
    pod: dict[str, Any] = {"spec": {"volumes": [{"projected": {"sources": [{"serviceAccountToken": token}]}}]}}
    made = pod
    for key in ("template", "jobTemplate")[:depth]:
        made = {"spec": {key: made}}
    assert codes(json.dumps({"apiVersion": "v1", "kind": kind, "metadata": {"name": "demo"}, **made})) == expected


def test_a_static_pod_of_the_api_server_is_its_command_line() -> None:
    command = ["kube-apiserver", "--service-account-issuer=http://plain.example"]
    assert codes(json.dumps({"kind": "Pod", "spec": {"containers": [{"command": command}]}})) == ["error issuer-form"]


def test_each_document_of_a_file_is_told_apart() -> None:
    other = "kind: ConfigMap\napiVersion: v1\ndata: {}"
    content = "\n---\n".join([talos(**{"service-account-issuer": NEW}), other, talos(**{"api-audiences": GOOGLE})])
    assert [one.where for one in findings(read(content, "f"))][:2] == ["f, document 1", "f, document 3"]


@pytest.mark.parametrize(
    ("content", "code"),
    [("a: [", "config.not-yaml"), ("{a: b}", "config.unknown-form"), ("", "config.unknown-form"), ("x" * 2_000_000, "config.too-large")],
)
def test_a_file_of_no_known_form_is_refused_and_not_called_good(content: str, code: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        read(content, "f")
    assert refusal.value.full_code == code


@pytest.mark.parametrize(
    "script", ["#!/bin/sh\ntalosctl patch mc --patch @patch.yaml\n", "#!/bin/sh\necho 'open\ntalosctl version | tee x\n"]
)
def test_scripts_without_a_patch_in_them_have_nothing_to_judge(script: str) -> None:
    assert codes(script) == []


def test_patches_in_scripts_are_read_in_every_way_that_talosctl_takes_them() -> None:
    patch = talos(**{"service-account-issuer": NEW})
    assert codes(f"#!/bin/sh\ntalosctl patch mc -p '{patch}' && talosctl patch mc --patch='{patch}'\n") == ["error issuer-replaced"] * 2
    assert codes(f"#!/bin/sh\ntalosctl patch mc --patch='{patch}' --on-reboot; echo\n") == ["error removed-option", "error issuer-replaced"]
