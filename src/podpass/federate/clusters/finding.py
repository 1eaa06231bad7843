# SPDX-License-Identifier: Apache-2.0
"""A fault, and what is compared to find it. Pure."""

from dataclasses import dataclass
from typing import Any, Literal

from podpass.federate.clusters.evidence import Evidence
from podpass.federate.clusters.flags import ServiceAccountFlags

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault.

    Attributes:
        code: Stable: `lint.google-audience`.
        severity: `error`: something fails or is open to others; `warning`: more than is needed, or not to be told from here.
        where: Which file, or which part of the cluster.
        what: What is there.
        why: What comes of it.
        cure: What to do instead.
    """

    code: str
    severity: Severity
    where: str
    what: str
    why: str
    cure: str

    def as_json(self) -> dict[str, Any]:
        """Return it for machines."""
        return {name: getattr(self, name) for name in ("code", "severity", "where", "what", "why", "cure")}


@dataclass(frozen=True, slots=True)
class Standing:
    """What a cluster has now, to compare a change with.

    Attributes:
        issuers: Whose tokens its API server takes.
        audiences: Whom it takes tokens for.
        kids: Of its keys.
    """

    issuers: tuple[str, ...]
    audiences: tuple[str, ...]
    kids: frozenset[str]


def union(flags: tuple[ServiceAccountFlags, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return every issuer and every audience that any of these servers takes."""
    issuers = dict.fromkeys(issuer for one in flags for issuer in one.issuers)
    audiences = dict.fromkeys(audience for one in flags for audience in one.accepted_audiences)
    return tuple(issuers), tuple(audiences)


def standing(evidence: Evidence, issuer: str | None, audiences: tuple[str, ...] | None, kids: frozenset[str]) -> Standing:
    """Put together what is known of a cluster."""
    issuers, accepted = union(evidence.flags)
    return Standing(issuers or ((issuer,) if issuer else ()), accepted or audiences or (), kids)
