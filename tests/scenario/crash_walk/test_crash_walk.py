# SPDX-License-Identifier: Apache-2.0
"""SIGKILL at every request in turn, then again: the same end as without. Invariant 6; see README.md."""

import gc
import re
import signal
from functools import cache
from typing import Any

import pytest

from podpass.sandbox.hosting import HostedSandbox
from scenario.crash_walk.gallows import Gallows, Middle, Moment, is_writing
from scenario.crash_walk.world import BEGINNINGS, COMMANDS, LATER, World, brew, stable, struck

# A peer that was killed in its TLS handshake leaves a socket that CPython's ssl module forgets to close; it is collected in `walk`.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

SAMPLES = 3
# In bad weather each so-manieth request fails; not often enough for one to fail each time that it is repeated.
EVERY = 7
MOMENTS: tuple[Moment, ...] = ("before", "after")


@cache
def expected(world: World, command: str) -> tuple[Any, list[str]]:
    """Return the end of a run that nobody kills, and its requests that write."""
    with world.from_state(BEGINNINGS[command]) as (sandbox, middle):
        gallows = Gallows(is_writing)
        assert world.forge.run(COMMANDS[command], middle, gallows) == 0, world.said
        return stable(sandbox), gallows.trail


def walk(world: World, command: str, moment: Moment, at: int, gallows: Gallows, end: Any) -> bool:  # noqa: ANN401 - JSON
    """Kill at one request, run again, compare; return False when there was no such request any more."""
    with world.from_state(BEGINNINGS[command]) as (sandbox, middle):
        code = world.forge.run(COMMANDS[command], middle, gallows)
        assert code in {0, -9}, world.said
        again = world.forge.run(COMMANDS[command], middle, Gallows())
        assert again == 0, f"{command} killed {moment} request {at} ({gallows.trail[-1]}): {world.said}"
        assert stable(sandbox) == end, f"{command} killed {moment} request {at} ({gallows.trail[-1]})"
    gc.collect()
    return code == -9


@pytest.mark.parametrize("command", COMMANDS)
def test_a_killed_run_is_finished_by_the_next_one(world: World, command: str) -> None:
    """Kill at some of the requests that write, from the first one to the last."""
    end, trail = expected(world, command)
    for index in range(SAMPLES):
        at = 1 + index * (len(trail) - 1) // (SAMPLES - 1)
        moment = MOMENTS[index % 2]
        walk(world, command, moment, at, Gallows(is_writing, at, moment), end)


def test_after_a_killed_run_was_finished_there_is_nothing_left_to_do(world: World) -> None:
    with world.from_state("nothing") as (_, middle):
        assert world.forge.run(COMMANDS["apply"], middle, Gallows(is_writing, 8)) == -9
        assert world.forge.run(COMMANDS["apply"], middle, Gallows()) == 0, world.said
        third = Gallows(is_writing)
        assert world.forge.run(COMMANDS["apply"], middle, third) == 0
        assert third.trail == []


def finished(world: World, command: str, sandbox: HostedSandbox, middle: Middle) -> bool:
    """Run a command until it succeeds; a run that gives up in bad weather is run again, as it says, and meets other weather."""
    for every in LATER:
        brew(sandbox, every)
        if world.forge.run(COMMANDS[command], middle, Gallows()) == 0:
            return True
    return False


def storm(world: World, command: str, at: int, end: Any) -> None:  # noqa: ANN401 - JSON
    """Kill at a request that writes, while some of all fail; run until it succeeds, compare."""
    with world.from_state(BEGINNINGS[command]) as (sandbox, middle):
        brew(sandbox, EVERY)
        code = world.forge.run(COMMANDS[command], middle, Gallows(is_writing, at, MOMENTS[at % 2]))
        assert code in {0, 1, -9}, world.said
        assert struck(sandbox) > 0
        assert finished(world, command, sandbox, middle), world.said
        assert stable(sandbox) == end, f"{command} in bad weather, killed at write {at}"
    gc.collect()


@pytest.mark.parametrize("command", ["apply", "destroy"])
def test_a_killed_run_is_finished_in_bad_weather_too(world: World, command: str) -> None:
    end, trail = expected(world, command)
    storm(world, command, len(trail) // 2, end)


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_every_killed_write_is_made_good_in_bad_weather(world: World, command: str) -> None:
    end, trail = expected(world, command)
    for at in range(1, len(trail) + 1):
        storm(world, command, at, end)


def test_ctrl_c_says_how_far_it_came_and_the_next_run_continues(world: World) -> None:
    end, _ = expected(world, "apply")
    with world.from_state("nothing") as (sandbox, middle):
        creates_account = Gallows(lambda verb, path: verb == "POST" and path.endswith("/serviceAccounts"), at=1, signal=signal.SIGINT)
        assert world.forge.run(COMMANDS["apply"], middle, creates_account) == 1
        told = world.said
        assert re.search(r"Interrupted: [1-9] of 10 changes w(as|ere) made\. \[plan\.interrupted\]", told), told
        assert "Run `podpass apply` again: it continues where this run stopped." in told
        assert world.forge.run(COMMANDS["apply"], middle, Gallows()) == 0
        assert stable(sandbox) == end


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_run_killed_at_any_request_is_finished_by_the_next_one(world: World, command: str, moment: Moment) -> None:
    end, _ = expected(world, command)
    at = 1
    while walk(world, command, moment, at, Gallows(at=at, moment=moment), end):
        at += 1
    assert at > 20
