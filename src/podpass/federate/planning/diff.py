# SPDX-License-Identifier: Apache-2.0
"""From what should be, what is and what the receipt says to the changes between them. Pure.

Whose a thing is decides what may happen to it::

    receipt         there?             then
    -               absent             create
    -               soft-deleted       undelete (safety asks for --allow-undelete)
    -               present            adopt (safety asks for --adopt); a policy item or an API is simply left as it is
    creating        present, our mark  ours: an interrupted run had made it
    creating        present, no mark   adopt: somebody else was quicker
    undeleting      present, no mark   undelete: an interrupted run had begun it (safety asks again)
    made            present, other     adopt: another uid or mark, so it is another thing by now
    made            present, no mark   adopt: with podpass's mark on it, it would be podpass's to delete
    made, adopted   absent             create
    made, marked    soft-deleted       undelete
    made, adopted   soft-deleted       undelete (safety asks for --allow-undelete, as nobody but the receipt knows it)
    made, adopted   present            update where fields differ
    made, marked    not in the file    delete (safety asks for --allow-delete)
    made, unmarked  not in the file    left as it is: a receipt alone is no licence to delete; see `ownership.witness`
    adopted         not in the file    forgotten, and left as it is
"""

import json
from collections.abc import Iterable, Mapping

from podpass.federate.model.change import LOST_MARK, OWN_MARK, UNWITNESSED, Action, Change
from podpass.federate.model.differences import differences
from podpass.federate.model.marks import Mark
from podpass.federate.model.resource import ABSENT, JSON, Kind, Observed, Resource, kind_of
from podpass.federate.ownership.siblings import NONE, Siblings
from podpass.federate.ownership.witness import NOBODY, Witness
from podpass.federate.records.receipt import Entry, Receipt, State

# What a person may have written there stays, where podpass did not make the thing.
_ONLY_ON_OUR_OWN = frozenset({"description"})
# Their uid is nobody's to choose: nobody has made them twice.
_WITH_UID = frozenset({Kind.ACCOUNT, Kind.CONFIG_MAP})


def changes(
    desired: Iterable[Resource],
    observed: Mapping[str, Observed],
    receipt: Receipt,
    witness: Witness = NOBODY,
    siblings: Siblings = NONE,
) -> tuple[Change, ...]:
    """Return what is to be done, in the order of making, then the deletions in the order of taking away."""
    mark = Mark(receipt.federation, receipt.cluster)
    wanted = tuple(desired)
    found = ((one, observed.get(one.address, ABSENT), receipt.entries.get(one.address)) for one in wanted)
    made = [_policy_item(*each, witness, siblings) if each[0].kind.is_policy_item else _one(*each, mark) for each in found]
    gone = deletions(receipt, observed, witness, siblings, keep=frozenset(resource.address for resource in wanted))
    return (*(change for change in made if change), *gone)


def deletions(
    receipt: Receipt,
    observed: Mapping[str, Observed],
    witness: Witness = NOBODY,
    siblings: Siblings = NONE,
    *,
    keep: frozenset[str] = frozenset(),
) -> tuple[Change, ...]:
    """Return the deletions of what podpass made and nobody asks for, in the order of taking away.

    Members of policies of which only the receipt speaks are among them, and say so: those want a word of the operator each.

    Args:
        receipt: What podpass made.
        observed: The entries' things as they are now. A policy item is present while any of its forms is, the former ones included.
        witness: Who else speaks for the receipt.
        siblings: What other federations give, too: that is left to the last of them.
        keep: Addresses that are asked for.
    """
    mark = Mark(receipt.federation, receipt.cluster)
    lost = _lost_buckets(receipt, observed, mark)
    unwanted = [
        (address, entry)
        for address, entry in receipt.entries.items()
        if address not in keep and _bucket_of(entry) not in lost and not siblings.giver(entry.identity)
    ]
    kinds = list(Kind)
    unwanted.sort(key=lambda pair: (-kinds.index(kind_of(pair[0])), pair[0]))
    found = (_deletion(address, entry, observed.get(address, ABSENT), witness, mark) for address, entry in unwanted)
    return tuple(change for change in found if change)


def _deletion(address: str, entry: Entry, observed: Observed, witness: Witness, mark: Mark) -> Change | None:
    kind = kind_of(address)
    if observed.status != "present" or not is_ours(kind, entry, observed, mark):
        return None
    is_witnessed = witness.bears_out(kind, entry, observed, mark)
    if not is_witnessed and not kind.is_policy_item:
        return None
    return Change(address, Action.DELETE, entry.identity, observed.body, known=True, owner="" if is_witnessed else UNWITNESSED)


def _lost_buckets(receipt: Receipt, observed: Mapping[str, Observed], mark: Mark) -> frozenset[str]:
    """Return the buckets that podpass made and that are somebody else's by now: then what is in them is theirs too."""
    made = {address: entry for address, entry in receipt.entries.items() if kind_of(address) is Kind.BUCKET and entry.state is State.MADE}
    there = {address: entry for address, entry in made.items() if observed.get(address, ABSENT).status == "present"}
    return frozenset(_bucket_of(entry) for address, entry in there.items() if not is_ours(Kind.BUCKET, entry, observed[address], mark))


def _bucket_of(entry: Entry) -> str:
    """Return the bucket that an entry is, lies in, or is a member of the policy of; empty for everything else."""
    kind, _, name = str(entry.identity.get("target", "")).partition("/")
    return name if kind == "bucket" else str(entry.identity.get("bucket", ""))


def is_ours(kind: Kind, entry: Entry | None, observed: Observed, mark: Mark) -> bool:
    """Whether podpass made what is there now: the receipt says so, and it is still the same thing."""
    if entry is None or entry.state is State.ADOPTED:
        return False
    if entry.uid is not None and observed.uid is not None and entry.uid != observed.uid:
        return False
    if kind.is_policy_item or mark.signed(observed.mark):
        return True
    # Whoever is quicker than an interrupted run leaves no mark of ours; whoever takes a thing over may remove it. What is only kept in line
    # may be written by others, or be known by its uid; what the mark is restored on is deleted one day.
    is_known = kind is Kind.OBJECT or (kind in _WITH_UID and entry.uid is not None)
    return entry.state is State.MADE and observed.mark is None and is_known


def _one(resource: Resource, observed: Observed, entry: Entry | None, mark: Mark) -> Change | None:
    if resource.kind is Kind.API:
        return Change(resource.address, Action.CREATE, resource.identity) if observed.status == "absent" else None
    known = entry is not None and entry.state is not State.CREATING
    if observed.status == "absent":
        return Change(resource.address, Action.CREATE, resource.identity, after=resource.body, known=known)
    if observed.status == "deleted":
        fields = differences(resource.body, observed.body)
        is_borne_out = known and mark.signed(observed.mark)
        return Change(resource.address, Action.UNDELETE, resource.identity, observed.body, resource.body, fields, known=is_borne_out)
    return _present(resource, observed, entry, mark)


def _present(resource: Resource, observed: Observed, entry: Entry | None, mark: Mark) -> Change | None:
    ours = is_ours(resource.kind, entry, observed, mark)
    adopted = entry is not None and entry.state is State.ADOPTED
    body = {name: value for name, value in resource.body.items() if ours or name not in _ONLY_ON_OUR_OWN}
    fields = differences(body, observed.body)
    if not ours and entry is not None and entry.state is State.UNDELETING:
        fields = differences(resource.body, observed.body)
        return Change(resource.address, Action.UNDELETE, resource.identity, observed.body, resource.body, fields)
    if not ours and not adopted:
        owner = _owner(resource, observed, mark) or (LOST_MARK if _is_claimed(entry, observed) else "")
        return Change(resource.address, Action.ADOPT, resource.identity, observed.body, body, fields, owner=owner)
    if fields:
        return Change(resource.address, Action.UPDATE, resource.identity, observed.body, body, fields, known=True)
    return None


def _is_claimed(entry: Entry | None, observed: Observed) -> bool:
    """Whether the receipt says that podpass made it, and it may be the same thing still."""
    return entry is not None and entry.state is State.MADE and entry.uid in {None, observed.uid}


def _policy_item(resource: Resource, observed: Observed, entry: Entry | None, witness: Witness, siblings: Siblings) -> Change | None:
    """Add what is not there; where the file now says another member or condition, take our old one away in the same write.

    What cannot have been this member before was not written by podpass: it stays, and the receipt forgets it. What another federation of
    the cluster has given is entered in this one's receipt, too, and goes with the last of them.
    """
    if entry is not None and (not witness.was(entry.identity, resource.identity) or _is_kept_by_another(entry, resource, siblings)):
        entry = None
    giver = siblings.giver(resource.identity)
    if entry is None and giver and observed.status == "present":
        return Change(resource.address, Action.CREATE, resource.identity, owner=f"the federation {giver} gives it, too")
    moved = entry is not None and dict(entry.identity) != dict(resource.identity)
    if entry is None or not moved:
        return Change(resource.address, Action.CREATE, resource.identity, known=entry is not None) if observed.status == "absent" else None
    if observed.status == "present":  # somebody else had made the new one; it stays theirs
        return Change(resource.address, Action.DELETE, entry.identity, known=True)
    fields = differences(resource.identity, entry.identity)
    return Change(resource.address, Action.UPDATE, resource.identity, entry.identity, resource.identity, fields, known=True)


def _is_kept_by_another(entry: Entry, resource: Resource, siblings: Siblings) -> bool:
    return dict(entry.identity) != dict(resource.identity) and bool(siblings.giver(entry.identity))


def _owner(resource: Resource, observed: Observed, mark: Mark) -> str:
    """Say whose the thing seems to be, for the question whether to adopt it."""
    if observed.mark is None:
        return _trusted(resource.body, observed.body)
    if mark.signed(observed.mark):
        return OWN_MARK
    where = "this cluster" if observed.mark.cluster == mark.cluster else f"cluster {observed.mark.cluster}"
    return f"it carries the mark of federation {observed.mark.federation} of {where}"


def _trusted(wanted: Mapping[str, JSON], found: Mapping[str, JSON]) -> str:
    """Say whom a provider trusts, where that is another cluster: another issuer, or the same words with keys of which none is ours."""
    issuer, other = (body.get("oidc.issuerUri") for body in (wanted, found))
    if issuer and other and issuer != other:
        return f"it trusts the tokens of cluster {other}"
    ours, theirs = (_kids(body.get("oidc.jwksJson")) for body in (wanted, found))
    return f"it trusts the keys of cluster {other}, and none of them is this one's" if ours and theirs and not ours & theirs else ""


def _kids(jwks: JSON) -> frozenset[str]:
    try:
        return frozenset(str(key["kid"]) for key in json.loads(jwks)["keys"])
    except (ValueError, KeyError, TypeError):
        return frozenset()
