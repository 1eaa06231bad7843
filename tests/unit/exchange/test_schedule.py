# SPDX-License-Identifier: Apache-2.0
"""When tokens are renewed and how long failures keep, for every life, every chance and every number of failures."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from podpass.exchange.schedule import TokenSchedule, Window
from podpass.google.backoff import truncated
from token_forge import NOW

SCHEDULE = TokenSchedule()
CHANCES = st.floats(0, 1)
LIVES = st.timedeltas(min_value=timedelta(seconds=1), max_value=timedelta(hours=12))


@given(life=LIVES, chance=CHANCES)
def test_a_token_is_renewed_between_80_and_90_percent_of_its_life_and_served_beyond(life: timedelta, chance: float) -> None:
    renewal, last_use = SCHEDULE.renewal(NOW, NOW + life, chance), SCHEDULE.last_use(NOW, NOW + life)
    blink = timedelta(microseconds=2)
    assert life * 0.8 - blink <= renewal - NOW <= life * 0.9 + blink
    assert renewal <= last_use + blink
    assert last_use < NOW + life


@given(life=st.timedeltas(min_value=timedelta(minutes=5), max_value=timedelta(hours=12)))
def test_the_last_half_minute_is_not_handed_out(life: timedelta) -> None:
    assert SCHEDULE.last_use(NOW, NOW + life) == NOW + life - timedelta(seconds=30)


@given(failures=st.integers(1, 10**9), retry_after_s=st.floats(0, 9999), chance=CHANCES)
def test_a_pause_is_within_its_bounds_and_never_shorter_than_asked_for(failures: int, retry_after_s: float, chance: float) -> None:
    pause = SCHEDULE.pause(failures, retry_after_s, chance)
    assert timedelta(seconds=0.5) <= pause <= timedelta(seconds=330)
    assert pause >= min(timedelta(seconds=retry_after_s), timedelta(minutes=5))


@given(failures=st.integers(1, 100), chance=CHANCES)
def test_pauses_grow_and_are_half_chance(failures: int, chance: float) -> None:
    first, longest = timedelta(seconds=1), timedelta(minutes=1)
    pause = truncated(failures, first, longest, chance)
    assert truncated(failures, first, longest, 0) <= pause <= truncated(failures, first, longest, 1)
    assert truncated(failures, first, longest, 0) * 2 == truncated(failures, first, longest, 1)
    assert truncated(failures + 1, first, longest, chance) >= pause


@given(offset=st.timedeltas(min_value=-timedelta(days=1000), max_value=timedelta(days=1000)), span=LIVES)
def test_a_window_ends_and_does_not_hold_for_a_clock_that_was_set_back(offset: timedelta, span: timedelta) -> None:
    window = Window.of(NOW, NOW + span)
    assert window.holds(NOW + offset) == (timedelta(seconds=-60) <= offset < span)
