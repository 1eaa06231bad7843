# SPDX-License-Identifier: Apache-2.0
"""k3s and RKE2: one list of arguments for kube-apiserver in one configuration file on each server."""

from typing import Final

from podpass.federate.clusters.distribution import Distribution, version_has

K3S: Final = Distribution(
    "k3s", "k3s", version_has("+k3s"), lambda evidence: evidence.version, "you, with `k3s certificate rotate-ca`; never by itself"
)
RKE2: Final = Distribution(
    "rke2", "RKE2", version_has("+rke2"), lambda evidence: evidence.version, "you, with `rke2 certificate rotate-ca`; never by itself"
)
