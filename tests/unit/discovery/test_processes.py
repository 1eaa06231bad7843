# SPDX-License-Identifier: Apache-2.0
"""The key cache with real threads, a real issuer over HTTPS, an event loop, and forks."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from forking import forks, in_child
from issuer_server import IssuerServer
from key_hangar import FakeOrigin
from loopback_server import Reply, Seen
from podpass.clock import SteppedClock
from podpass.discovery.key_cache import KeyCache
from podpass.discovery.key_ring import KeyRing
from podpass.discovery.oidc import OidcOrigin
from podpass.discovery.patience import patiently, patiently_async
from podpass.errors import KeysUnavailableError, UnknownKeyError
from podpass.net.flights import Pool
from podpass.policy import TrustedIssuer
from podpass.verify import VerificationKey
from token_forge import NOW, ec_signer

K1, K2 = ec_signer("k1"), ec_signer("k2")


@pytest.fixture
def cache(issuer: IssuerServer, ca_file: Path, clock: SteppedClock) -> Iterator[KeyCache]:
    cache = KeyCache(OidcOrigin(issuer.issuer, ca_file=ca_file), clock=clock)
    yield cache
    if cache._flight is not None:  # not into the next test
        wait([cache._flight], 60)


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait for other threads, not for time."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.005)


def test_fifty_threads_that_know_nothing_yet_cost_one_fetch(cache: KeyCache, issuer: IssuerServer) -> None:
    with ThreadPoolExecutor(50) as threads:
        keys = list(threads.map(lambda _: patiently(lambda: cache.find("k1")), range(50)))
    assert {key.kid for key in keys} == {"k1"}
    assert issuer.fetches == 1


def test_fifty_tasks_that_know_nothing_yet_cost_one_fetch(cache: KeyCache, issuer: IssuerServer) -> None:
    async def ask() -> list[VerificationKey]:
        return await asyncio.gather(*(patiently_async(lambda: cache.find("k1")) for _ in range(50)))

    assert {key.kid for key in asyncio.run(ask())} == {"k1"}
    assert issuer.fetches == 1


def test_a_task_that_is_cancelled_leaves_the_flight_to_the_others(cache: KeyCache) -> None:
    async def ask() -> VerificationKey:
        impatient = asyncio.create_task(patiently_async(lambda: cache.find("k1")))
        patient = asyncio.create_task(patiently_async(lambda: cache.find("k1")))
        await asyncio.sleep(0)
        impatient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await impatient
        return await patient

    assert asyncio.run(ask()).kid == "k1"


def test_5000_unknown_keys_cost_the_issuer_one_fetch_in_a_cooldown_and_known_keys_nothing(
    cache: KeyCache, issuer: IssuerServer, clock: SteppedClock
) -> None:
    """Invariant 3, by the count of the server."""
    patiently(lambda: cache.find("k1"))

    def attack(number: int) -> None:
        with pytest.raises((KeysUnavailableError, UnknownKeyError)):
            cache.find(f"evil-{number}")
        assert cache.find("k1").kid == "k1"

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(attack, range(5000)))
    wait_for(lambda: issuer.fetches == 2)
    clock.step(cache._schedule.cooldown)
    with pytest.raises(KeysUnavailableError) as caught:
        cache.find("evil")
    assert caught.value.flight is not None
    caught.value.flight.result(60)
    assert issuer.fetches == 3


def test_a_rotation_without_notice_under_load_refuses_nobody(cache: KeyCache, issuer: IssuerServer, clock: SteppedClock) -> None:
    """The new key signs from the moment on that it is published; every request waits once at most, and none is told 401 or 503."""
    patiently(lambda: cache.find("k1"))
    clock.step(cache._schedule.cooldown)
    issuer.publish(K1, K2)
    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(lambda number: patiently(lambda: cache.find(f"k{number % 2 + 1}")).kid, range(400)))
    assert found == ["k1", "k2"] * 200
    assert issuer.fetches == 2


def test_waiting_has_a_limit(issuer: IssuerServer, cache: KeyCache) -> None:
    release = threading.Event()

    def reply(_: object) -> Reply:
        release.wait(60)
        return Reply(503)

    issuer.answer = reply
    try:
        with pytest.raises(KeysUnavailableError):
            patiently(lambda: cache.find("k1"), 0.05)
        with pytest.raises(KeysUnavailableError):
            asyncio.run(patiently_async(lambda: cache.find("k1"), 0.05))
    finally:
        release.set()


def test_what_cannot_come_is_not_waited_for(cache: KeyCache, issuer: IssuerServer) -> None:
    issuer.is_down = True
    with pytest.raises(KeysUnavailableError) as caught:
        patiently(lambda: cache.find("k1"))
    assert caught.value.flight is None
    with pytest.raises(KeysUnavailableError):
        patiently(lambda: cache.find("k1"))
    with pytest.raises(KeysUnavailableError):
        asyncio.run(patiently_async(lambda: cache.find("k1")))
    assert len(issuer.seen) == 1


@forks
def test_a_forked_worker_has_the_keys_and_refreshes_them_itself(cache: KeyCache, issuer: IssuerServer, clock: SteppedClock) -> None:
    patiently(lambda: cache.find("k1"))
    before = cache.generation
    issuer.publish(K1, K2)

    def work() -> None:
        assert cache.find("k1").kid == "k1"
        assert cache.generation == before
        clock.step(cache._schedule.cooldown)
        assert patiently(lambda: cache.find("k2")).kid == "k2"

    in_child(work)
    in_child(work)
    assert issuer.fetches == 3
    clock.step(cache._schedule.cooldown)
    assert patiently(lambda: cache.find("k2")).kid == "k2"


@forks
def test_a_fork_in_the_middle_of_a_flight_leaves_the_child_free_to_start_its_own(cache: KeyCache, issuer: IssuerServer) -> None:
    answer, is_asked, release = issuer.answer, threading.Event(), threading.Event()

    def hold(seen: Seen) -> Reply:
        is_asked.set()
        release.wait(60)
        return answer(seen)

    issuer.answer = hold
    with pytest.raises(KeysUnavailableError) as caught:
        cache.find("k1")
    is_asked.wait(60)
    # Held by "another thread" at the moment of the fork: nobody would ever release it in the child.
    with cache._lock:
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            os._exit(0 if _asks_anew(cache) else 1)
    release.set()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert caught.value.flight is not None
    caught.value.flight.result(60)
    assert cache.find("k1").kid == "k1"


def _asks_anew(cache: KeyCache) -> bool:
    try:
        return patiently(lambda: cache.find("k1")).kid == "k1"
    except KeysUnavailableError:
        return False


@forks
def test_a_ring_that_was_made_before_the_fork_keeps_its_keys_fresh_in_the_child(issuer: IssuerServer, ca_file: Path) -> None:
    """As under gunicorn with --preload: the background thread is gone in the child, and starts again with the first use."""
    with KeyRing(ca_file=ca_file) as ring:
        trusted = TrustedIssuer("c", "oidc", issuer.issuer)
        keys = ring.keys_of(trusted)
        patiently(lambda: keys.find("k1"))

        def names() -> set[str]:
            return {thread.name for thread in threading.enumerate()}

        wait_for(lambda: "podpass-tender" in names())

        def work() -> None:
            assert "podpass-tender" not in names()
            assert keys.find("k1").kid == "k1"
            wait_for(lambda: "podpass-tender" in names())
            assert ring.keys_of(trusted) is keys
            ring.close()
            wait_for(lambda: "podpass-tender" not in names())

        in_child(work)


@forks
def test_a_pool_starts_anew_in_a_child() -> None:
    pool, done = Pool("p", 1), threading.Event()
    pool.launch(done.set).result(60)
    assert done.is_set()
    in_child(lambda: pool.launch(lambda: None).result(60))


def test_known_keys_do_not_slow_down_while_unknown_ones_are_searched() -> None:
    """Not a benchmark: a known key takes no lock, so that whoever holds the lock for ever does not matter to it."""
    cache = KeyCache(FakeOrigin(K1), clock=SteppedClock(NOW))
    patiently(lambda: cache.find("k1"))
    with cache._lock:
        found = ThreadPoolExecutor(1).submit(lambda: (cache.find("k1").kid, cache.generation, cache.known()))
        assert found.result(60)[0] == "k1"


def test_caches_are_not_kept_alive_by_the_fork_hooks() -> None:
    import gc  # noqa: PLC0415 - of this test
    import weakref  # noqa: PLC0415 - of this test

    cache = KeyCache(FakeOrigin(K1), clock=SteppedClock(NOW))
    trace = weakref.ref(cache)
    del cache
    gc.collect()
    assert trace() is None
