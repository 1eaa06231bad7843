# SPDX-License-Identifier: Apache-2.0
"""What does a token at hand cost, beside google-auth's own, and what do first requests and an outage cost Google in requests?

Google's two services are answered in memory or by a server on loopback; CPU time of this process, all subjects in each round, in an order
that turns. Prints lines, then one JSON object.
"""

import asyncio
import gc
import json
import logging
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from google.oauth2.credentials import Credentials as Bare

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from google_desk import OUTAGES, FakeSource, GoogleDesk
from loopback_server import LoopbackServer
from podpass.client.google_auth import Credentials
from podpass.clock import SteppedClock, SystemClock
from podpass.errors import ExchangeUnavailableError
from podpass.exchange.workload_tokens import WorkloadTokens
from token_forge import NOW

ROUNDS, CALLS = 31, 2000

Subject = Callable[[], object]


def at_hand() -> dict[str, float]:
    """Return the CPU time of one call for each subject, in microseconds: the median over the rounds."""
    tokens = WorkloadTokens(FakeSource(), GoogleDesk(SystemClock()).exchanger())
    ours: Any = Credentials(tokens)  # google-auth is not typed
    bare: Any = Bare("ya29.token")
    ours.refresh(None)
    tokens.id_token("https://orders.example")
    subjects: dict[str, Subject] = {
        "access_token": tokens.access_token,
        "id_token": lambda: tokens.id_token("https://orders.example"),
        "google-auth, bare: before_request": lambda: bare.before_request(None, "GET", "https://a.example/", {}),
        "google-auth, podpass: before_request": lambda: ours.before_request(None, "GET", "https://a.example/", {}),
    }
    taken: dict[str, list[float]] = {name: [] for name in subjects}
    for number in range(ROUNDS):
        order = list(subjects)[number % len(subjects) :] + list(subjects)[: number % len(subjects)]
        for name in order:
            taken[name].append(_cpu_us(subjects[name]))
    return {name: round(statistics.median(times), 2) for name, times in taken.items()}


def _cpu_us(call: Subject) -> float:
    gc.collect()
    started = time.process_time()
    for _ in range(CALLS):
        call()
    return (time.process_time() - started) / CALLS * 1e6


def first_requests() -> dict[str, object]:
    """Let 200 threads, then 200 tasks, come at once without a token."""
    desk = GoogleDesk(SystemClock())
    asked: dict[str, object] = {}
    with LoopbackServer(desk.answer) as server:
        with desk.exchanger_at(server.url) as exchanger, ThreadPoolExecutor(200) as threads:
            tokens = WorkloadTokens(FakeSource(), exchanger)
            list(threads.map(lambda _: tokens.access_token(), range(200)))
        asked["threads"] = dict(desk.counts)
        desk.asked.clear()
        with desk.exchanger_at(server.url) as exchanger:
            asyncio.run(_tasks(WorkloadTokens(FakeSource(), exchanger)))
        asked["tasks"] = dict(desk.counts)
    return asked


async def _tasks(tokens: WorkloadTokens) -> None:
    await asyncio.gather(*(tokens.access_token_async() for _ in range(200)))


def outage() -> dict[str, int]:
    """Ask ten times a second for ten simulated minutes, with nothing at hand; return how often Google was asked."""
    asked = {}
    for name, weather in OUTAGES.items():
        clock = SteppedClock(NOW)
        desk = GoogleDesk(clock)
        desk.weather["*"] = weather
        tokens = WorkloadTokens(FakeSource(), desk.exchanger(), clock=clock, sleep=partial(_sleep, clock))
        while clock.now() < NOW + timedelta(minutes=10):
            with suppress(ExchangeUnavailableError):
                tokens.access_token()
            clock.step(timedelta(seconds=0.1))
        asked[name] = desk.counts.total()
    return asked


def _sleep(clock: SteppedClock, seconds: float) -> None:
    clock.step(timedelta(seconds=seconds))


def main() -> None:
    """Measure and print."""
    results: dict[str, object] = {}
    for scene in (at_hand, first_requests, outage):
        results[scene.__name__] = scene()
        print(f"{scene.__name__:15}{results[scene.__name__]}")
    machine = {"python": platform.python_version(), "machine": platform.machine(), "cpus": os.cpu_count()}
    print(json.dumps({"benchmark": "token_cache", "results": results, "machine": machine}))


if __name__ == "__main__":
    logging.disable(logging.WARNING)  # the outages are on purpose
    main()
