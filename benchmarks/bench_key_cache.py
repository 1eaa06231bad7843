# SPDX-License-Identifier: Apache-2.0
"""What do unknown keys, outages, rotation and expiry cost: the issuer in requests, and callers in waiting?

A real issuer over HTTPS on loopback, real threads; the clock of the cache is moved by hand where hours have to pass. Prints lines, then one
JSON object.
"""

import json
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import trustme

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from issuer_server import IssuerServer
from podpass.clock import SteppedClock, SystemClock
from podpass.discovery.key_cache import KeyCache
from podpass.discovery.oidc import OidcOrigin
from podpass.discovery.patience import patiently
from podpass.errors import KeysUnavailableError, UnknownKeyError
from token_forge import NOW, ec_signer

K1, K2 = ec_signer("k1"), ec_signer("k2")
ATTACK_S = 12

Result = dict[str, object]


def spread(times_s: list[float]) -> Result:
    """Return the median, the 99th percentile and the worst, in microseconds."""
    ordered = sorted(times_s)
    shown = {"p50": statistics.median(ordered), "p99": ordered[int(len(ordered) * 0.99)], "max": ordered[-1]}
    return {name: round(value * 1e6, 1) for name, value in shown.items()}


def timed(call: Callable[[], object]) -> float:
    """Return how long a call takes, in seconds."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def unknown_keys(issuer: IssuerServer, ca_file: Path) -> Result:
    """Search for 200 random kids over and over, from a thread of its own, while known keys are asked for."""
    cache = KeyCache(OidcOrigin(issuer.issuer, ca_file=ca_file))
    patiently(lambda: cache.find("k1"))
    quiet = [timed(lambda: cache.find("k1")) for _ in range(20_000)]
    before, is_over = issuer.fetches, threading.Event()

    def attack() -> None:
        while not is_over.is_set():
            for number in range(200):
                with suppress(KeysUnavailableError, UnknownKeyError):
                    cache.find(f"random-{number}")
            time.sleep(0.001)

    thread = threading.Thread(target=attack)
    started = time.monotonic()
    thread.start()
    attacked: list[float] = []
    while time.monotonic() - started < ATTACK_S:
        attacked += [timed(lambda: cache.find("k1")) for _ in range(100)]
        time.sleep(0.005)
    is_over.set()
    thread.join()
    return {"seconds": ATTACK_S, "fetches": issuer.fetches - before, "known_quiet_us": spread(quiet), "known_attacked_us": spread(attacked)}


def outage(issuer: IssuerServer, ca_file: Path) -> Result:
    """Let the issuer go away, and ask once in each simulated minute."""
    clock = SteppedClock(NOW)
    cache = KeyCache(OidcOrigin(issuer.issuer, ca_file=ca_file), clock=clock)
    patiently(lambda: cache.find("k1"))
    issuer.is_down, before, failed_at_h = True, len(issuer.seen), None
    for minute in range(25 * 60):
        clock.step(timedelta(minutes=1))
        try:
            cache.find("k1")
        except KeysUnavailableError:
            failed_at_h = (minute + 1) / 60
            break
        if (flight := cache._flight) is not None:  # noqa: SLF001 - each simulated minute is long enough for a fetch
            flight.result(10)
    issuer.is_down = False
    return {"first_503_after_h": failed_at_h, "requests_to_the_issuer": len(issuer.seen) - before}


def rotation(issuer: IssuerServer, ca_file: Path) -> Result:
    """Exchange the signing key without notice at 200 requests a second; tokens come with the new kid from then on."""
    cache = KeyCache(OidcOrigin(issuer.issuer, ca_file=ca_file), clock=SystemClock())
    patiently(lambda: cache.find("k1"))
    denied, times, kid = 0, [], "k1"

    def request(asked: str) -> float | None:
        try:
            return timed(lambda: patiently(lambda: cache.find(asked)))
        except (KeysUnavailableError, UnknownKeyError):
            return None

    with ThreadPoolExecutor(64) as threads:
        waiting, started = [], time.monotonic()
        for number in range(800):
            time.sleep(max(started + number / 200 - time.monotonic(), 0))
            if number == 400:  # noqa: PLR2004 - half of them
                issuer.publish(K2)
                kid = "k2"
            waiting.append(threads.submit(request, kid))
        for each in waiting:
            taken = each.result(20)
            denied += taken is None
            times += [] if taken is None else [taken]
    return {"requests": 800, "denied": denied, "us": spread(times)}


def expiry(issuer: IssuerServer, ca_file: Path) -> Result:
    """Let 50 threads come at once when keys are due."""
    clock = SteppedClock(NOW)
    cache = KeyCache(OidcOrigin(issuer.issuer, ca_file=ca_file), clock=clock)
    patiently(lambda: cache.find("k1"))
    before = issuer.fetches
    clock.step(timedelta(hours=2))
    with ThreadPoolExecutor(50) as threads:
        times = list(threads.map(lambda _: timed(lambda: cache.find("k1")), range(50)))
    while cache._flight is not None:  # noqa: SLF001 - the count is complete when it has landed
        time.sleep(0.01)
    return {"threads": 50, "fetches": issuer.fetches - before, "us": spread(times)}


def main() -> None:
    """Measure and print."""
    authority, results = trustme.CA(), {}
    with tempfile.TemporaryDirectory() as folder:
        ca_file = Path(folder) / "ca.pem"
        authority.cert_pem.write_to_path(str(ca_file))
        for scene in (unknown_keys, outage, rotation, expiry):
            with IssuerServer(authority, K1) as issuer:
                issuer.max_age_s = 3600
                results[scene.__name__] = scene(issuer, ca_file)
            print(f"{scene.__name__:14}{results[scene.__name__]}")
    machine = {"python": platform.python_version(), "machine": platform.machine(), "cpus": os.cpu_count()}
    print(json.dumps({"benchmark": "key_cache", "results": results, "machine": machine}))


if __name__ == "__main__":
    import logging

    logging.disable(logging.WARNING)  # the outage is on purpose
    main()
