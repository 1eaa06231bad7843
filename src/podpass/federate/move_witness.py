# SPDX-License-Identifier: Apache-2.0
"""Who else than its state says that a move of the issuer is about these two issuers. Pure.

The state is a config map, and whoever may write it could have a provider made in the pool that trusts an issuer of theirs: with that, all
roles of all workloads. So nothing is made or changed for an issuer of which the state alone speaks. The file is the operator's; what the
cluster signs with, it says itself; and what a provider of the pool trusts, or a bucket with our mark publishes, nobody has written without
rights at Google.
"""

from collections.abc import Iterator, Mapping

from podpass.config.federation import Federation
from podpass.federate.facts import Facts
from podpass.federate.issuer_move import IssuerMove, Standing
from podpass.federate.marks import Mark
from podpass.federate.receipt import NAMESPACE
from podpass.federate.resource import ABSENT, Kind, Observed
from podpass.federate.safety import Objection
from podpass.federate.under_way import name_of


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
        if (one in move.standings or one.bucket) and not _is_witnessed(one, federation, facts, seen):
            yield Objection(
                "plan.rotation-unwitnessed",
                f"A move of the issuer is said to be under way, and of the issuer {one.issuer} nothing else speaks.",
                f"Neither the file nor the cluster names it, and provider {one.provider} does not trust it. The config map "
                f"{NAMESPACE}/{name_of(federation.name)} alone says so; whoever wrote it could let anybody into the pool.",
                f"If you began this move, write issuer.url {one.issuer} and google.provider.id {one.provider} into the file. Else find out "
                "who has written the config map, and delete it.",
            )


def _is_witnessed(one: Standing, federation: Federation, facts: Facts, seen: Mapping[str, Observed]) -> bool:
    if one.bucket and one.bucket.url != one.issuer:  # it would be made public, and publish for somebody else
        return False
    url = federation.issuer.url
    provider = seen.get(f"{Kind.PROVIDER}/{one.provider}", ABSENT)
    bucket = seen.get(f"{Kind.BUCKET}/{one.bucket.name}", ABSENT) if one.bucket else ABSENT
    return (
        one.issuer == facts.issuer
        or (url != "keep" and one.issuer == url.url)
        or (provider.status == "present" and provider.body.get("oidc.issuerUri") == one.issuer)
        or (bucket.status == "present" and Mark(federation.name, facts.cluster).signed(bucket.mark))
    )
