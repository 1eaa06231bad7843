# SPDX-License-Identifier: Apache-2.0
"""A pod's metadata server, a process of its own, through outages of every kind: the pod's containers notice as little as can be."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from metadata_sidecar import SidecarProcess, federated, metadata_sidecar
from podpass.clock import SteppedClock
from scenario.weather.fleet import ACCOUNT, PROVIDER, Cluster, World

TOKEN = "/computeMetadata/v1/instance/service-accounts/default/token"
PROGRAM = Path(__file__).parents[2] / "cross/programs/time_machine.py"


class TickingClock(SteppedClock):
    """Goes on by itself, and further where it is told to."""

    def __init__(self, start: datetime) -> None:
        super().__init__(start)
        self._begun_s = time.monotonic()

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=time.monotonic() - self._begun_s)


class Pod:
    """A world with one pod in it, whose clocks go together.

    Attributes:
        sidecar: The pod's metadata server.
    """

    sidecar: SidecarProcess

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self._folder = folder
        self._ahead_s = 0.0
        self.later(0)

    @contextmanager
    def served(self) -> Iterator[SidecarProcess]:
        """Run a metadata server."""
        environment = {**self.world.sandbox.environment(), "PODPASS_TEST_AHEAD": str(self._folder / "ahead")}
        flags = federated(str(PROVIDER), self._folder / "token", f"--google-service-account={ACCOUNT}")
        with metadata_sidecar(*flags, environment=environment, program=[str(PROGRAM)]) as sidecar:
            yield sidecar

    def later(self, seconds: float) -> None:
        """Let time pass for everybody; kubelet renews the subject token meanwhile."""
        self._ahead_s += seconds
        self.world.clock.step(timedelta(seconds=seconds))
        (self._folder / "new").write_text(Cluster(self.world.clock).read().reveal())
        (self._folder / "new").replace(self._folder / "token")
        (self._folder / "new").write_text(str(self._ahead_s))
        (self._folder / "new").replace(self._folder / "ahead")

    def token(self) -> tuple[str, int]:
        """Ask as a container does, for a token that there is: return it, and how long it lives."""
        answer = self.sidecar.get(TOKEN)
        assert answer.status_code == 200, answer.text
        return answer.json()["access_token"], answer.json()["expires_in"]

    def storm(self, trouble: dict[str, Any]) -> None:
        """Let everything that Google is asked come to grief."""
        self.world.weather({"match": {"host": "*.googleapis.com"}, "then": trouble})

    def struck(self) -> int:
        """Count the requests that came to grief."""
        return sum(rule["struck"] for rule in self.world.sandbox.faults()["rules"])


@pytest.fixture(scope="module")
def quiet_pod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    """A pod that nobody serves yet."""
    world = World()
    world.clock = TickingClock(world.clock.now())
    with world:
        yield Pod(world, tmp_path_factory.mktemp("pod"))


@pytest.fixture(scope="module")
def pod(quiet_pod: Pod) -> Iterator[Pod]:
    with quiet_pod.served() as quiet_pod.sidecar:
        yield quiet_pod


def wait_for(condition: Callable[[], object]) -> None:
    """Wait for another process, not for time."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


STORMS = [
    pytest.param({"error": 429, "retryAfter": 120}, range(60, 134), id="429 with Retry-After"),
    pytest.param({"error": 500}, range(1, 61), id="500"),
    pytest.param({"connection": "reset"}, range(1, 61), id="reset"),
    pytest.param({"delayMs": 60_000}, range(1, 61), id="slow", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("trouble", "pauses_s"), STORMS)
def test_an_outage_is_not_noticed_while_a_token_lives_then_told_with_the_time_to_come_back_and_over_when_it_is_over(
    pod: Pod, trouble: dict[str, Any], pauses_s: range
) -> None:
    pod.token()
    pod.later(3600)  # whatever was there is over
    first, life_s = pod.token()
    assert life_s > 3500
    pod.storm(trouble)
    pod.later(life_s - 300)  # a renewal is due at 90 % of the life at the latest
    assert pod.token()[0] == first
    wait_for(pod.struck)
    pod.later(240)
    token, left_s = pod.token()
    assert token == first
    assert left_s <= 60
    pod.later(left_s - 25)  # the last half minute is nobody's
    answer = pod.sidecar.get(TOKEN)
    assert (answer.status_code, answer.headers["metadata-flavor"]) == (503, "Google")
    assert int(answer.headers["retry-after"]) in pauses_s
    assert "[exchange.unavailable]" in answer.text

    pod.world.sandbox.clear_faults()
    for _ in range(10):  # once, unless this machine is busy
        pod.later(int(answer.headers["retry-after"]))
        answer = pod.sidecar.get(TOKEN)
        if answer.status_code == 200:
            break
    assert answer.json()["access_token"] != first
    assert pod.sidecar.get("/readyz").status_code == 200


def test_told_to_end_while_google_is_silent_it_answers_and_ends_without_waiting_for_google(quiet_pod: Pod) -> None:
    """It took 7 s, and left a traceback in the log."""
    quiet_pod.storm({"delayMs": 60_000})
    with (
        quiet_pod.served() as sidecar,
        socket.create_connection(("127.0.0.1", int(sidecar.address.rpartition(":")[2])), timeout=30) as container,
    ):
        container.sendall(f"GET {TOKEN} HTTP/1.1\r\nHost: {sidecar.address}\r\nMetadata-Flavor: Google\r\n\r\n".encode())
        wait_for(quiet_pod.struck)
        assert sidecar.get("/readyz").status_code == 503  # who came first is in the house by now
        assert sidecar.stop() == 0
        answer = b"".join(iter(partial(container.recv, 65536), b"")).decode()
    quiet_pod.world.sandbox.clear_faults()
    log = "".join(sidecar.log)
    assert answer.startswith("HTTP/1.1 503 ")
    assert "retry-after: 1\r\n" in answer
    assert "The metadata server is ending" in answer
    assert "Traceback" not in log
    assert "gave no whole answer" not in log  # what it says at the end of its patience with Google
