# SPDX-License-Identifier: Apache-2.0
"""When tokens are fetched and how long they are served: pure arithmetic over moments; chance comes in as a number from 0 to 1."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from podpass.errors import ConfigError
from podpass.google.backoff import truncated

EVER: Final = datetime.min.replace(tzinfo=UTC)
NEVER: Final = datetime.max.replace(tzinfo=UTC)
# A clock that is this much behind was set back; less is two threads overtaking each other.
_SET_BACK: Final = timedelta(seconds=60)
# `least_left` is a tenth of a life at most: what is renewed later would be renewed while nobody may have it.
_RENEW_BY: Final = 0.9


class Window(NamedTuple):
    """From one moment, less what threads may differ by, to before another one. A clock that was set back is outside."""

    since: datetime
    until: datetime

    def holds(self, now: datetime) -> bool:
        """Tell whether a moment is inside."""
        return self.since <= now < self.until

    @classmethod
    def of(cls, now: datetime, until: datetime) -> "Window":
        """Return the window from now on."""
        return cls(now - _SET_BACK, until)


CLOSED: Final = Window(NEVER, EVER)


@dataclass(frozen=True, slots=True)
class TokenSchedule:
    """How fresh tokens are kept, and how much Google is asked.

    Attributes:
        renew_at: The part of a token's life after which it is renewed.
        spread: Up to this part of its life later, by chance, so that many pods do not ask at once.
        least_left: A token with less to live is not handed out; for one that never had ten times that, a tenth of its life.
        least_pause: After the first failure to get an answer; doubled with each further one.
        most_pause: After many.
        refused: How long a refusal holds before Google is asked again.
        trying: How long the first failures are tried again before anybody is told.
    """

    renew_at: float = 0.8
    spread: float = 0.1
    least_left: timedelta = timedelta(seconds=30)
    least_pause: timedelta = timedelta(seconds=1)
    most_pause: timedelta = timedelta(seconds=60)
    refused: timedelta = timedelta(seconds=10)
    trying: timedelta = timedelta(seconds=4)

    def __post_init__(self) -> None:
        parts = 0 < self.renew_at <= self.renew_at + self.spread <= _RENEW_BY + 1e-9
        spans = timedelta() < self.least_pause <= self.most_pause and timedelta() < self.refused and timedelta() <= self.trying
        if not parts or not spans or self.spread < 0 or self.least_left < timedelta():
            raise ConfigError(
                "The schedule of a token cache contradicts itself.",
                f"It is {self}.",
                "Keep 0 < renew_at, renew_at + spread <= 0.9, 0 < least_pause <= most_pause, and no negative span.",
                code="config.token-schedule",
            )

    def renewal(self, now: datetime, expires_at: datetime, chance: float) -> datetime:
        """Return when a token that was fetched now is to be renewed."""
        return now + (expires_at - now) * (self.renew_at + self.spread * chance)

    def last_use(self, now: datetime, expires_at: datetime) -> datetime:
        """Return until when a token that was fetched now is handed out."""
        return expires_at - min(self.least_left, (expires_at - now) / 10)

    def pause(self, failures: int, retry_after_s: float, chance: float) -> timedelta:
        """Return how long to leave a service alone after so many failures in a row: half of it fixed, half by chance.

        What the service asked for is heeded, up to `5 * most_pause`, with up to a tenth more by chance: it told everybody the same.
        """
        asked = min(timedelta(seconds=retry_after_s), 5 * self.most_pause) * (1 + chance / 10)
        return max(truncated(failures, self.least_pause, self.most_pause, chance), asked)
