# SPDX-License-Identifier: Apache-2.0
"""What export and roll share: a federation file that moves its cluster's issuer, and the cluster looked at."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from podpass.errors import ConfigError

if TYPE_CHECKING:
    from podpass.config.federation import Distribution, Federation
    from podpass.federate.clusters.evidence import Evidence
    from podpass.federate.clusters.portrait import Portrait
    from podpass.kube.kubeconfig import ClusterAccess
    from podpass.names import Issuer


@dataclass(frozen=True, slots=True)
class Examined:
    """A cluster whose issuer is to move.

    Attributes:
        federation: The file.
        issuer: Where to.
        access: How the cluster is reached.
        evidence: What it answered.
        portrait: What that means.
        distribution: The file's, or the one that was recognised.
    """

    federation: "Federation"
    issuer: "Issuer"
    access: "ClusterAccess"
    evidence: "Evidence"
    portrait: "Portrait"
    distribution: "Distribution"


def examine(file: Path) -> Examined:
    """Read the file and look at the cluster.

    Raises:
        ConfigError: The file keeps the issuer.
    """
    from podpass.config.reading import load
    from podpass.federate.clusters.gathering import gather
    from podpass.federate.clusters.portrait import draw
    from podpass.kube.client import connect
    from podpass.kube.kubeconfig import load as load_kubeconfig

    federation = load(file)
    issuer = federation.issuer.url
    if issuer == "keep":
        raise ConfigError(
            "The cluster keeps its issuer: there is nothing to change on its control plane.",
            "issuer.url is keep.",
            "To move it, write the issuer to come into issuer.url.",
            code="config.issuer-kept",
        )
    access = load_kubeconfig(federation.cluster.kubeconfig, federation.cluster.context)
    with connect(access) as cluster:
        evidence = gather(cluster)
    portrait = draw(evidence)
    found = portrait.distribution.value
    declared = federation.cluster.distribution
    return Examined(federation, issuer, access, evidence, portrait, declared if declared != "auto" else found.name if found else "other")
