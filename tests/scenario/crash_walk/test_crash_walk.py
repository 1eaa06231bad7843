# SPDX-License-Identifier: Apache-2.0
"""SIGKILL at every request in turn, then again: the same end as without. Invariant 6; see README.md."""

import gc
import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from podpass.sandbox.hosting import HostedSandbox
from podpass.sandbox.settings import SandboxSettings
from scenario.crash_walk.gallows import Gallows, Middle, Moment, is_writing

# A peer that was killed in its TLS handshake leaves a socket that CPython's ssl module forgets to close; it is collected in `walk`.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

FILE = str(Path(__file__).parents[3] / "examples" / "first-article" / "podpass.yaml")
COMMANDS = {
    "apply": ["apply", "--yes", "--file", FILE],
    "destroy": ["destroy", "--yes", "--file", FILE],
    "undelete": ["apply", "--yes", "--allow-undelete", "*", "--file", FILE],
}
SAMPLES = 5
# In bad weather each so-manieth request fails; not often enough for one to fail each time that it is repeated.
EVERY = 7
LATER = (11, 13, 17, 19, 0)
MOMENTS: tuple[Moment, ...] = ("before", "after")
SHORT = timedelta(milliseconds=100)
# What is given out anew each time: unique ids of accounts, and uids of Kubernetes.
VOLATILE = re.compile(r"\b1\d{20}\b|\b[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\b")


def settings(folder: Path) -> SandboxSettings:
    return SandboxSettings(state_dir=folder, propagation=SHORT, account_visibility=SHORT)


class Forge:
    """Makes podpass processes."""

    def __init__(self, folder: Path) -> None:
        script = str(Path(__file__).with_name("forge.py"))
        self._process = subprocess.Popen([sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.output = folder / "output"

    def run(self, arguments: list[str], middle: Middle, gallows: Gallows) -> int:
        """Run podpass until it ends or is killed; return its exit code, negative for a signal."""
        assert self._process.stdin
        assert self._process.stdout
        self.output.write_text("")
        middle.gallows = gallows
        task = {"arguments": arguments, "environment": middle.environment, "output": str(self.output)}
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        gallows.name(int(self._process.stdout.readline().removeprefix("pid ")))
        return int(self._process.stdout.readline().removeprefix("exit "))

    def close(self) -> None:
        self._process.communicate()


@dataclass
class World:
    """A sandbox in a state to begin with, as often as wanted."""

    folder: Path
    forge: Forge
    made: int = 0

    def state(self, name: str) -> Path:
        return self.folder / name

    @contextmanager
    def from_state(self, name: str) -> Iterator[tuple[HostedSandbox, Middle]]:
        self.made += 1
        own = self.folder / f"copy-{self.made}"
        shutil.copytree(self.state(name), own)
        with ExitStack() as stack:
            sandbox = stack.enter_context(HostedSandbox(settings(own)))
            yield sandbox, stack.enter_context(Middle(sandbox.environment(), own))
        shutil.rmtree(own)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The states that the walks begin with: nothing, all applied, all destroyed."""
    folder = tmp_path_factory.mktemp("crash-walk")
    forge = Forge(folder)
    world = World(folder, forge)
    with HostedSandbox(settings(world.state("nothing"))):
        pass
    for command, before, after in (("apply", "nothing", "applied"), ("destroy", "applied", "destroyed")):
        shutil.copytree(world.state(before), world.state(after))
        with HostedSandbox(settings(world.state(after))) as sandbox, Middle(sandbox.environment(), folder) as middle:
            assert forge.run(COMMANDS[command], middle, Gallows()) == 0, forge.output.read_text()
    yield world
    forge.close()


def stable(sandbox: HostedSandbox) -> Any:  # noqa: ANN401 - JSON
    return json.loads(VOLATILE.sub("(volatile)", json.dumps(sandbox.dump(), sort_keys=True)))


BEGINNINGS = {"apply": "nothing", "destroy": "applied", "undelete": "destroyed"}


def expected(world: World, command: str) -> tuple[Any, list[str]]:
    """Return the end of a run that nobody kills, and its requests that write."""
    with world.from_state(BEGINNINGS[command]) as (sandbox, middle):
        gallows = Gallows(is_writing)
        assert world.forge.run(COMMANDS[command], middle, gallows) == 0, world.forge.output.read_text()
        return stable(sandbox), gallows.trail


def walk(world: World, command: str, moment: Moment, at: int, gallows: Gallows, end: Any) -> bool:  # noqa: ANN401 - JSON
    """Kill at one request, run again, compare; return False when there was no such request any more."""
    with world.from_state(BEGINNINGS[command]) as (sandbox, middle):
        code = world.forge.run(COMMANDS[command], middle, gallows)
        assert code in {0, -9}, world.forge.output.read_text()
        was_killed = code == -9
        again = world.forge.run(COMMANDS[command], middle, Gallows())
        assert again == 0, f"{command} killed {moment} request {at} ({gallows.trail[-1]}): {world.forge.output.read_text()}"
        assert stable(sandbox) == end, f"{command} killed {moment} request {at} ({gallows.trail[-1]})"
        # A third run finds nothing left to do.
        third = Gallows(is_writing)
        assert world.forge.run(COMMANDS[command], middle, third) == 0
        assert third.trail == []
    gc.collect()
    return was_killed


@pytest.mark.parametrize("command", COMMANDS)
def test_a_killed_run_is_finished_by_the_next_one(world: World, command: str) -> None:
    """Kill at some of the requests that write, from the first one to the last."""
    end, trail = expected(world, command)
    for index in range(SAMPLES):
        at = 1 + index * (len(trail) - 1) // (SAMPLES - 1)
        moment = MOMENTS[index % 2]
        walk(world, command, moment, at, Gallows(is_writing, at, moment), end)


def finished(world: World, command: str, middle: Middle) -> bool:
    """Run a command until it succeeds; a run that gives up in bad weather is run again, as it says, and meets other weather."""
    return any(world.forge.run(COMMANDS[command], middle, Gallows(every=every)) == 0 for every in LATER)


def storm(world: World, command: str, at: int, end: Any) -> None:  # noqa: ANN401 - JSON
    """Kill at a request that writes, while every so-manieth request of all fails; run until it succeeds, compare."""
    with world.from_state(BEGINNINGS[command]) as (sandbox, middle):
        code = world.forge.run(COMMANDS[command], middle, Gallows(is_writing, at, MOMENTS[at % 2], every=EVERY))
        assert code in {0, 1, -9}, world.forge.output.read_text()
        assert finished(world, command, middle), world.forge.output.read_text()
        assert stable(sandbox) == end, f"{command} in bad weather, killed at write {at}"
    gc.collect()


def test_a_killed_run_is_finished_in_bad_weather_too(world: World) -> None:
    end, trail = expected(world, "apply")
    storm(world, "apply", len(trail) // 2, end)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["apply", "undelete"])
def test_every_killed_write_is_made_good_in_bad_weather(world: World, command: str) -> None:
    end, trail = expected(world, command)
    for at in range(1, len(trail) + 1):
        storm(world, command, at, end)


def test_ctrl_c_says_how_far_it_came_and_the_next_run_continues(world: World) -> None:
    end, _ = expected(world, "apply")
    with world.from_state("nothing") as (sandbox, middle):
        creates_account = Gallows(lambda verb, path: verb == "POST" and path.endswith("/serviceAccounts"), at=1, signal=signal.SIGINT)
        assert world.forge.run(COMMANDS["apply"], middle, creates_account) == 1
        told = world.forge.output.read_text()
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
