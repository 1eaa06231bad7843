# SPDX-License-Identifier: Apache-2.0
"""How long to wait before the next try: exponentially longer, with jitter, within a bound.

Source: Google's advice for clients (truncated exponential backoff with jitter), and AIP-194.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, TypeVar

from podpass.net.silence import LIMIT_S

T = TypeVar("T")

SETTLING: Final = timedelta(seconds=120)
"""How long a thing that was just made may be unknown to the rest of Google: published for service accounts as `60 seconds or more`. [M]"""


@dataclass(frozen=True, slots=True)
class Pacing:
    """When to try again, and when to stop.

    Attributes:
        first: The longest first pause; it doubles each time up to `longest`. The real one is anywhere between half of it and all of it.
        longest: See there.
        within: No pause begins that would end later than this after the start.
        sleep: Waits; tests pass their own.
        monotonic: The clock that `sleep` moves.
        jitter: From 0 to 1.
        silent: No pause begins that would end later than this after the last answer, or the start, where there is none.
    """

    first: timedelta = timedelta(milliseconds=500)
    longest: timedelta = timedelta(seconds=16)
    within: timedelta = timedelta(seconds=60)
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    monotonic: Callable[[], float] = field(default=time.monotonic, repr=False)
    jitter: Callable[[], float] = field(default=random.random, repr=False)
    silent: timedelta = timedelta(seconds=LIMIT_S)

    def start(self) -> "Attempts":
        """Begin to count."""
        return Attempts(self)


class Attempts:
    """The tries of one call."""

    def __init__(self, pacing: Pacing) -> None:
        self._pacing = pacing
        self._heard_at = pacing.monotonic()
        self._deadline = self._heard_at + pacing.within.total_seconds()
        self.count = 1

    @property
    def remaining(self) -> float:
        """Seconds until the nearer bound."""
        bound = min(self._deadline, self._heard_at + self._pacing.silent.total_seconds())
        return max(0.0, bound - self._pacing.monotonic())

    def pause(self, *, at_least: float = 0.0, is_silent: bool = False) -> bool:
        """Wait and return True, or return False at once where the wait would end after the bound.

        Args:
            at_least: Seconds that the other side asked for (`Retry-After`).
            is_silent: There was no answer.
        """
        pause = truncated(self.count, self._pacing.first, self._pacing.longest, self._pacing.jitter())
        wait = max(pause.total_seconds(), at_least)
        if wait > (self.remaining if is_silent else self._deadline - self._pacing.monotonic()):
            return False
        self._pacing.sleep(wait)
        if not is_silent:
            self._heard_at = self._pacing.monotonic()
        self.count += 1
        return True


def truncated(count: int, first: timedelta, longest: timedelta, chance: float) -> timedelta:
    """Return the pause after so many failures in a row: doubled with each up to `longest`, half of it fixed, half by chance (0 to 1)."""
    # Bounded before it is raised: a neighbour may be gone for weeks.
    return min(first * (1 << min(count - 1, 16)), longest) * (0.5 + 0.5 * chance)


def until_settled(call: Callable[[], T], is_settling: Callable[[Exception], bool], pacing: Pacing) -> T:
    """Repeat a call while it fails as things do that were just made; the last failure is raised when the bound is reached."""
    attempts = pacing.start()
    while True:
        try:
            return call()
        except Exception as error:
            if not is_settling(error) or not attempts.pause():
                raise


def retry_after_s(text: str) -> float:
    """Return the seconds that a `Retry-After` asks for; dates, which Google does not send, are not read."""
    return float(text) if text.isdecimal() and len(text) <= 4 else 0.0  # noqa: PLR2004 - 9,999 s is beyond every deadline
