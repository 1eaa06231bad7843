# SPDX-License-Identifier: Apache-2.0
"""SIGKILL at the requests of a rotation, then on, or back: the same end as without, and Google never lacks what is in use."""

import gc
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import pytest

from podpass.sandbox.hosting import HostedSandbox
from podpass.sandbox.kubernetes import api
from scenario.crash_walk.gallows import Gallows, Middle, Moment, is_writing
from scenario.crash_walk.rotation import NEW_KEY, PEOPLE, Trip, prepare, rotate
from scenario.crash_walk.world import LATER, World

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # see test_crash_walk.py

MOMENTS: tuple[Moment, ...] = ("before", "after")
EVERY: Final = 7
_STATE: Final = "/configmaps/rotation-shop"


def is_state(verb: str, path: str) -> bool:
    """Whether a request keeps how far the rotation is."""
    return verb == "PUT" and path.endswith(_STATE)


def is_beginning(verb: str, path: str) -> bool:
    """Whether a request keeps it for the first time."""
    return verb == "POST" and path.endswith("/podpass-system/configmaps")


def is_told(verb: str, path: str) -> bool:
    """Whether a request tells Google keys."""
    return verb == "PATCH" and "/providers/" in path


# Kills on one way, in their order: what is counted, the how-manieth, when.
KILLS: Final[tuple[tuple[Callable[[str, str], bool], int, Moment], ...]] = (
    (is_beginning, 1, "after"),  # it has begun, and nobody was asked for anything
    (is_told, 1, "after"),  # Google has the new key
    (is_state, 2, "before"),  # Google has it; the state does not say so
    (is_state, 2, "after"),  # the state does, and nobody was asked to switch
    (is_told, 1, "before"),  # Google is about to forget the old key
)
# Where a rotation may turn back: the writing of its state to be killed at, and when. `-ed`: the person has done it, and nobody has seen it.
TURNS: Final[dict[tuple[str, str], tuple[int, Moment]]] = {
    ("--key", "announce"): (0, "after"),
    ("--key", "announced"): (1, "before"),
    ("--key", "publish"): (1, "after"),
    ("--key", "switch"): (2, "after"),
    ("--key", "switched"): (3, "before"),
    ("--key", "wait"): (3, "after"),
    ("--issuer", "publish"): (0, "after"),
    ("--issuer", "tell"): (1, "after"),
    ("--issuer", "accept"): (2, "after"),
    ("--issuer", "accepted"): (3, "before"),
    ("--issuer", "switch"): (3, "after"),
    ("--issuer", "switched"): (4, "before"),
    ("--issuer", "configure"): (4, "after"),
    ("--issuer", "wait"): (5, "after"),
}
BEGINNINGS: Final = [*((option, "ready") for option in PEOPLE), *TURNS]


@pytest.fixture(autouse=True)
def _one_new_key(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    monkeypatch.setattr(api, "make_key", lambda _kind: NEW_KEY)
    prepare(world)


@cache
def expected(world: World, state: str, option: str, direction: str) -> Any:  # noqa: ANN401 - JSON
    """Return the end of a run that nobody kills."""
    with Trip.begin(world, state, option) as trip:
        before = trip.person.accepted
        assert trip.run(trip.arguments(*([direction] if direction == "--abort" else [])), Gallows()) == 0, world.said
        assert trip.person.is_through or (direction == "--abort" and len(trip.person.accepted) == 1)
        assert trip.person.is_through is (direction == "--resume"), before
        return trip.end


@pytest.mark.parametrize("every", [0, pytest.param(EVERY, marks=pytest.mark.slow)])
def test_a_rotation_that_is_killed_again_and_again_ends_as_one_that_is_not(world: World, every: int) -> None:
    end = expected(world, "ready", "--key", "--resume")
    codes: list[int] = []
    with Trip.begin(world, "ready", "--key") as trip:
        arguments: list[str] | None = trip.arguments()
        for counts, at, moment in KILLS:
            codes.append(trip.run(arguments, Gallows(counts, at, moment), every) if arguments else 0)
            arguments = trip.next_arguments("--resume") if codes[-1] else None
        if arguments:
            trip.finish("--resume", LATER if every else (0,) * 4)
        assert trip.end == end
    assert -9 in codes
    if not every:  # in bad weather a run may give up before it comes so far
        assert codes == [-9] * len(KILLS)
    gc.collect()


def under_way(world: World, option: str, step: str) -> str:
    """Make the state of a rotation that has come so far; return its name."""
    number, moment = TURNS[option, step]
    name = f"rotating{option}-{step}"

    def build(sandbox: HostedSandbox, middle: Middle) -> None:
        gallows = Gallows(is_state if number else is_beginning, number or 1, moment)
        with PEOPLE[option](sandbox, world.forge.output).at_hand():
            assert world.forge.run(rotate(world, option), middle, gallows) == -9, world.said

    world.make(name, "ready", build)
    return name


def walk(world: World, option: str, step: str, gallows: Gallows, every: int = 0) -> bool:
    """Kill once, go on until the end, compare; return False when nobody was killed any more."""
    direction = "--resume" if step == "ready" else "--abort"
    state = step if step == "ready" else under_way(world, option, step)
    end = expected(world, state, option, direction)
    with Trip.begin(world, state, option) as trip:
        code = trip.run(trip.arguments(*([] if step == "ready" else [direction])), gallows, every)
        if code:
            trip.finish(direction, LATER if every else (0,) * 4)
        where = f"{option} {direction} from {state}, killed {gallows.moment} request {gallows.at} ({gallows.trail[-1]})"
        assert trip.end == end, where
    gc.collect()
    return code == -9


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("option", PEOPLE)
def test_a_rotation_killed_at_any_request_is_finished_by_the_next_run(world: World, option: str, moment: Moment) -> None:
    at = 1
    while walk(world, option, "ready", Gallows(at=at, moment=moment)):
        at += 1
    assert at > 50


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize(("option", "step"), TURNS)
def test_a_way_back_that_is_killed_at_any_write_is_finished_by_the_next_run(world: World, option: str, step: str, moment: Moment) -> None:
    at = 1
    while walk(world, option, step, Gallows(is_writing, at, moment)):
        at += 1
    assert at > 3


@pytest.mark.slow
@pytest.mark.parametrize(("option", "step"), BEGINNINGS)
def test_every_killed_write_of_a_rotation_is_made_good_in_bad_weather(world: World, option: str, step: str) -> None:
    at = 1
    while walk(world, option, step, Gallows(is_writing, at, MOMENTS[at % 2]), EVERY + at % 3) or at < 3:
        at += 1
