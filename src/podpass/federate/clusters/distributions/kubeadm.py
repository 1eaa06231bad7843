# SPDX-License-Identifier: Apache-2.0
"""kubeadm, and kind and Cluster API, which put clusters together with it."""

from typing import Final

import yaml

from podpass.federate.clusters.distribution import Distribution
from podpass.federate.clusters.evidence import Evidence

_MACHINE: Final = "cluster.x-k8s.io/machine"


def config_version(text: str) -> str:
    """Return which kind of ClusterConfiguration this is: `v1beta3`, `v1beta4`."""
    content = yaml.safe_load(text)
    return str(content.get("apiVersion", "")).rpartition("/")[2] if isinstance(content, dict) else ""


def _release(evidence: Evidence) -> str | None:
    return f"kubeadm.k8s.io/{config_version(evidence.kubeadm)}" if evidence.kubeadm else None


def _kind(evidence: Evidence) -> str | None:
    found = next((one for one in evidence.nodes if one.provider_id.startswith("kind://")), None)
    return f"the node {found.name} has the provider id {found.provider_id}" if found else None


def _cluster_api(evidence: Evidence) -> str | None:
    found = next((one for one in evidence.nodes if _MACHINE in one.annotations), None)
    return f"the node {found.name} is annotated {_MACHINE}" if found and evidence.kubeadm else None


KUBEADM: Final = Distribution(
    "kubeadm", "kubeadm", lambda evidence: "it keeps kube-system/kubeadm-config" if evidence.kubeadm else None, _release
)
KIND: Final = Distribution("kind", "kind", _kind, _release)
CLUSTER_API: Final = Distribution("cluster-api", "Cluster API with kubeadm", _cluster_api, _release)
