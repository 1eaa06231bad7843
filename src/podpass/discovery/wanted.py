# SPDX-License-Identifier: Apache-2.0
"""Key ids that were asked for and not found: since when, counted in fetches. Anybody can send any id: the memory is small and forgets."""

from typing import Final

_LIMIT: Final = 1024


class WantedKids:
    """Remembers for each id how many fetches had begun when it was first asked for. Not safe for threads: its owner has a lock."""

    __slots__ = ("_limit", "_since")

    def __init__(self, limit: int = _LIMIT) -> None:
        self._limit = limit
        self._since: dict[str, int] = {}

    def since(self, kid: str) -> int | None:
        """Return the count at which `kid` was noted; None where it was not, or was forgotten."""
        return self._since.get(kid)

    def note(self, kid: str, begun: int) -> None:
        """Note an id; the one that was noted longest ago is forgotten for it."""
        self._since.pop(kid, None)
        if len(self._since) >= self._limit:
            del self._since[next(iter(self._since))]
        self._since[kid] = begun
