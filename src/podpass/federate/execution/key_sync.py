# SPDX-License-Identifier: Apache-2.0
"""Brings the keys that Google has of a cluster up to those that the cluster serves, and touches nothing else."""

from dataclasses import replace
from typing import Final

from podpass.errors import PlanError
from podpass.federate.execution.apply import apply
from podpass.federate.model.change import Action, Change
from podpass.federate.model.resource import Kind
from podpass.federate.planning.prepared import Prepared
from podpass.federate.safety.allowances import Allowances

_INLINE: Final = "oidc.jwksJson"


def key_changes(prepared: Prepared) -> Prepared:
    """Return the plan with the changes of keys alone.

    Raises:
        PlanError: There is no provider yet, so there is nothing to keep in step; or somebody else keeps it, or has the issuer's bucket.
    """
    federation = prepared.federation
    if federation and federation.google.provider.existing:
        raise PlanError(
            f"Nothing was changed: somebody else keeps the provider {federation.google.provider.id}.",
            "The file says existing: true, so podpass does not write its keys.",
            "`kubectl get --raw /openid/v1/jwks` prints the cluster's keys for whoever keeps it.",
            code="plan.reference",
        )
    lost = next((one for one in prepared.plan.changes if one.kind is Kind.BUCKET and one.action is Action.ADOPT), None)
    if lost:
        raise PlanError(
            f"Nothing was changed: {lost.address} is not podpass's.",
            "Whoever has it publishes the keys that Google reads, and so says who may enter the pool.",
            "Run `podpass plan`: it says whose it seems to be.",
            code="plan.unsafe",
        )
    changes = tuple(found for change in prepared.plan.changes if (found := _of_keys(change)))
    # Keys are brought whatever stands in the way of the rest: whoever may label accounts must not be able to stop that.
    return replace(prepared.only(changes), refusals=())


def sync_keys(prepared: Prepared) -> tuple[Change, ...]:
    """Make it so; return what was changed.

    Raises:
        PlanError: As `key_changes`, and as `apply`.
    """
    return apply(key_changes(prepared), Allowances()).changes


def _of_keys(change: Change) -> Change | None:
    if change.kind is Kind.OBJECT and change.action is Action.UPDATE:
        return change
    if change.kind is not Kind.PROVIDER:
        return None
    if change.action is not Action.UPDATE:
        raise PlanError(
            f"Nothing was changed: {change.address} is not there, or not podpass's yet.",
            "Its keys can be kept in step when it is.",
            "Run `podpass plan`, then `podpass apply`.",
            code="plan.no-provider",
        )
    fields = tuple(field for field in change.fields if field.name == _INLINE)
    return replace(change, fields=fields) if fields else None
