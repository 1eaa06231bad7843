# SPDX-License-Identifier: Apache-2.0
"""What podpass knows of a distribution of Kubernetes: how it is recognised, and who looks after its keys. Pure."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from podpass.config.federation import Distribution as Name
from podpass.federate.clusters.evidence import Evidence

OWN_KEYS: Final = "you: its keys change only when somebody changes them"


@dataclass(frozen=True, slots=True)
class Distribution:
    """One distribution.

    Attributes:
        name: As the federation file has it.
        title: As people write it.
        sign: Says by what a cluster is recognised as one; None: it is none.
        release: Its own version where it has one beside Kubernetes'.
        rotation: Who rotates the keys, and how often where that is known.
        is_managed: Whether the control plane is a cloud provider's.
    """

    name: Name
    title: str
    sign: Callable[[Evidence], str | None]
    release: Callable[[Evidence], str | None] = lambda _: None
    rotation: str = OWN_KEYS
    is_managed: bool = False


def version_has(mark: str) -> Callable[[Evidence], str | None]:
    """Recognise a cluster by a part of its API server's version or of a kubelet's: `+k3s`."""

    def sign(evidence: Evidence) -> str | None:
        versions = {"the API server": evidence.version} | {f"the kubelet of {one.name}": one.kubelet_version for one in evidence.nodes}
        return next((f"{whose} says {version}" for whose, version in versions.items() if mark in version), None)

    return sign


def node_label(*names: str) -> Callable[[Evidence], str | None]:
    """Recognise a cluster by a label of a node."""

    def sign(evidence: Evidence) -> str | None:
        found = evidence.labelled(*names)
        return f"a node is labelled {found}" if found else None

    return sign


def first(*signs: Callable[[Evidence], str | None]) -> Callable[[Evidence], str | None]:
    """Recognise a cluster by any of these."""
    return lambda evidence: next((found for sign in signs if (found := sign(evidence))), None)


def issuer_host(pattern: str) -> Callable[[Evidence], str | None]:
    """Recognise a cluster by the host of its issuer."""
    wanted = re.compile(rf"https://(?:{pattern})(?:/|$)")

    def sign(evidence: Evidence) -> str | None:
        found = evidence.discovery
        return f"its issuer is {found.issuer}" if found and wanted.match(found.issuer) else None

    return sign


def minor_of(version: str) -> int | None:
    """Return the minor version of `v1.36.3`, `1.9.6` and the like."""
    found = re.match(r"v?1\.(\d+)", version)
    return int(found[1]) if found else None
