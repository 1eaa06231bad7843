# SPDX-License-Identifier: Apache-2.0
"""What the receipt says before the first act (`announced`) and after the last one (`settled`). Pure.

Both results depend on the state of things only, never on the way there, so an interrupted run and its repetition end with the same bytes.
"""

from collections.abc import Collection, Iterable, Mapping

from podpass.federate.model.change import Action, Change
from podpass.federate.model.resource import ABSENT, Kind, Observed
from podpass.federate.records.receipt import Entry, Receipt, State


def announced(receipt: Receipt, changes: Iterable[Change]) -> Receipt:
    """Return the receipt with everything that is about to be made or adopted."""
    entries = dict(receipt.entries)
    for change in changes:
        if change.kind is Kind.API:  # never taken away again: others may have come to use it
            continue
        entry = _announced(change, entries.get(change.address))
        if entry is not None:
            entries[change.address] = entry
    return receipt.with_entries(entries)


def _announced(change: Change, known: Entry | None) -> Entry | None:
    if change.action is Action.ADOPT:
        return Entry(State.ADOPTED, change.identity)
    if change.action is Action.CREATE:
        # A run that was to replace a member and ended before it did: the former one is still to be taken away.
        former = known.former if known is not None and dict(known.identity) == dict(change.identity) else ()
        return Entry(State.CREATING, change.identity, former=former, selected=bool(change.origin))
    if change.action is Action.UNDELETE and not change.known and (known is None or known.state is not State.ADOPTED):
        return Entry(State.UNDELETING, change.identity)
    if change.action is Action.UPDATE and change.kind.is_policy_item and known is not None:
        former = (*known.former, *([known.identity] if dict(known.identity) != dict(change.identity) else []))
        return Entry(State.CREATING, change.identity, former=former, selected=bool(change.origin))
    return known


def settled(
    receipt: Receipt,
    observed: Mapping[str, Observed],
    *,
    desired: Collection[str],
    pending: Collection[str],
    taken_away: Collection[str] = (),
    selected: Collection[str] = (),
    uids: Mapping[str, str],
) -> Receipt:
    """Return the receipt after the acts.

    Args:
        receipt: As announced.
        observed: What was seen when the changes were found.
        desired: Addresses that are asked for.
        pending: Addresses whose change was planned and not made; their entries stay as announced.
        taken_away: Addresses whose deletion was done.
        selected: Addresses that a selector asks for.
        uids: Of what was made now.
    """
    entries: dict[str, Entry] = {}
    for address, entry in receipt.entries.items():
        if address in pending:
            entries[address] = entry
        elif address in desired and address not in taken_away:
            uid = uids.get(address) or (observed.get(address, ABSENT).uid if entry.is_open else entry.uid)
            # What was named may be selected now, and the other way round.
            state = State.MADE if entry.is_open else entry.state
            entries[address] = Entry(state, entry.identity, uid, () if entry.is_open else entry.former, address in selected)
    return receipt.with_entries(entries)
