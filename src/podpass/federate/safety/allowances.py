# SPDX-License-Identifier: Apache-2.0
"""What a plan does only when the operator said so: delete what has not lapsed, undelete what the receipt does not know, adopt. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from podpass.federate.model.change import LOST_MARK, OF_MANY, Action, Change
from podpass.federate.model.objection import Objection, stop
from podpass.federate.model.plan import Plan


@dataclass(frozen=True, slots=True)
class Allowances:
    """What the operator allowed on the command line; addresses may hold `*`, but not for adopting what is another's."""

    delete: tuple[str, ...] = ()
    undelete: tuple[str, ...] = ()
    adopt: tuple[str, ...] = ()


def check_allowed(plan: Plan, allowances: Allowances) -> None:
    """Refuse what nobody allowed.

    Raises:
        UnsafePlanError: The plan deletes, undeletes or adopts something that the operator did not allow.
    """
    stop([objection for change in plan.changes if (objection := _not_allowed(change, allowances))])


def is_allowed(change: Change, allowances: Allowances) -> bool:
    """Tell whether a change may be made without another word of the operator's."""
    return _not_allowed(change, allowances) is None


def needless(plan: Plan, allowances: Allowances) -> tuple[str, ...]:
    """Return the options by which an address was allowed that the plan has no use for: perhaps it is misspelled."""
    acts = {
        "--allow-delete": (allowances.delete, Action.DELETE),
        "--allow-undelete": (allowances.undelete, Action.UNDELETE),
        "--adopt": (allowances.adopt, Action.ADOPT),
    }
    found = {action: {change.address for change in plan.changes if change.action is action} for _, action in acts.values()}
    return tuple(
        f"{option} {address}"
        for option, (addresses, action) in acts.items()
        for address in addresses
        if "*" not in address and address not in found[action]
    )


def _not_allowed(change: Change, allowances: Allowances) -> Objection | None:
    if change.is_unwitnessed:
        return None if change.address in allowances.delete else _unwitnessed(change)
    if change.action is Action.DELETE and not change.lapsed and not _named(change.address, allowances.delete):
        return Objection(
            "plan.unsafe",
            f"The plan deletes {change.address}.",
            "podpass made it, and the federation file does not ask for it any more.",
            f"Put it back into the file, or apply with --allow-delete {change.address}.",
        )
    if change.action is Action.UNDELETE and not change.known and not _may(change, allowances.undelete):
        if change.is_anothers:
            return Objection(
                "plan.unsafe",
                f"The plan undeletes {change.address}, and with it what others had there.",
                f"It was deleted less than 30 days ago, and this cluster's receipt does not know it; {change.owner}.",
                f"Choose another id. Only if whom those trust may enter again: apply with --allow-undelete {change.address}.",
            )
        return Objection(
            "plan.unsafe",
            f"The plan undeletes {change.address}.",
            "It was deleted less than 30 days ago, so Google keeps its id, and this cluster's receipt does not know it.",
            f"Choose another id, or apply with --allow-undelete {change.address}: it is corrected before it is enabled.",
        )
    if change.action is Action.ADOPT and not _may(change, allowances.adopt):
        return _adopting(change)
    return None


def _may(change: Change, allowed: Iterable[str]) -> bool:
    """Whether it was allowed: what somebody else's mark, keys or providers are on, by its own address only."""
    return change.address in allowed if change.is_anothers else _named(change.address, allowed)


def _unwitnessed(change: Change) -> Objection:
    item = change.identity
    return Objection(
        "plan.unsafe",
        f"The plan takes {item['role']} on {item['target']} from {item['member']} ({change.address}).",
        "The federation file does not ask for it, and only the receipt says that podpass gave it: others may write that.",
        f"If podpass did, apply with --allow-delete {change.address}. Else find out who has written the receipt.",
    )


def _adopting(change: Change) -> Objection:
    owner = f"; {change.owner}" if change.owner else ""
    if change.owner.startswith(OF_MANY):
        return Objection(
            "plan.unsafe",
            f"{change.address} exists already, and others use it.",
            f"podpass did not make it{owner}.",
            "Choose another pool, or write existing: true at google.pool: podpass leaves this one as it is then. Only if this file is to "
            f"say for all of them what the pool is called and that it is open: apply with --adopt {change.address}.",
        )
    if "of cluster" in change.owner:
        return Objection(
            "plan.unsafe",
            f"{change.address} exists already, for another cluster.",
            f"podpass did not make it{owner}.",
            "Choose another name. Adopted, it would serve this cluster, and that one's workloads would be refused. Only if that is this "
            f"cluster before it was rebuilt, or one that is gone: apply with --adopt {change.address}.",
        )
    if "of this cluster" in change.owner:
        return Objection(
            "plan.unsafe",
            f"{change.address} exists already, for another federation of this cluster.",
            f"This one did not make it{owner}.",
            "Choose another name. Adopted, it would be as both files say in turn, whichever was applied last. "
            f"Only if that federation is gone: apply with --adopt {change.address}.",
        )
    return Objection(
        "plan.unsafe",
        f"{change.address} exists already.",
        f"{LOST_MARK[0].upper()}{LOST_MARK[1:]}." if change.owner == LOST_MARK else f"podpass did not make it{owner}.",
        f"Choose another name, or apply with --adopt {change.address}: podpass then keeps it in line and never deletes it.",
    )


def _named(address: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(address, pattern) for pattern in patterns)
