# SPDX-License-Identifier: Apache-2.0
"""What a cluster's answers mean, for each distribution; and that nothing is claimed that nobody saw."""

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from podpass.federate.clusters.evidence import Evidence, Node, Publication
from podpass.federate.clusters.portrait import advise, draw
from podpass.kube.issuer import Discovery
from podpass.verify import KeySet, VerificationKey
from podpass.verify.algorithms import ALGORITHMS
from unit.federate.clusters.conftest import MakeEvidence, claims

KUBEADM = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n"
EKS_ISSUER = "https://oidc.eks.eu-west-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF"
CONTROL_PLANE = {"node-role.kubernetes.io/control-plane": ""}


def node(**changed: object) -> Node:
    return Node("cp-1", **changed)  # type: ignore[arg-type]  # each caller names the fields that it means


@pytest.mark.parametrize(
    ("name", "release", "changed"),
    [
        ("talos", "1.9.6", {"nodes": (node(os_image="Talos (v1.9.6)", kubelet_version="v1.32.3"),)}),
        ("talos", "1.14.0-rc.1", {"nodes": (node(os_image="Talos (v1.14.0-rc.1)"),)}),
        ("k3s", "v1.32.4+k3s1", {"version": "v1.32.4+k3s1"}),
        ("rke2", "v1.31.7+rke2r1", {"version": "v1.31.7+rke2r1"}),
        ("k0s", "v1.33.1+k0s.0", {"version": "v1.33.1+k0s.0"}),
        ("eks", None, {"version": "v1.32.3-eks-bcf3d70"}),
        ("eks", None, {"discovery": Discovery(EKS_ISSUER, f"{EKS_ISSUER}/keys", b"")}),
        ("gke", None, {"version": "v1.31.6-gke.1020000"}),
        ("aks", None, {"nodes": (node(labels={"kubernetes.azure.com/cluster": "MC_rg_demo_westeurope"}),)}),
        ("microk8s", None, {"nodes": (node(labels={"microk8s.io/cluster": "true"}),)}),
        ("minikube", None, {"nodes": (node(labels={"minikube.k8s.io/name": "minikube"}),), "kubeadm": KUBEADM}),
        ("kind", "kubeadm.k8s.io/v1beta4", {"nodes": (node(provider_id="kind://docker/kind/kind-control-plane"),), "kubeadm": KUBEADM}),
        ("kops", None, {"nodes": (node(labels={"kops.k8s.io/instancegroup": "nodes"}),)}),
        ("cluster-api", "kubeadm.k8s.io/v1beta4", {"nodes": (node(annotations={"cluster.x-k8s.io/machine": "m"}),), "kubeadm": KUBEADM}),
        ("kubeadm", "kubeadm.k8s.io/v1beta4", {"kubeadm": KUBEADM}),
    ],
)
def test_a_distribution_is_recognised_by_what_it_alone_leaves(
    answers: MakeEvidence, name: str, release: str | None, changed: dict[str, object]
) -> None:
    portrait = draw(answers(**changed))
    assert portrait.distribution.value is not None, portrait.distribution.how
    assert (portrait.distribution.value.name, portrait.release.value) == (name, release)
    assert portrait.distribution.how


def test_a_cluster_of_nobody_known_is_unknown(answers: MakeEvidence) -> None:
    portrait = draw(answers())
    assert portrait.distribution.value is None
    assert portrait.rotation.value is None
    assert portrait.distribution.how == "nothing in it is the mark of one that podpass knows"


def test_the_oldest_talos_of_the_control_plane_counts(answers: MakeEvidence) -> None:
    nodes = [
        Node("cp-1", "Talos (v1.13.2)", labels=CONTROL_PLANE),
        Node("cp-2", "Talos (v1.12.10)", labels=CONTROL_PLANE),
        Node("worker", "Talos (v1.9.0)"),
    ]
    assert draw(answers(nodes=tuple(nodes))).release.value == "1.12.10"


def test_flags_that_can_be_seen_tell_audiences_and_lives(answers: MakeEvidence) -> None:
    command = ("kube-apiserver", "--service-account-issuer=https://a.example", "--service-account-max-token-expiration=24h")
    portrait = draw(answers(commands=(command,)))
    assert portrait.audiences.value == ("https://a.example",)
    assert portrait.audiences.how == "the flags of its kube-apiserver"
    assert portrait.longest_token.value == timedelta(days=365)
    strict = (*command, "--service-account-extend-token-expiration=false")
    assert draw(answers(commands=(strict,))).longest_token.value == timedelta(hours=24)


def test_what_cannot_be_seen_is_unknown_and_says_so() -> None:
    blind = Evidence(
        "https://10.0.0.1:6443",
        "v1.34.1",
        silent={"nodes": "The cluster does not let you list its nodes.", "flags": "The cluster does not let you look at its pods."},
    )
    lines = {name: (value, how) for name, value, how in draw(blind).lines()}
    assert lines["distribution"] == ("", "The cluster does not let you list its nodes.")
    assert lines["issuer"] == ("", "it has no discovery document")
    assert lines["audiences"] == ("", "no kube-apiserver runs as a pod there, so its flags cannot be seen")
    assert lines["keys"] == ("", "it publishes none")
    assert lines["public"] == ("", "the issuer is not known")
    assert lines["longest token"][0] == ""
    assert "does not let you look at its pods; by default" in lines["longest token"][1]


def test_servers_without_a_limit_have_no_longest_token(answers: MakeEvidence) -> None:
    command = ("kube-apiserver", "--service-account-extend-token-expiration=false")
    longest = draw(answers(commands=(command,))).longest_token
    assert longest.value is None
    assert "whatever is asked for" in longest.how


def test_an_issuer_is_told_by_a_token_where_there_is_no_document(answers: MakeEvidence) -> None:
    portrait = draw(answers(discovery=None, claims=claims(iss="kubernetes/serviceaccount", aud="api")))
    assert portrait.issuer.value == "kubernetes/serviceaccount"
    assert "the `iss` of a token" in portrait.issuer.how
    assert portrait.audiences.value == ("api",)


def test_the_least_change_is_to_keep_the_issuer_and_copy_the_keys(answers: MakeEvidence) -> None:
    advice = advise(draw(answers()))
    assert (advice.keys, advice.obstacle) == ("inline", "")
    assert "keeps its issuer" in advice.why


def test_keys_that_a_provider_rotates_are_left_where_they_are(answers: MakeEvidence) -> None:
    public = Publication(True, "read from this machine")
    advice = advise(draw(answers(version="v1.32.3-eks-bcf3d70", discovery=Discovery(EKS_ISSUER, "", b""), publication=public)))
    assert advice.keys == "discovery"
    assert "Amazon EKS's to rotate" in advice.why


def test_a_managed_cluster_without_a_public_issuer_is_told_that_the_copy_grows_old(answers: MakeEvidence) -> None:
    aks = (node(labels={"kubernetes.azure.com/cluster": "c"}),)
    advice = advise(draw(answers(nodes=aks)))
    assert advice.keys == "inline"
    assert "the copy grows old" in advice.why


def test_an_issuer_that_google_cannot_take_has_to_move(answers: MakeEvidence) -> None:
    advice = advise(draw(answers(discovery=Discovery("kubernetes/serviceaccount", "", b""))))
    assert "kubernetes/serviceaccount" in advice.obstacle


def test_keys_that_google_cannot_take_are_named(answers: MakeEvidence) -> None:
    key = VerificationKey.of(ec.generate_private_key(ec.SECP384R1()).public_key())
    published = KeySet.of([key]).canonical_json()
    assert KeySet.parse(published, algorithms=tuple(ALGORITHMS)).keys
    assert "the cluster's keys are for ES384" in advise(draw(answers(jwks=published))).obstacle
