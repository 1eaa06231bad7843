# SPDX-License-Identifier: Apache-2.0
"""How a write or a deletion is asked for: what Kubernetes calls its options."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from podpass.sandbox.kubernetes import schema
from podpass.sandbox.kubernetes.status import invalid, unsupported_value


@dataclass(slots=True)
class Write:
    """How a write was asked for; what to warn of comes back in it.

    Args:
        manager: Who writes.
        dry_run: Whether nothing is stored.
        directive: What becomes of unknown members.
        applied: Whether this is a server-side apply, which has settled who owns what.
        warnings: Sentences for the user.
    """

    manager: str = "unknown"
    dry_run: bool = False
    directive: schema.Directive = "Warn"
    applied: bool = False
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Deletion:
    """How an object is to be deleted."""

    grace_s: int | None = None
    propagation: str = "Background"
    uid: str = ""
    resource_version: str = ""
    dry_run: bool = False

    @classmethod
    def of(cls, options: Mapping[str, Any], *, dry_run: bool) -> "Deletion":
        """Read DeleteOptions."""
        preconditions = options.get("preconditions") or {}
        propagation = options.get("propagationPolicy") or ("Orphan" if options.get("orphanDependents") else "Background")
        if propagation not in {"Background", "Foreground", "Orphan"}:
            cause = unsupported_value("propagationPolicy", str(propagation), ("Foreground", "Background", "Orphan", "nil"))
            raise invalid("DeleteOptions", "meta.k8s.io", "", [cause])
        grace, uid, version = options.get("gracePeriodSeconds"), preconditions.get("uid", ""), preconditions.get("resourceVersion", "")
        return cls(grace, propagation, uid, version, dry_run or bool(options.get("dryRun")))
