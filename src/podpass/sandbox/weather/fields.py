# SPDX-License-Identifier: Apache-2.0
"""The faults file, declared: every key, its form, its default, and one sentence about it."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, get_args

from podpass.config.document import document
from podpass.config.record import Field, Record
from podpass.config.shape import ListOf, Text, Whole, one_of
from podpass.config.texts import present
from podpass.errors import ConfigError
from podpass.names import Issuer
from podpass.sandbox.settings import APIS
from podpass.sandbox.weather.faults import Act, Connection, GoogleWeather, Match, Rule, SigningKey, When

KIND: Final = "Faults"
_DAY_S: Final = 86_400
_MINUTE_MS: Final = 60_000
_MANY: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class SpecDraft:
    """`spec`, as far as it could be read."""

    seed: int = 0
    google: GoogleWeather = field(default_factory=GoogleWeather)
    rules: tuple[Rule, ...] = ()


def _mistake(what: str, next_step: str) -> ConfigError:
    return ConfigError(what, "", next_step, code="config.fault")


def _google(*, clock_skew: int = 0, **rest: Any) -> GoogleWeather:  # noqa: ANN401 - each was read by its form
    return GoogleWeather(clock_skew=timedelta(seconds=clock_skew), **rest)


def _when(**read: int) -> When:
    when = When(**read)
    if when.until is not None and when.until <= when.after:
        raise _mistake(f"This rule ends ({when.until} s) before it begins ({when.after} s).", "Write an until that is greater than after.")
    return when


def _act(**read: Any) -> Act:  # noqa: ANN401 - each was read by its form
    act = Act(**read)
    if act == Act():
        raise _mistake("This rule does nothing.", "Write delayMs, error, body, bodyMs or connection.")
    if act.error is None and (act.message or act.retry_after is not None):
        raise _mistake("There is no error that message and retryAfter could belong to.", "Write an error, such as 503.")
    if act.connection in {"reset", "answer-lost"} and (act.error or act.body is not None or act.body_ms):
        raise _mistake(f"With connection: {act.connection} nobody sees an answer.", "Remove error, body and bodyMs, or the connection.")
    return act


def _rule(*, path: str, name: str = "", **rest: Any) -> Rule:  # noqa: ANN401 - each was read by its form
    return Rule(name or path.removeprefix("spec."), **rest)


_pattern: Final = Text(present, {"minLength": 1})
_seconds: Final = Whole(0, _DAY_S, "seconds")
_milliseconds: Final = Whole(0, _MINUTE_MS, "milliseconds")
_count: Final = Whole(1, _MANY, "requests")

_GOOGLE: Final = Record(
    _google,
    (
        Field("clockSkew", Whole(-_DAY_S, _DAY_S, "seconds"), "How far Google's clock is ahead of the cluster's.", default=0),
        Field("disabledApis", ListOf(one_of(*APIS)), "APIs that are switched off, in every project; they can be enabled again."),
        Field(
            "allowedIssuers",
            ListOf(Text(lambda text: Issuer.parse(text).url, {"pattern": "^https://"})),
            "Issuers that the organization's policy admits for providers; left out: there is no such policy.",
        ),
        Field(
            "signingKey",
            one_of(*get_args(SigningKey)),
            "rotated: a new key signs Google's ID tokens, the old one stays published; replaced: it does not.",
            default="kept",
        ),
    ),
)
_MATCH: Final = Record(
    Match,
    (
        Field("method", _pattern, "Google's id of the method, or kubernetes.RESOURCE.VERB.", default="*"),
        Field("host", _pattern, "The host that is asked; `kubernetes` is the API server.", default="*"),
        Field("path", _pattern, "The path, percent-encoded as it was sent, without the query.", default="*"),
        Field("caller", _pattern, "Who asks, as the sandbox's log of requests has it.", default="*"),
    ),
)
_WHEN: Final = Record(
    _when,
    (
        Field("after", _seconds, "From so many seconds after the faults came into effect.", default=0),
        Field("until", _seconds, "Until so many seconds after it; left out: for good."),
        Field("nth", _count, "Only the one with this number, from 1."),
        Field("every", _count, "Each one whose number this divides.", default=1),
        Field("percent", Whole(1, 100, "percent"), "So many of a hundred, by lot.", default=100),
        Field("times", _count, "So many at most."),
    ),
)
_THEN: Final = Record(
    _act,
    (
        Field("delayMs", _milliseconds, "It waits so long before anything is done about it.", default=0),
        Field("error", Whole(400, 599, "HTTP status"), "It is not acted on, and answered with this status in the API's own form."),
        Field("message", Text(present), "The message of that answer; left out: the usual one."),
        Field("retryAfter", _seconds, "The Retry-After of that answer."),
        Field("body", Text(str), "The body of the answer is replaced by this."),
        Field("bodyMs", _milliseconds, "The body takes so long to come.", default=0),
        Field(
            "connection",
            one_of(*get_args(Connection)),
            "reset: before it is acted on; answer-lost: reset after that; body-truncated: closed in mid-answer.",
            default="kept",
        ),
    ),
)
_SPEC: Final = Record(
    SpecDraft,
    (
        Field("seed", Whole(0, _MANY, "seed"), "Decides whom percent strikes; the same seed, the same lot.", default=0),
        Field("google", _GOOGLE, "What is wrong with Google as a whole."),
        Field(
            "rules",
            ListOf(
                Record(
                    _rule,
                    (
                        Field("name", Text(present), "For the log; left out: its place in the file."),
                        Field("match", _MATCH, "Which requests; left out: all."),
                        Field("when", _WHEN, "Which of those; left out: all."),
                        Field("then", _THEN, "What happens to them.", required=True),
                    ),
                    is_located=True,
                )
            ),
            "Single requests; the first rule that strikes one is the only one.",
        ),
    ),
)
DOCUMENT: Final = document(KIND, Text(present), _SPEC, "What shall go wrong.")
