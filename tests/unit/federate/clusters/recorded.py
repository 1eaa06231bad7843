# SPDX-License-Identifier: Apache-2.0
"""What clusters of each distribution answer."""

from podpass.federate.clusters.evidence import Evidence, Node
from podpass.kube.issuer import Discovery
from podpass.verify import UnverifiedClaims
from unit.federate.clusters.rendered import ENDPOINT, SERVICE

_CONTROL_PLANE = {"node-role.kubernetes.io/control-plane": ""}
KUBEADM = """apiVersion: kubeadm.k8s.io/{version}
kind: ClusterConfiguration
kubernetesVersion: v1.36.3
controlPlaneEndpoint: 10.0.0.1:6443
networking: {{serviceSubnet: 10.96.0.0/12}}
apiServer:
  certSANs: [demo.example]
  extraArgs: {arguments}
"""


def _nodes(**changed: object) -> tuple[Node, ...]:
    return tuple(
        Node(f"cp-{number}", labels=_CONTROL_PLANE | dict(changed.get("labels", {})), addresses=(f"10.0.0.{number}",), **_rest(changed))  # type: ignore[call-overload, arg-type]  # a mapping
        for number in (1, 2, 3)
    )


def _rest(changed: dict[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in changed.items() if name != "labels"}


def _flags(issuer: str, audiences: str) -> tuple[tuple[str, ...], ...]:
    command = ("kube-apiserver", f"--service-account-issuer={issuer}", f"--api-audiences={audiences}", "--service-account-key-file=/sa.pub")
    return (command,) * 3


def _claims(issuer: str, *audiences: str) -> UnverifiedClaims:
    return UnverifiedClaims({"iss": issuer, "aud": list(audiences)}, b"")


def _visible(issuer: str, version: str = "v1.36.3", audiences: str = "", **changed: object) -> Evidence:
    """A cluster whose kube-apiservers run as pods."""
    kubeadm = changed.pop("kubeadm", None)
    return Evidence(
        ENDPOINT,
        version,
        nodes=_nodes(**changed),
        discovery=Discovery(issuer, "", b""),
        commands=_flags(issuer, audiences or issuer),
        kubeadm=str(kubeadm) if kubeadm else None,
    )


def _hidden(issuer: str, *audiences: str, version: str = "v1.36.3", **changed: object) -> Evidence:
    """A cluster whose kube-apiservers are no pods."""
    return Evidence(
        ENDPOINT, version, nodes=_nodes(**changed), discovery=Discovery(issuer, "", b""), claims=_claims(issuer, issuer, *audiences)
    )


KUBERNETES_SVC = "https://kubernetes.default.svc"
CLUSTERS = {
    "talos-1.9.6": _visible(ENDPOINT, os_image="Talos (v1.9.6)"),
    "talos-1.13.9": _visible(ENDPOINT, os_image="Talos (v1.13.9)"),
    "talos-1.14.0": _visible(ENDPOINT, os_image="Talos (v1.14.0)"),
    "talos-1.14.0-documents": _visible(ENDPOINT, os_image="Talos (v1.14.0)"),
    "k3s": _hidden(SERVICE, "k3s", version="v1.36.3+k3s1"),
    "rke2": _visible(SERVICE, "v1.36.3+rke2r1", f"{SERVICE},rke2"),
    "k0s": _hidden(KUBERNETES_SVC, "system:konnectivity-server", version="v1.36.3+k0s.0"),
    "minikube": _visible(SERVICE, labels={"minikube.k8s.io/name": "minikube"}),
    "microk8s": _hidden(SERVICE, labels={"microk8s.io/cluster": "true"}),
    "kops": _visible(SERVICE, labels={"kops.k8s.io/instancegroup": "control-plane"}),
    "kubeadm-v1beta3": _visible(SERVICE, kubeadm=KUBEADM.format(version="v1beta3", arguments="{profiling: 'false'}")),
    "kubeadm-v1beta4": _visible(SERVICE, kubeadm=KUBEADM.format(version="v1beta4", arguments="[{name: profiling, value: 'false'}]")),
    "kind": _visible(
        SERVICE, kubeadm=KUBEADM.format(version="v1beta4", arguments="[]"), provider_id="kind://docker/kind/kind-control-plane"
    ),
}
SINGLE = frozenset({"talos-1.9.6", "k0s", "minikube"})
