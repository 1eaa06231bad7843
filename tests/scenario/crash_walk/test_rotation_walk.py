# SPDX-License-Identifier: Apache-2.0
"""SIGKILL at the requests of a rotation, then on, or back: the same end as without, and Google never lacks a key in use."""

import gc
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

from podpass.sandbox.hosting import HostedSandbox
from podpass.sandbox.kubernetes import api
from scenario.crash_walk.gallows import Gallows, Middle, Moment, is_writing
from scenario.crash_walk.rotating import FILE, NEW, NEW_KEY, Person, Trip, prepare, rotate, write_federation
from scenario.crash_walk.world import LATER, World, stable

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # see test_crash_walk.py

MOMENTS: tuple[Moment, ...] = ("before", "after")
EVERY: Final = 7
_STATE: Final = "/configmaps/rotation-shop"


def is_state(verb: str, path: str) -> bool:
    """Whether a request keeps how far the rotation is."""
    return verb == "PUT" and path.endswith(_STATE)


def is_beginning(verb: str, path: str) -> bool:
    """Whether a request keeps it for the first time."""
    return verb == "POST" and path.endswith("/configmaps")


def is_told(verb: str, path: str) -> bool:
    """Whether a request tells Google keys."""
    return verb == "PATCH" and "/providers/" in path


# Kills on one way, in their order: what is counted, the how-manieth, when.
KILLS: Final[tuple[tuple[Callable[[str, str], bool], int, Moment], ...]] = (
    (is_beginning, 1, "after"),  # it has begun, and nobody was asked for anything
    (is_told, 1, "after"),  # Google has the new key
    (is_state, 2, "before"),  # Google has it; the state does not say so
    (is_state, 2, "after"),  # the new key signs, and the wait begins
    (is_told, 1, "before"),  # Google is about to forget the old key
)


@pytest.fixture(autouse=True)
def _one_new_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "make_key", lambda _kind: NEW_KEY)


@pytest.fixture
def file(world: World) -> Path:
    written = write_federation(world.folder)
    prepare(world, written)
    return written


@cache
def expected(world: World, state: str, direction: str) -> tuple[Any, int]:
    """Return the end of a run that nobody kills, and how many requests it made."""
    with Trip.begin(world, state) as trip:
        gallows = Gallows()
        arguments = rotate(trip.file, *([direction] if direction == "--abort" else []))
        assert trip.run(arguments, gallows) == 0, world.said
        assert len(trip.person.kids) == 1
        assert (trip.person.kids == [NEW]) is (direction == "--resume")
        return stable(trip.sandbox), gallows.seen


@pytest.mark.parametrize("every", [0, pytest.param(EVERY, marks=pytest.mark.slow)])
def test_a_rotation_that_is_killed_again_and_again_ends_as_one_that_is_not(world: World, file: Path, every: int) -> None:
    end, _ = expected(world, "ready", "--resume")
    codes: list[int] = []
    with Trip.begin(world, "ready") as trip:
        arguments: list[str] | None = rotate(file)
        for counts, at, moment in KILLS:
            codes.append(trip.run(arguments, Gallows(counts, at, moment), every) if arguments else 0)
            arguments = trip.next_arguments("--resume") if codes[-1] else None
        if arguments:
            trip.finish("--resume", LATER if every else (0,) * 4)
        assert stable(trip.sandbox) == end
    assert -9 in codes
    if not every:  # in bad weather a run may give up before it comes so far
        assert codes == [-9] * len(KILLS)
    gc.collect()


# Where a rotation may turn back: the writing of its state to be killed at, and when. `-ed`: the person has done it, and nobody has seen it.
TURNS: Final[dict[str, tuple[int, Moment]]] = {
    "announce": (0, "after"),
    "announced": (1, "before"),
    "publish": (1, "after"),
    "switch": (2, "after"),
    "switched": (3, "before"),
    "wait": (3, "after"),
}


def under_way(world: World, step: str) -> str:
    """Make the state of a rotation that has come so far; return its name."""
    number, moment = TURNS[step]

    def build(sandbox: HostedSandbox, middle: Middle) -> None:
        gallows = Gallows(is_state if number else is_beginning, number or 1, moment)
        with Person(sandbox, world.forge.output).at_hand():
            assert world.forge.run(rotate(world.folder / FILE), middle, gallows) == -9, world.said

    world.make(f"rotating-{step}", "ready", build)
    return f"rotating-{step}"


def walk(world: World, state: str, direction: str, gallows: Gallows, every: int = 0) -> bool:
    """Kill once, go on until the end, compare; return False when nobody was killed any more."""
    end, _ = expected(world, state, direction)
    with Trip.begin(world, state) as trip:
        begin = rotate(trip.file) if state == "ready" else rotate(trip.file, direction)
        code = trip.run(begin, gallows, every)
        if code:
            trip.finish(direction, LATER if every else (0,) * 4)
        where = f"{direction} from {state}, killed {gallows.moment} request {gallows.at} ({gallows.trail[-1]})"
        assert stable(trip.sandbox) == end, where
    gc.collect()
    return code == -9


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_rotation_killed_at_any_request_is_finished_by_the_next_run(world: World, file: Path, moment: Moment) -> None:
    del file
    at = 1
    while walk(world, "ready", "--resume", Gallows(at=at, moment=moment)):
        at += 1
    assert at > 50


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("step", TURNS)
def test_a_way_back_that_is_killed_at_any_write_is_finished_by_the_next_run(world: World, file: Path, step: str, moment: Moment) -> None:
    del file
    at = 1
    while walk(world, under_way(world, step), "--abort", Gallows(is_writing, at, moment)):
        at += 1
    assert at > 3


@pytest.mark.slow
@pytest.mark.parametrize("state", ["ready", *TURNS])
def test_every_killed_write_of_a_rotation_is_made_good_in_bad_weather(world: World, file: Path, state: str) -> None:
    del file
    begin, direction = (state, "--resume") if state == "ready" else (under_way(world, state), "--abort")
    for at in range(1, 30):
        if not walk(world, begin, direction, Gallows(is_writing, at, MOMENTS[at % 2]), EVERY + at % 3):
            break
