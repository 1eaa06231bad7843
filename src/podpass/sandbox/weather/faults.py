# SPDX-License-Identifier: Apache-2.0
"""What shall go wrong, as frozen values (docs/reference/faults.md)."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

Connection = Literal["kept", "reset", "answer-lost", "body-truncated"]
SigningKey = Literal["kept", "rotated", "replaced"]

_AWAY = 503


@dataclass(frozen=True, slots=True)
class Match:
    """Which requests a rule is about: patterns in which `*` stands for anything, all of which must fit."""

    method: str = "*"
    host: str = "*"
    path: str = "*"
    caller: str = "*"


@dataclass(frozen=True, slots=True)
class When:
    """Which of the requests that match are struck.

    Attributes:
        after: Seconds from when the faults came into effect; earlier requests are neither struck nor counted.
        until: Seconds likewise; None: for good.
        nth: Only the one with this number, from 1.
        every: Each one whose number this divides.
        percent: How many of a hundred, by lot.
        times: How many at most.
    """

    after: int = 0
    until: int | None = None
    nth: int | None = None
    every: int = 1
    percent: int = 100
    times: int | None = None


@dataclass(frozen=True, slots=True)
class Act:
    """What happens to a request that is struck.

    Attributes:
        delay_ms: How long it waits before anything is done about it.
        error: The HTTP status that it is answered with, in place of being acted on.
        message: The message in that answer; empty: the usual one of the status.
        retry_after: The seconds of that answer's `Retry-After`.
        body: What the answer's body is replaced by.
        body_ms: How long the body takes to come.
        connection: `reset` before it is acted on; `answer-lost`: reset when it has been; `body-truncated`: closed in mid-answer.
    """

    delay_ms: int = 0
    error: int | None = None
    message: str = ""
    retry_after: int | None = None
    body: str | None = None
    body_ms: int = 0
    connection: Connection = "kept"

    @property
    def refusal(self) -> int | None:
        """The status of a request that is not acted on; None: it is."""
        return _AWAY if self.connection == "reset" else self.error

    @property
    def headers(self) -> dict[str, str]:
        """The headers of a refusal."""
        return {} if self.retry_after is None else {"retry-after": str(self.retry_after)}


@dataclass(frozen=True, slots=True)
class Rule:
    """Some requests, sometimes, and what happens to them."""

    name: str
    then: Act
    match: Match = field(default_factory=Match)
    when: When = field(default_factory=When)


@dataclass(frozen=True, slots=True)
class GoogleWeather:
    """What is wrong with Google as a whole.

    Attributes:
        clock_skew: How far Google's clock is ahead of everybody else's.
        disabled_apis: APIs that somebody has switched off, in every project, when the faults came; they can be switched on again.
        allowed_issuers: The issuers that the organization's policy admits for providers; None: there is no such policy.
        signing_key: `rotated`: a new key signs Google's ID tokens and the old one stays published; `replaced`: it does not.
    """

    clock_skew: timedelta = timedelta(0)
    disabled_apis: tuple[str, ...] = ()
    allowed_issuers: tuple[str, ...] | None = None
    signing_key: SigningKey = "kept"


@dataclass(frozen=True, slots=True)
class Faults:
    """A whole forecast.

    Attributes:
        name: What it is called.
        seed: Decides whom `percent` strikes.
        google: Google as a whole.
        rules: Single requests; the first rule that strikes one is the only one.
    """

    name: str = "calm"
    seed: int = 0
    google: GoogleWeather = field(default_factory=GoogleWeather)
    rules: tuple[Rule, ...] = ()
