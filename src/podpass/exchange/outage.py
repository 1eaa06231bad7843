# SPDX-License-Identifier: Apache-2.0
"""How it stands with a neighbour that others depend on: whether it answers, and if not, when it is asked again, and by whom.

1. While it answers, everybody may ask.
2. After a failure nobody asks before a pause is over, then one asks for all; its failure makes the next pause longer.
3. The first failures are tried again in silence, for some seconds. From then on the outage is known: who comes is told so at once.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, final

from podpass.errors import ExchangeUnavailableError, NeighbourError, UnavailableError
from podpass.exchange.schedule import CLOSED, EVER, TokenSchedule, Window
from podpass.exchange.wire import DEADLINE_S

LOGGER: Final = logging.getLogger("podpass.exchange")

LEAST_S: Final = 1.0
# Who asks for all is gone when it has not come back by then.
_LEASE: Final = timedelta(seconds=DEADLINE_S + 2)


@final
class Outage:
    """What is known of one neighbour. Not safe for threads: its owner has a lock.

    Args:
        who: The neighbour, for people.
        schedule: How long to leave it alone.
        chance: Returns a number from 0 to 1.
    """

    def __init__(self, who: str, schedule: TokenSchedule, chance: Callable[[], float]) -> None:
        self._who = who
        self._schedule = schedule
        self._chance = chance
        self._trouble = ""
        self._failed_at = EVER
        self._is_asked = False
        self.failures = 0
        self.is_known = False
        self.pause = CLOSED

    def holds(self, now: datetime) -> bool:
        """Tell whether nobody may ask now."""
        return self.failures > 0 and self.pause.holds(now)

    def blocks(self, now: datetime) -> bool:
        """Tell whether asking is useless, even for those who would wait a little."""
        return self.is_known and self.holds(now)

    def admit(self, now: datetime) -> bool:
        """Tell whether the caller may ask; in an outage one caller may."""
        if self.holds(now):
            return False
        if self.failures:
            self.pause, self._is_asked = Window.of(now, now + _LEASE), True
        return True

    def note(self, error: NeighbourError, begun_at: datetime, now: datetime) -> None:
        """Note a failure. Several that were under way together count as one."""
        if begun_at >= self._failed_at or not self.failures:
            self.failures += 1
        retry_after_s = error.retry_after_s if isinstance(error, UnavailableError) else 0.0
        until = now + self._schedule.pause(self.failures, retry_after_s, self._chance())
        # In an outage the pause that is replaced is the caller's own leave.
        self.pause, self._is_asked = Window.of(now, until), False
        self._failed_at = now
        self._trouble = f"{error.what} {error.why}".strip()
        LOGGER.warning("%s could not be asked (%d in a row): %s", self._who, self.failures, self._trouble)

    def end(self) -> None:
        """Note an answer, be it a refusal."""
        if self.failures:
            LOGGER.info("%s answers again, after %d failures in a row", self._who, self.failures)
        self.failures, self.is_known, self.pause = 0, False, CLOSED
        self._is_asked, self._trouble = False, ""

    def error(self, thing: str, now: datetime) -> ExchangeUnavailableError:
        """Return the error for who cannot have `thing` now."""
        is_pausing = self.holds(now) and not self._is_asked
        after_s = max((self.pause.until - now).total_seconds(), LEAST_S) if is_pausing else LEAST_S
        return ExchangeUnavailableError(
            f"There is no {thing} at hand, and none can be had now.",
            self._trouble,
            f"Ask again in {after_s:.0f} s.",
            retry_after_s=after_s,
        )
