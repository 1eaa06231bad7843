# SPDX-License-Identifier: Apache-2.0
"""Where a move of the issuer is kept, and what is believed of it."""

from dataclasses import replace
from datetime import datetime

from podpass.federate.records import state_text
from podpass.federate.records.issuer_move import KIND as MOVE
from podpass.federate.records.issuer_move import IssuerMove
from podpass.federate.rotation.ledger import Ledger, other, since


class MoveLedger(Ledger[IssuerMove]):
    """The move of the issuer."""

    def _read(self, text: str, origin: str, made_at: datetime) -> IssuerMove:
        if state_text.kind_of(text, origin=origin) != MOVE:
            raise other("a rotation of the signing key", "--key")
        found = IssuerMove.from_text(text, origin=origin)
        return replace(found, told_at=since(made_at, found.told_at), switched_at=since(made_at, found.switched_at))
