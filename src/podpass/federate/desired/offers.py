# SPDX-License-Identifier: Apache-2.0
"""What a federation file gives on IAM policies, whoever gets it: the target, the role, the condition's expression. Pure."""

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from podpass.config.federation import Workload
from podpass.federate.model.resource import JSON
from podpass.federate.model.roles import WORKLOAD_IDENTITY_USER

Offer: TypeAlias = tuple[str, str, str]
"""Target, role, and the expression of the condition; empty: none."""


def offer_of(identity: Mapping[str, JSON]) -> Offer:
    """Return what a member of a policy has."""
    return str(identity["target"]), str(identity["role"]), str((identity.get("condition") or {}).get("expression", ""))


def binding(workload: Workload) -> Iterator[Offer]:
    """Return what lets a workload act as its Google account; nothing where it has none."""
    if workload.google_service_account:
        yield f"account/{workload.google_service_account.email}", WORKLOAD_IDENTITY_USER, ""


def roles(workload: Workload, project: str) -> Iterator[Offer]:
    """Return the roles that a workload has, by its Google account or by itself."""
    for role in workload.roles:
        yield f"project/{project}", role, ""
    for grant in workload.grants:
        target = f"bucket/{grant.bucket}" if grant.bucket else f"project/{grant.project}"
        yield target, grant.role, grant.condition.expression if grant.condition else ""
