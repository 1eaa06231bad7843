# SPDX-License-Identifier: Apache-2.0
"""Whether an API server of a cluster can be told several issuers, or one at a time. Pure."""

from typing import Final

from podpass.config.federation import Distribution as Name
from podpass.errors import ConfigError
from podpass.federate.clusters.distributions.talos import release
from podpass.federate.clusters.evidence import Evidence
from podpass.federate.clusters.sheets.talos_patch import era_of, takes_several_issuers

_MANAGED: Final = frozenset({"eks", "aks", "gke"})
_SINGLE: Final = frozenset({"k0s", "minikube"})


def takes_one_issuer(distribution: Name, evidence: Evidence) -> bool:
    """Tell whether tokens of one issuer are refused from the moment the other one signs.

    Raises:
        ConfigError: Nobody may tell the API servers anything: the control plane is a provider's.
    """
    if distribution in _MANAGED:
        raise ConfigError(
            f"The issuer of this cluster ({distribution}) cannot be moved.",
            "Its control plane is the provider's.",
            "Write issuer: {url: keep}: Google takes any https issuer.",
            code="config.distribution",
        )
    if distribution == "talos":
        version = release(evidence)
        # Nobody tells the version: one issuer is what every Talos can be told.
        return version is None or not takes_several_issuers(era_of(version))
    return distribution in _SINGLE
