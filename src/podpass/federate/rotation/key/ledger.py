# SPDX-License-Identifier: Apache-2.0
"""Where the rotation of a signing key is kept, and what is believed of it."""

from dataclasses import replace
from datetime import datetime

from podpass.federate.records import state_text
from podpass.federate.records.issuer_move import KIND as MOVE
from podpass.federate.rotation.key.rotation import Rotation
from podpass.federate.rotation.ledger import Ledger, other, since


class KeyLedger(Ledger[Rotation]):
    """The rotation of the signing key."""

    def _read(self, text: str, origin: str, made_at: datetime) -> Rotation:
        if state_text.kind_of(text, origin=origin) == MOVE:
            raise other("a move of the issuer", "--issuer")
        found = Rotation.from_text(text, origin=origin)
        return replace(found, switched_at=since(made_at, found.switched_at))
