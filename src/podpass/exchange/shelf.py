# SPDX-License-Identifier: Apache-2.0
"""A bounded number of tokens by what callers ask for."""

from collections.abc import Hashable, Iterator
from datetime import datetime
from typing import Generic, TypeVar, final

from podpass.exchange.slot import Perishable, Slot

K = TypeVar("K", bound=Hashable)
P = TypeVar("P", bound=Perishable)


@final
class Shelf(Generic[K, P]):
    """Slots by name, up to a limit. `get` needs no lock; the owner has one for the rest."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._slots: dict[K, Slot[P]] = {}

    def get(self, key: K) -> Slot[P] | None:
        """Return a slot, if it is there."""
        return self._slots.get(key)

    def add(self, key: K, slot: Slot[P], now: datetime) -> Slot[P]:
        """Add a slot and return it, or the one that is there already.

        Where there are too many, one without a living token goes first, so that names which nobody gets a token for drive none out; then
        the one that was not asked for the longest.
        """
        if (known := self._slots.get(key)) is not None:
            return known
        slot.used_at = now
        if len(self._slots) >= self._limit:
            oldest = min(self._slots, key=lambda each: (self._slots[each].living(now) is not None, self._slots[each].used_at))
            del self._slots[oldest]
        self._slots[key] = slot
        return slot

    def __iter__(self) -> Iterator[Slot[P]]:
        return iter(list(self._slots.values()))

    def __len__(self) -> int:
        return len(self._slots)
