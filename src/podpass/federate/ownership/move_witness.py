# SPDX-License-Identifier: Apache-2.0
"""Who else than its state says that a move of the issuer is about these two issuers. Pure.

The state is a config map, and whoever may write it could have a provider made in the pool that trusts an issuer of theirs: with that, all
roles of all workloads. So nothing is made or changed for an issuer of which the state alone speaks. The file is the operator's; what the
cluster signs with, it says itself; and what a provider of the pool trusts, or a bucket with our mark publishes, nobody has written without
rights at Google.

Of what leaves on a way back before any token, nothing is made: so nobody has to speak for it, and the file may be as it was before.
"""

from collections.abc import Iterable, Iterator, Mapping

from podpass.config.federation import Federation
from podpass.federate.desired import desired
from podpass.federate.model.facts import Facts
from podpass.federate.model.marks import Mark
from podpass.federate.model.objection import Objection
from podpass.federate.model.resource import ABSENT, Kind, Observed, Resource
from podpass.federate.records.issuer_move import IssuerMove, Standing
from podpass.federate.records.receipt import NAMESPACE
from podpass.federate.records.under_way import name_of


def objections(move: IssuerMove, federation: Federation, facts: Facts, seen: Mapping[str, Observed]) -> Iterator[Objection]:
    """Return the issuers that nothing may be made for.

    Args:
        move: As its state says.
        federation: The file.
        facts: The two sides.
        seen: What was read, by address.
    """
    for one in (move.former, move.coming):
        # What is neither trusted nor published any more is not acted upon.
        is_needed = (one in move.standings or one.bucket) and not (move.is_unused and one == move.leaves)
        if is_needed and not _is_witnessed(one, federation, facts, seen):
            back = ", or take it back with `podpass rotate --issuer --abort`" if move.is_early and one == move.coming else ""
            yield Objection(
                "plan.rotation-unwitnessed",
                f"A move of the issuer is said to be under way, and of the issuer {one.issuer} nothing else speaks.",
                f"Neither the file nor the cluster names it, and provider {one.provider} does not trust it. The config map "
                f"{NAMESPACE}/{name_of(federation.name)} alone says so; whoever wrote it could let anybody into the pool.",
                f"If you began this move, write issuer.url {one.issuer} and google.provider.id {one.provider} into the file{back}. "
                "Else find out who has written the config map, and delete it.",
            )


def still_wanted(
    wanted: Iterable[Resource], move: IssuerMove, federation: Federation, facts: Facts, seen: Mapping[str, Observed]
) -> Iterator[Resource]:
    """Return what has to be there: on a way back before any token, what leaves is kept where it is there, and not made where it is not.

    Args:
        wanted: What the move asks for.
        move: As its state says.
        federation: The file.
        facts: The two sides.
        seen: What was read, by address.
    """
    if not move.is_unused:
        yield from wanted
        return
    without = {one.address: one for one in desired.resources(federation, facts, move.undone)}
    is_trusted = _is_trusted(move.leaves, seen)
    is_ours = _is_witnessed(move.leaves, federation, facts, seen)
    for one in wanted:
        if one.address in without:
            yield one if is_trusted else without[one.address]
        elif is_ours and seen.get(one.address, ABSENT).status == "present" and (is_trusted or one.kind is not Kind.PROVIDER):
            yield one


def _is_trusted(one: Standing, seen: Mapping[str, Observed]) -> bool:
    provider = seen.get(f"{Kind.PROVIDER}/{one.provider}", ABSENT)
    return provider.status == "present" and provider.body.get("oidc.issuerUri") == one.issuer


def _is_witnessed(one: Standing, federation: Federation, facts: Facts, seen: Mapping[str, Observed]) -> bool:
    if one.bucket and one.bucket.url != one.issuer:  # it would be made public, and publish for somebody else
        return False
    url = federation.issuer.url
    bucket = seen.get(f"{Kind.BUCKET}/{one.bucket.name}", ABSENT) if one.bucket else ABSENT
    return (
        one.issuer == facts.issuer
        or (url != "keep" and one.issuer == url.url)
        or _is_trusted(one, seen)
        or (bucket.status == "present" and Mark(federation.name, facts.cluster).signed(bucket.mark))
    )
