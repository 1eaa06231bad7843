# SPDX-License-Identifier: Apache-2.0
"""Every distribution, in the order in which a cluster is compared with them. Pure."""

from typing import Final

from podpass.federate.clusters.distribution import Distribution
from podpass.federate.clusters.distributions.kubeadm import CLUSTER_API, KIND, KUBEADM
from podpass.federate.clusters.distributions.managed import AKS, EKS, GKE
from podpass.federate.clusters.distributions.others import K0S, KOPS, MICROK8S, MINIKUBE
from podpass.federate.clusters.distributions.rancher import K3S, RKE2
from podpass.federate.clusters.distributions.talos import TALOS
from podpass.federate.clusters.evidence import Evidence

# kind, minikube and Cluster API keep kubeadm's config map too, so kubeadm comes last.
DISTRIBUTIONS: Final[tuple[Distribution, ...]] = (
    EKS, AKS, GKE, TALOS, RKE2, K3S, K0S, MICROK8S, MINIKUBE, KIND, KOPS, CLUSTER_API, KUBEADM,
)  # fmt: skip
OTHER: Final = Distribution("other", "Kubernetes", lambda _: None, rotation="")


def recognise(evidence: Evidence) -> tuple[Distribution, str]:
    """Return the distribution, and by what it was recognised; `OTHER` for one that podpass does not know."""
    for distribution in DISTRIBUTIONS:
        if found := distribution.sign(evidence):
            return distribution, found
    return OTHER, ""


def named(name: str) -> Distribution:
    """Return the distribution of this name; `OTHER` where there is none."""
    return next((one for one in DISTRIBUTIONS if one.name == name), OTHER)
