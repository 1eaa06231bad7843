# SPDX-License-Identifier: Apache-2.0
"""Makes a plan true: the intent is written to the receipt, the steps are made, what was made is confirmed.

Stopped at any moment, by Ctrl-C or by SIGKILL, and run again, the end is the same: the second plan holds what is left, and the receipt says
which of the things that it finds are podpass's own.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from podpass.errors import PartlyAppliedError
from podpass.federate.desired.desired import by_address
from podpass.federate.execution.acts import Acts, is_teething
from podpass.federate.execution.run import PATIENCE, Event, Outcome, run
from podpass.federate.execution.steps import Step, graph
from podpass.federate.execution.turn import sweep, turn
from podpass.federate.model.change import Action, Change
from podpass.federate.model.marks import Mark
from podpass.federate.planning.prepared import Prepared
from podpass.federate.records import bookkeeping
from podpass.federate.records.receipt import Receipt
from podpass.federate.safety.allowances import Allowances, check_allowed

_AFTERMATH: Final = "What had been sent was not answered in time; the receipt knows what it was, and the next run sees what became of it."


@dataclass(frozen=True, slots=True)
class Applied:
    """What was done.

    Attributes:
        changes: The changes that were made.
        receipt: What podpass has made by now.
        has_confirmed: The receipt had to be brought up to date, though there may have been nothing to change.
    """

    changes: tuple[Change, ...]
    receipt: Receipt
    has_confirmed: bool


def apply(
    prepared: Prepared,
    allowances: Allowances,
    *,
    notify: Callable[[Event], None] = lambda _: None,
    patience: timedelta = PATIENCE,
) -> Applied:
    """Make the plan true.

    Raises:
        UnsafePlanError: The plan does something that was not allowed; nothing was changed.
        DriftSincePlanError: Another run is at work, or has written the receipt since the plan was made; nothing was changed.
        PartlyAppliedError: A step failed, or Ctrl-C; says how far it came. Running it again continues.
    """
    prepared.check_applicable()
    check_allowed(prepared.plan, allowances)
    with turn_for(prepared, "apply"):
        return _apply(prepared, notify, patience)


def turn_for(prepared: Prepared, command: str) -> AbstractContextManager[None]:
    """Return what keeps others from changing the federation meanwhile; without a change only what a killed run left of its turn goes."""
    cluster, federation = prepared.sides.cluster, prepared.receipt.federation
    if cluster and prepared.plan.changes:
        return turn(cluster, federation, command)
    if cluster:
        sweep(cluster, federation)
    return nullcontext()


def _apply(prepared: Prepared, notify: Callable[[Event], None], patience: timedelta) -> Applied:
    plan = prepared.plan
    intended = bookkeeping.announced(prepared.receipt, plan.changes)
    if prepared.sides.store and plan.changes and intended == prepared.receipt:
        prepared.sides.store.check()
    _write(prepared, prepared.receipt, intended)
    steps = graph(plan.changes, by_address(plan.desired), prepared.receipt.open_addresses)
    outcome = run(steps, acts_of(prepared, intended), is_teething=is_teething, notify=notify, patience=patience)
    made = made_by(steps, outcome)
    undone = prepared.left_out | {change.address for change in plan.changes} - {change.address for change in made}
    final = bookkeeping.settled(
        intended,
        prepared.observed,
        desired=frozenset(resource.address for resource in plan.desired),
        pending=undone,
        taken_away=frozenset(change.address for change in made if change.action is Action.DELETE),
        selected=frozenset(resource.address for resource in plan.desired if resource.origin),
        uids=outcome.uids,
    )
    outcome.close(lambda: _write(prepared, intended, final))
    complain(outcome, len(made), len(plan.changes), "apply")
    return Applied(made, final, final != prepared.receipt)


def acts_of(prepared: Prepared, receipt: Receipt) -> Acts:
    """Return the acts for a plan."""
    return Acts(
        prepared.sides.google,
        prepared.sides.cluster,
        Mark(receipt.federation, receipt.cluster),
        by_address(prepared.plan.desired),
        prepared.policies,
        {
            address: tuple(one for one in entry.former if prepared.takes_away(one, entry.identity))
            for address, entry in receipt.entries.items()
            if entry.former
        },
        prepared.other_providers,
    )


def made_by(steps: dict[str, Step], outcome: Outcome) -> tuple[Change, ...]:
    """Return the changes whose every step was made."""
    undone = {key.partition(" (")[0] for key in steps if key not in outcome.done}
    return tuple(change for key, step in steps.items() if key in outcome.done for change in step.changes if change.address not in undone)


def complain(outcome: Outcome, made: int, planned: int, command: str) -> None:
    """Raise the error of a run that did not come to its end."""
    if outcome.failure is None and not outcome.is_interrupted:
        return
    again = f"`podpass {command}` again: it continues where this run stopped."
    so_far = f"{made} of {planned} changes {'was' if made == 1 else 'were'} made"
    if outcome.failure is None:
        raise PartlyAppliedError(
            f"Interrupted: {so_far}.",
            _AFTERMATH if outcome.is_cut_short else "What had been sent was waited for, and the receipt knows of it." if made else "",
            f"Run {again}",
            code="plan.interrupted",
        )
    failure = outcome.failure
    raise PartlyAppliedError(
        f"{so_far}, then: {failure.what}",
        failure.why,
        f"{failure.next_step} Then run {again}" if failure.next_step else f"Run {again}",
    ) from failure


def _write(prepared: Prepared, before: Receipt, after: Receipt) -> None:
    if prepared.sides.store is not None and before != after:
        prepared.sides.store.write(after)
