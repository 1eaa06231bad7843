# SPDX-License-Identifier: Apache-2.0
"""What an origin of keys is."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from podpass.verify import KeySet


@dataclass(frozen=True, slots=True)
class Published:
    """Keys as an issuer publishes them.

    Attributes:
        keys: At least one.
        max_age: How long they are fresh, as the issuer says; None where it does not.
    """

    keys: KeySet
    max_age: timedelta | None = None


class KeyOrigin(Protocol):
    """Fetches the keys of one issuer; `str` names the issuer for people. Never called twice at a time."""

    def fetch(self, now: datetime) -> Published:
        """Ask for the keys, within the deadline.

        Raises:
            NeighbourError: No answer, or none of the protocol.
            KeySetError: No key can be used.
        """
        ...
