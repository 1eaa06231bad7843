# SPDX-License-Identifier: Apache-2.0
"""Decides which requests the faults strike. The same requests in the same order meet the same weather.

Each rule counts the requests that match it, and draws its lots from a generator of its own: what one rule does never shifts another's.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase

from podpass.clock import Clock
from podpass.sandbox.store import Json
from podpass.sandbox.weather.faults import Faults, Rule


@dataclass(frozen=True, slots=True)
class Seen:
    """What a request shows. Who asks is found out only for a rule that wants to know."""

    method: str
    host: str
    path: str
    caller: Callable[[], str]


class _Armed:
    """A rule, and how often it has matched and struck."""

    def __init__(self, rule: Rule, seed: str) -> None:
        self.rule = rule
        self.matched = self.struck = 0
        self._random = random.Random(seed)  # noqa: S311 - has to repeat itself

    def is_about(self, seen: Seen, elapsed_s: float) -> bool:
        match, when = self.rule.match, self.rule.when
        return (
            when.after <= elapsed_s
            and (when.until is None or elapsed_s < when.until)
            and fnmatchcase(seen.method, match.method)
            and fnmatchcase(seen.host, match.host)
            and fnmatchcase(seen.path, match.path)
            and (match.caller == "*" or fnmatchcase(seen.caller(), match.caller))
        )

    def strikes(self) -> bool:
        when = self.rule.when
        self.matched += 1
        drawn = self._random.randrange(100) < when.percent  # also when it does not matter: the n-th request has the n-th lot
        chosen = drawn and when.nth in {None, self.matched} and self.matched % when.every == 0
        if not chosen or self.struck == when.times:
            return False
        self.struck += 1
        return True


class Weather:
    """The faults in effect.

    Args:
        clock: The sandbox's; rules count their seconds by it.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.change(Faults())

    def change(self, faults: Faults) -> None:
        """Put faults into effect in place of those so far; they begin to count now."""
        self.faults = faults
        self._since = self._clock.now()
        self._rules = [_Armed(rule, f"{faults.seed}/{number}") for number, rule in enumerate(faults.rules)]

    @property
    def is_calm(self) -> bool:
        """Whether no request needs to be looked at."""
        return not self._rules

    def strike(self, seen: Seen) -> Rule | None:
        """Return the rule that strikes a request, if one does."""
        elapsed_s = (self._clock.now() - self._since).total_seconds()
        return next((each.rule for each in self._rules if each.is_about(seen, elapsed_s) and each.strikes()), None)

    def report(self) -> Json:
        """Say how often each rule has matched and struck."""
        counts = [{"rule": each.rule.name, "matched": each.matched, "struck": each.struck} for each in self._rules]
        return {"name": self.faults.name, "rules": counts}


class GoogleClock:
    """The clock of Google's side, as wrong as the weather has it.

    Args:
        clock: The sandbox's.
        weather: Says how wrong.
    """

    def __init__(self, clock: Clock, weather: Weather) -> None:
        self._clock = clock
        self._weather = weather

    def now(self) -> datetime:
        """Return the present moment, in Google's opinion."""
        return self._clock.now() + self._weather.faults.google.clock_skew
