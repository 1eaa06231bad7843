# SPDX-License-Identifier: Apache-2.0
"""Which requests the faults strike."""

from datetime import UTC, datetime, timedelta

import pytest

from podpass.clock import SteppedClock
from podpass.sandbox.weather.faults import Act, Faults, GoogleWeather, Match, Rule, When
from podpass.sandbox.weather.weather import GoogleClock, Seen, Weather

ACT = Act(error=503)
EXCHANGE = Seen("sts.token", "sts.googleapis.com", "/v1/token", lambda: "anonymous")
LIST = Seen("storage.buckets.list", "storage.googleapis.com", "/storage/v1/b", lambda: "wif@p.iam.gserviceaccount.com")


def weather(*rules: Rule, seed: int = 0) -> tuple[Weather, SteppedClock]:
    clock = SteppedClock(datetime(2026, 3, 1, tzinfo=UTC))
    under = Weather(clock)
    under.change(Faults("test", seed, rules=rules))
    return under, clock


def struck(under: Weather, seen: Seen, count: int) -> list[int]:
    """Return the numbers of the requests that were struck, from 1."""
    return [number for number in range(1, count + 1) if under.strike(seen)]


@pytest.mark.parametrize(
    ("match", "meant"),
    [
        (Match(), True),
        (Match(method="sts.*"), True),
        (Match(method="sts.introspect"), False),
        (Match(host="*.googleapis.com"), True),
        (Match(host="iam.*"), False),
        (Match(path="/v1/*"), True),
        (Match(path="/v2/*"), False),
        (Match(caller="anonymous"), True),
        (Match(caller="*@*"), False),
        (Match(method="sts.*", caller="*@*"), False),
    ],
)
def test_every_pattern_of_a_rule_has_to_fit(match: Match, meant: bool) -> None:  # noqa: FBT001 - a column of the table
    under, _ = weather(Rule("one", ACT, match))
    assert bool(under.strike(EXCHANGE)) == meant


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        (When(), [1, 2, 3, 4, 5, 6]),
        (When(nth=3), [3]),
        (When(every=2), [2, 4, 6]),
        (When(times=2), [1, 2]),
        (When(every=2, times=2), [2, 4]),
    ],
)
def test_requests_are_counted_from_one(when: When, expected: list[int]) -> None:
    under, _ = weather(Rule("one", ACT, when=when))
    assert struck(under, EXCHANGE, 6) == expected


def test_only_what_matches_is_counted() -> None:
    under, _ = weather(Rule("one", ACT, Match(method="sts.token"), When(nth=2)))
    assert [bool(under.strike(seen)) for seen in (EXCHANGE, LIST, EXCHANGE)] == [False, False, True]
    assert under.report() == {"name": "test", "rules": [{"rule": "one", "matched": 2, "struck": 1}]}


def test_a_rule_holds_from_after_until_by_the_clock() -> None:
    under, clock = weather(Rule("one", ACT, when=When(after=60, until=120)))
    told = []
    for _ in range(5):
        told.append(bool(under.strike(EXCHANGE)))
        clock.step(timedelta(seconds=30))
    assert told == [False, False, True, True, False]


def test_the_same_seed_draws_the_same_lots_and_another_one_others() -> None:
    drawn = [struck(weather(Rule("one", ACT, when=When(percent=30)), seed=seed)[0], EXCHANGE, 100) for seed in (7, 7, 8)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert 15 < len(drawn[0]) < 45


def test_one_rule_never_shifts_the_lots_of_another() -> None:
    rule = Rule("one", ACT, Match(method="sts.token"), When(percent=50))
    alone, _ = weather(rule)
    beside, _ = weather(rule, Rule("two", ACT, Match(method="storage.*"), When(percent=50)))
    together = []
    for number in range(1, 41):
        beside.strike(LIST)
        together += [number] if beside.strike(EXCHANGE) else []
    assert together == struck(alone, EXCHANGE, 40)


def test_the_first_rule_that_strikes_is_the_only_one() -> None:
    under, _ = weather(Rule("first", ACT, when=When(times=1)), Rule("second", ACT))
    assert [rule and rule.name for rule in (under.strike(EXCHANGE), under.strike(EXCHANGE))] == ["first", "second"]


def test_who_asks_is_found_out_only_where_a_rule_wants_to_know() -> None:
    def fail() -> str:
        raise AssertionError

    under, _ = weather(Rule("one", ACT))
    assert under.strike(Seen("sts.token", "sts.googleapis.com", "/v1/token", fail))


def test_new_faults_begin_to_count_anew() -> None:
    under, _ = weather(Rule("one", ACT, when=When(times=1)))
    assert struck(under, EXCHANGE, 2) == [1]
    under.change(under.faults)
    assert struck(under, EXCHANGE, 2) == [1]
    under.change(Faults())
    assert under.is_calm


def test_googles_clock_is_as_wrong_as_the_faults_have_it() -> None:
    under, clock = weather()
    google = GoogleClock(clock, under)
    assert google.now() == clock.now()
    under.change(Faults(google=GoogleWeather(clock_skew=timedelta(minutes=-5))))
    assert google.now() == clock.now() - timedelta(minutes=5)
