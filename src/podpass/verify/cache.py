# SPDX-License-Identifier: Apache-2.0
"""What was found out about tokens, under a digest of each: the same token comes with every request of its hour.

Whoever uses it puts in only what came of a full success, and checks on each hit whatever can have changed since: the time and the keys.
"""

from typing import Final, Generic, TypeVar, final

Result = TypeVar("Result")

# A thousand pods, each with the token before and after its renewal; some 5 KB each.
RESULT_LIMIT: Final = 4096


@final
class ResultCache(Generic[Result]):
    """Remembers the results used last, a bounded number of them, under the SHA-256 of their tokens; it never sees a token.

    For any number of threads, and after a fork: there is no lock. Two generations of results, each half the bound, take the place of an
    order of use: what is read moves to the young one; when that is full, it becomes the old one, and what was old and unread is forgotten.
    A race can forget a result early, never return another token's or exceed the bound by more than the threads that race.

    Args:
        limit: How many results are remembered at most, 2 or more.

    Attributes:
        young: The young generation, always this object, where nearly everything is found without a call of ours.
    """

    __slots__ = ("_half", "_old", "young")

    def __init__(self, limit: int = RESULT_LIMIT) -> None:
        if limit < 2:  # noqa: PLR2004 - one in each generation
            raise ValueError("a cache remembers two results or more")
        self._half = limit // 2
        self.young: dict[bytes, Result] = {}
        self._old: dict[bytes, Result] = {}

    def get(self, digest: bytes) -> Result | None:
        """Return what was put under this very digest, if it is still there."""
        result = self.young.get(digest)
        if result is None:
            result = self._old.get(digest)
            if result is not None:
                self.put(digest, result)
        return result

    def put(self, digest: bytes, result: Result) -> None:
        """Remember a result in place of an earlier one."""
        if len(self.young) >= self._half:
            self._old = self.young.copy()
            self.young.clear()
        self.young[digest] = result

    def __len__(self) -> int:
        return len(self.young.keys() | self._old.keys())

    def __repr__(self) -> str:
        return f"<results of {len(self)} tokens>"
