# SPDX-License-Identifier: Apache-2.0
"""What the rules of `refusals` and `cautions` look at."""

from dataclasses import dataclass

from podpass.config.federation import Federation
from podpass.federate.desired.principals import OtherProvider
from podpass.federate.model.facts import Facts
from podpass.federate.model.marks import Mark
from podpass.federate.model.objection import Objection
from podpass.federate.model.resource import Kind
from podpass.federate.records.receipt import Receipt
from podpass.federate.records.under_way import UnderWay
from podpass.verify.jwks import KeySet


@dataclass(frozen=True, slots=True)
class Situation:
    """What the rules look at.

    Attributes:
        federation: The file.
        facts: The two sides.
        receipt: What podpass made; empty if there is none.
        others: The other providers of the pool.
        obstacles: What was found to stand in the way while reading: APIs that are off, permissions that are missing.
        under_way: A rotation that has begun.
    """

    federation: Federation
    facts: Facts
    receipt: Receipt
    others: tuple[OtherProvider, ...] = ()
    obstacles: tuple[Objection, ...] = ()
    under_way: UnderWay | None = None

    def is_own(self, other: OtherProvider) -> bool:
        """Whether another provider of the pool is this cluster's, too: the other one of a move, or one that the file named before.

        The receipt alone does not prove it, since others may write it: Google's mark does, or that the keys are the cluster's.
        """
        move = self.under_way.move if self.under_way else None
        if move and other.provider_id in {move.former.provider, move.coming.provider}:
            return True
        if f"{Kind.PROVIDER}/{other.provider_id}" not in self.receipt.entries:
            return False
        has_our_keys = bool(other.kids) and other.kids <= KeySet.parse(self.facts.jwks).keys.keys()
        return has_our_keys or Mark(self.receipt.federation, self.receipt.cluster).signed(other.mark)
