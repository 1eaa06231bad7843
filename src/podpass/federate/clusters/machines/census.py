# SPDX-License-Identifier: Apache-2.0
"""Whether the nodes that are driven are all that run an API server: one that was left out would sign and accept as before."""

from collections.abc import Sequence
from typing import Final

from podpass.errors import UnsafePlanError
from podpass.federate.clusters.evidence import Node, address_of
from podpass.federate.clusters.statement import items, mapping
from podpass.kube.client import KubeClient, Request
from podpass.kube.fault import KubeRefusedError

_LISTED_AT: Final = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"


def check_census(cluster: KubeClient, nodes: Sequence[Node]) -> None:
    """Refuse where the API servers' own list is longer than that of the control plane's nodes. Who may not read it, is not stopped by it.

    Raises:
        UnsafePlanError: It is longer.
    """
    listed = _listed(cluster)
    if len(listed) > len(nodes):
        raise UnsafePlanError(
            f"Nothing was changed: the cluster has {len(listed)} API servers, and {len(nodes)} of its nodes say that they run one.",
            f"They serve at {', '.join(listed)}; the nodes are {', '.join(node.name for node in nodes)}.",
            "Label each node that runs one with node-role.kubernetes.io/control-plane.",
        )


def _listed(cluster: KubeClient) -> list[str]:
    try:
        found = cluster.find(Request("GET", _LISTED_AT, "list its API servers"))
    except KubeRefusedError:
        return []
    endpoints = items(mapping(found).get("endpoints"))
    texts = (address_of(one) for endpoint in endpoints for one in items(mapping(endpoint).get("addresses")))
    return sorted({text for text in texts if text})
