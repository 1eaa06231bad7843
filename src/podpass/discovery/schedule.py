# SPDX-License-Identifier: Apache-2.0
"""When keys are fetched: pure arithmetic over spans; chance comes in as a number from 0 to 1."""

from dataclasses import dataclass
from datetime import timedelta

from podpass.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Schedule:
    """How fresh keys are kept, and how much an issuer is asked.

    Attributes:
        least: Keys are fresh at least as long, whatever the issuer says.
        most: And at most as long: a removed key counts no longer than this while its issuer can be reached.
        unsaid: As long where the issuer does not say.
        cooldown: Between two fetches for key ids that nobody knows.
        stale_limit: Keys that could not be confirmed for this long are not relied on any more.
        least_pause: After the first failure; doubled with each further one.
        most_pause: After many.
    """

    least: timedelta = timedelta(seconds=60)
    most: timedelta = timedelta(hours=1)
    unsaid: timedelta = timedelta(minutes=10)
    cooldown: timedelta = timedelta(seconds=10)
    stale_limit: timedelta = timedelta(hours=24)
    least_pause: timedelta = timedelta(seconds=1)
    most_pause: timedelta = timedelta(seconds=60)

    def __post_init__(self) -> None:
        ordered = timedelta() < self.least <= self.unsaid <= self.most < self.stale_limit
        if not ordered or not timedelta(seconds=1) <= self.least_pause <= self.most_pause or self.cooldown < timedelta(seconds=1):
            raise ConfigError(
                "The schedule of a key cache contradicts itself.",
                f"It is {self}.",
                "Keep 0 < least <= unsaid <= most < stale_limit, 1 s <= least_pause <= most_pause, and a cooldown of 1 s or more.",
                code="config.key-schedule",
            )

    def refresh_after(self, max_age: timedelta | None, chance: float) -> timedelta:
        """Return how long after a fetch the next one is due: at 75 % to 95 % of the keys' life, so that many servers do not ask at once."""
        life = self.unsaid if max_age is None else min(max(max_age, self.least), self.most)
        return life * (0.75 + 0.2 * chance)

    def pause_after(self, failures: int, chance: float) -> timedelta:
        """Return how long to leave an issuer alone after so many failures in a row: half of it fixed, half by chance."""
        # Bounded before it is raised: an issuer may be gone for weeks.
        pause = min(self.least_pause * (1 << min(failures - 1, 16)), self.most_pause)
        return pause * (0.5 + 0.5 * chance)
