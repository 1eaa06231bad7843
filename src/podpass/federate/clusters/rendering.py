# SPDX-License-Identifier: Apache-2.0
"""The steps that move a cluster's issuer, whatever its distribution. Pure."""

from collections.abc import Callable, Mapping
from typing import Final

from podpass.config.federation import Distribution as Name
from podpass.errors import ConfigError
from podpass.federate.clusters.evidence import Evidence
from podpass.federate.clusters.move import Move
from podpass.federate.clusters.sheet import Sheet
from podpass.federate.clusters.sheets import kubeadm, others, rancher, talos

_SHEETS: Final[Mapping[Name, Callable[[Move, Evidence], Sheet]]] = {
    "talos": talos.sheet,
    "kubeadm": kubeadm.sheet,
    "kind": kubeadm.sheet,
    "cluster-api": kubeadm.cluster_api,
    "k3s": rancher.k3s,
    "rke2": rancher.rke2,
    "k0s": others.k0s,
    "minikube": others.minikube,
    "microk8s": others.microk8s,
    "kops": others.kops,
}


def render(move: Move, evidence: Evidence, distribution: Name) -> Sheet:
    """Write the steps that are left.

    Args:
        move: Where from and where to.
        evidence: What the cluster answered.
        distribution: The file's, or the one that was recognised.

    Raises:
        ConfigError: podpass does not know how this distribution is told its flags, or nobody may tell it.
    """
    make = _SHEETS.get(distribution)
    if make is None:
        is_managed = distribution in {"eks", "aks", "gke"}
        raise ConfigError(
            f"The issuer of this cluster ({distribution}) cannot be moved.",
            "Its control plane is the provider's." if is_managed else "podpass does not know how its kube-apiserver is told its flags.",
            "Write issuer: {url: keep}: Google takes any https issuer." if is_managed else "Name it in spec.cluster.distribution.",
            code="config.distribution",
        )
    return make(move, evidence)
