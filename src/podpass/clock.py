# SPDX-License-Identifier: Apache-2.0
"""Time as a parameter: judgement never asks the machine what time it is, its caller hands it a moment.

Shells own a `Clock`; tests own a `SteppedClock` and move it by hand.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import time
from typing import Protocol


class Clock(Protocol):
    """Tells the present moment."""

    def now(self) -> datetime:
        """Return the present moment, timezone-aware, in UTC."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the machine's time in UTC."""
        return datetime.now(UTC)


def seconds_by(clock: Clock) -> Callable[[], float]:
    """Return what tells a clock's moment in seconds since 1970; in one step for the machine's own."""
    return time if type(clock) is SystemClock else lambda: clock.now().timestamp()


class SteppedClock:
    """A clock that stands still until it is told to move."""

    def __init__(self, start: datetime) -> None:
        self._now = start.astimezone(UTC)

    def now(self) -> datetime:
        """Return the moment it was last moved to."""
        return self._now

    def step(self, span: timedelta) -> None:
        """Move on by `span`; a negative span moves back."""
        self._now += span
