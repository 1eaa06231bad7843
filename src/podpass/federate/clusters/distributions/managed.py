# SPDX-License-Identifier: Apache-2.0
"""EKS, AKS and GKE: the control plane, its issuer and its keys are the provider's.

Source:
    Each provider's pages on its OIDC issuer. A label of a node counts only together with what its provider alone writes there.
"""

from typing import Final

from podpass.federate.clusters.distribution import Distribution, first, issuer_host, node_label, version_has

EKS: Final = Distribution(
    "eks",
    "Amazon EKS",
    first(version_has("-eks-"), issuer_host(r"oidc\.eks\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?"), node_label("eks.amazonaws.com/nodegroup")),
    rotation="AWS, about every seven days",
    is_managed=True,
)
AKS: Final = Distribution(
    "aks",
    "Azure AKS",
    first(issuer_host(r"[a-z0-9.-]*\.oic\.prod-aks\.azure\.com"), node_label("kubernetes.azure.com/cluster")),
    rotation="Azure; the former key is served for 24 hours more",
    is_managed=True,
)
GKE: Final = Distribution(
    "gke",
    "Google GKE",
    first(version_has("-gke."), issuer_host(r"container\.googleapis\.com"), node_label("cloud.google.com/gke-nodepool")),
    rotation="Google",
    is_managed=True,
)
