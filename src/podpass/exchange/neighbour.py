# SPDX-License-Identifier: Apache-2.0
"""Somebody whom others depend on: whether it answers, and if not, when it is asked again, and by whom.

1. While it answers, everybody may ask.
2. After a failure nobody asks before a pause is over, then one asks for all; its failure makes the next pause longer.
3. The first failures are tried again in silence, for some seconds. From then on the outage is known: who comes is told so at once.
"""

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, TypeVar, final

from podpass.clock import Clock
from podpass.errors import ExchangeUnavailableError, NeighbourError, PodpassError, UnavailableError, UnreachableError
from podpass.exchange.schedule import CLOSED, EVER, TokenSchedule, Window

T = TypeVar("T")

LOGGER: Final = logging.getLogger("podpass.exchange")

LEAST_S: Final = 1.0
# Who asks for all is gone when it has not come back by then: longer than one call may take (`wire.DEADLINE_S`).
_LEASE: Final = timedelta(seconds=10)


@final
class Neighbour:
    """Asks one neighbour, and knows how it stands with it. Safe for threads.

    Args:
        who: The neighbour, for people.
        clock: Tells the time.
        schedule: How long to leave it alone.
        chance: Returns a number from 0 to 1.
        sleep: Waits.
    """

    def __init__(
        self,
        who: str,
        clock: Clock,
        schedule: TokenSchedule,
        chance: Callable[[], float],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._who = who
        self._clock = clock
        self._schedule = schedule
        self._chance = chance
        self._sleep = sleep
        self._lock = threading.Lock()
        self._trouble = self._cure = ""
        self._failed_at = EVER
        self._is_asked = False
        self._failures = 0
        self.is_known = False
        self.pause = CLOSED

    def ask(self, thing: str, call: Callable[[], T]) -> T:
        """Ask, a few times where there is no answer, and remember how it went. Waits: it belongs on a thread that may.

        Raises:
            ExchangeUnavailableError: It does not answer.
            PodpassError: It refuses, or its answer is none of the protocol.
        """
        ends_at = self._clock.now() + self._schedule.trying
        while True:
            self._stand_in_line(thing, ends_at)
            begun_at = self._clock.now()
            try:
                answer = call()
            except PodpassError as error:
                with self._lock:
                    if not isinstance(error, NeighbourError) or not error.retryable:
                        self._end()
                        raise
                    self._note(error, begun_at, self._clock.now())
            else:
                with self._lock:
                    self._end()
                return answer

    @property
    def is_troubled(self) -> bool:
        """Whether there is an outage, be it not known yet, or be it that somebody is asking."""
        return self._failures > 0

    def blocks(self, now: datetime) -> bool:
        """Tell whether asking is useless, even for those who would wait a little."""
        return self.is_known and self._holds(now)

    def error(self, thing: str, now: datetime) -> ExchangeUnavailableError:
        """Return the error for who cannot have `thing` now."""
        is_pausing = self._holds(now) and not self._is_asked
        after_s = max((self.pause.until - now).total_seconds(), LEAST_S) if is_pausing else LEAST_S
        return ExchangeUnavailableError(
            f"There is no {thing} at hand, and none can be had now.",
            self._trouble,
            f"{self._cure}Ask again in {after_s:.0f} s.",
            retry_after_s=after_s,
        )

    def wake_in_child(self) -> None:
        """Start anew after a fork; see `forks`. What is known of the neighbour stays."""
        self._lock = threading.Lock()

    def _stand_in_line(self, thing: str, ends_at: datetime) -> None:
        """Wait until it may be asked; not where that takes long, and not in a known outage."""
        while True:
            with self._lock:
                now = self._clock.now()
                if self._admit(now):
                    return
                if self.is_known or self.pause.until > ends_at:
                    self.is_known = True
                    raise self.error(thing, now)
                pause = self.pause.until - now
            self._sleep(pause.total_seconds())

    def _holds(self, now: datetime) -> bool:
        """Tell whether nobody may ask now."""
        return self._failures > 0 and self.pause.holds(now)

    def _admit(self, now: datetime) -> bool:
        """Tell whether the caller may ask; in an outage one caller may."""
        if self._holds(now):
            return False
        if self._failures:
            self.pause, self._is_asked = Window.of(now, now + _LEASE), True
        return True

    def _note(self, error: NeighbourError, begun_at: datetime, now: datetime) -> None:
        """Note a failure. Several that were under way together count as one."""
        if begun_at >= self._failed_at or not self._failures:
            self._failures += 1
        retry_after_s = error.retry_after_s if isinstance(error, UnavailableError) else 0.0
        until = now + self._schedule.pause(self._failures, retry_after_s, self._chance())
        # In an outage the pause that is replaced is the caller's own leave.
        self.pause, self._is_asked = Window.of(now, until), False
        self._failed_at = now
        self._trouble = f"{error.what} {error.why}".strip()
        # Who answers that it is busy says when to ask again, and that is said anyway.
        self._cure = f"{error.next_step} " if isinstance(error, UnreachableError) and error.next_step else ""
        LOGGER.warning("%s could not be asked (%d in a row): %s", self._who, self._failures, self._trouble)

    def _end(self) -> None:
        """Note an answer, be it a refusal."""
        if self._failures:
            LOGGER.info("%s answers again, after %d failures in a row", self._who, self._failures)
        self._failures, self.is_known, self.pause = 0, False, CLOSED
        self._is_asked, self._trouble, self._cure = False, "", ""
