# SPDX-License-Identifier: Apache-2.0
"""The token cache with real threads, a real server, an event loop, and forks."""

import asyncio
import gc
import logging
import os
import signal
import socket
import struct
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import NoReturn

import pytest

from forking import forks, in_child
from google_desk import FakeSource, GoogleDesk
from loopback_server import LoopbackServer, Reply, Seen
from podpass.clock import SteppedClock
from podpass.errors import ExchangeUnavailableError, UnexpectedAnswerError
from podpass.exchange import wire, workload_tokens
from podpass.exchange.exchanger import Exchanger
from podpass.exchange.workload_tokens import WorkloadTokens
from token_forge import NOW


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock(NOW)


@pytest.fixture
def desk(clock: SteppedClock) -> GoogleDesk:
    return GoogleDesk(clock)


@pytest.fixture
def server(desk: GoogleDesk) -> Iterator[LoopbackServer]:
    with LoopbackServer(desk.answer) as server:
        yield server


@pytest.fixture
def exchanger(desk: GoogleDesk, server: LoopbackServer) -> Iterator[Exchanger]:
    with desk.exchanger_at(server.url) as exchanger:
        yield exchanger


@pytest.fixture
def sleep(clock: SteppedClock) -> Callable[[float], None]:
    """Let the tokens' clock run on; else a fetch that fails is tried again for ever, and the process does not end."""
    return lambda seconds: clock.step(timedelta(seconds=seconds))


@pytest.fixture
def tokens(exchanger: Exchanger, clock: SteppedClock, sleep: Callable[[float], None]) -> WorkloadTokens:
    return WorkloadTokens(FakeSource(), exchanger, clock=clock, sleep=sleep)


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait for other threads, not for time."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.005)


def test_200_threads_without_a_token_cost_one_exchange(tokens: WorkloadTokens, desk: GoogleDesk) -> None:
    with ThreadPoolExecutor(200) as threads:
        found = set(threads.map(lambda _: tokens.access_token().value.reveal(), range(200)))
    assert len(found) == 1
    assert desk.counts == {"token": 1, "generateAccessToken": 1}


def test_200_tasks_without_a_token_cost_one_exchange(tokens: WorkloadTokens, desk: GoogleDesk) -> None:
    async def ask() -> set[str]:
        return {token.value.reveal() for token in await asyncio.gather(*(tokens.access_token_async() for _ in range(200)))}

    assert len(asyncio.run(ask())) == 1
    assert desk.counts == {"token": 1, "generateAccessToken": 1}


def test_200_first_requests_of_all_kinds_cost_one_exchange_of_the_subject_token(tokens: WorkloadTokens, desk: GoogleDesk) -> None:
    async def ask() -> None:
        ids = (tokens.id_token_async(f"https://{number % 10}.example") for number in range(100))
        scoped = (tokens.access_token_async((f"scope-{number % 5}",)) for number in range(50))
        await asyncio.gather(*ids, *scoped, *(tokens.access_token_async() for _ in range(50)))

    asyncio.run(ask())
    assert desk.counts == {"token": 1, "generateIdToken": 10, "generateAccessToken": 6}


def test_signing_does_not_keep_the_loop_waiting(tokens: WorkloadTokens) -> None:
    assert asyncio.run(tokens.sign_async(b"text")).signature == b"signed"


def test_a_task_that_is_cancelled_leaves_the_exchange_to_the_others(tokens: WorkloadTokens, desk: GoogleDesk) -> None:
    async def ask() -> str:
        impatient = asyncio.create_task(tokens.access_token_async())
        patient = asyncio.create_task(tokens.access_token_async())
        await asyncio.sleep(0)
        impatient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await impatient
        return (await patient).value.reveal()

    assert asyncio.run(ask())
    assert desk.counts["token"] == 1


def test_waiting_has_a_limit(exchanger: Exchanger, desk: GoogleDesk, clock: SteppedClock, sleep: Callable[[float], None]) -> None:
    tokens = WorkloadTokens(FakeSource(), exchanger, clock=clock, patience_s=0.05, sleep=sleep)
    release = threading.Event()

    def hold() -> Reply:
        release.wait(60)
        desk.weather.clear()
        return Reply(503)

    desk.weather["token"] = hold
    try:
        with pytest.raises(ExchangeUnavailableError, match=r"There is no access token at hand yet\. It is being fetched\."):
            tokens.access_token()
        with pytest.raises(ExchangeUnavailableError, match="yet"):
            asyncio.run(tokens.access_token_async())
    finally:
        release.set()
    wait_for(lambda: tokens._default.flight is None or not desk.weather)


def test_an_answer_that_drips_is_cut(tokens: WorkloadTokens, desk: GoogleDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "DEADLINE_S", 0.2)
    is_over = threading.Event()

    def drips() -> Iterator[bytes]:
        while not is_over.wait(0.02):
            yield b" "

    desk.weather["token"] = lambda: Reply(200, drips())
    try:
        with pytest.raises(ExchangeUnavailableError, match=r"gave no whole answer within 0\.2 s when asked to exchange the subject token"):
            tokens.access_token()
    finally:
        is_over.set()


def test_a_connection_that_is_reset_is_an_outage(clock: SteppedClock, sleep: Callable[[float], None], desk: GoogleDesk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_reset_all, args=(listener,), daemon=True)
        thread.start()
        with desk.exchanger_at(f"http://127.0.0.1:{listener.getsockname()[1]}") as exchanger:
            tokens = WorkloadTokens(FakeSource(), exchanger, clock=clock, sleep=sleep)
            with pytest.raises(ExchangeUnavailableError, match="gave no answer when asked to exchange the subject token"):
                tokens.access_token()


def _reset_all(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()


def test_invariant_5_no_token_goes_along_a_redirect(tokens: WorkloadTokens, desk: GoogleDesk, server: LoopbackServer) -> None:
    with LoopbackServer(lambda _: Reply(200, b"{}")) as elsewhere:
        desk.weather["*"] = lambda: Reply(307, headers={"location": f"{elsewhere.url}/v1/token"})
        with pytest.raises(ExchangeUnavailableError, match="It was not followed: the token in it is for this origin only"):
            tokens.access_token()
        assert elsewhere.seen == []
    assert server.seen


def test_invariant_4_no_token_is_in_the_logs_of_the_http_library(tokens: WorkloadTokens, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    found = tokens.access_token(), tokens.id_token("https://orders.example"), tokens.source.read()
    assert "receive_response_headers" in caplog.text
    assert [word for word in ("ya29", "eyJ") if word in f"{found!r} {caplog.text}"] == []


def test_an_answer_without_end_is_refused(exchanger: Exchanger, desk: GoogleDesk) -> None:
    desk.weather["token"] = lambda: Reply(200, b"x" * (1024 * 1024 + 1))
    with pytest.raises(UnexpectedAnswerError, match=r"The answer of 127\.0\.0\.1:[0-9]+ is too large"):
        exchanger.access_token(FakeSource().read())


def test_a_token_at_hand_takes_no_lock_and_no_thread(tokens: WorkloadTokens) -> None:
    """Not a benchmark: whoever holds the lock for ever does not matter to it."""
    access, identity = tokens.access_token().value, tokens.id_token("https://orders.example").value

    def no_more(_: object) -> NoReturn:
        pytest.fail("nothing is to be fetched")

    tokens._keeper._launch = no_more
    with tokens._keeper._lock, ThreadPoolExecutor(1) as one:
        found = one.submit(tokens.access_token).result(60).value, one.submit(tokens.id_token, "https://orders.example").result(60).value
        assert found == (access, identity)
        assert one.submit(asyncio.run, tokens.access_token_async()).result(60).value == access


def test_a_background_thread_renews_what_nobody_asks_for(
    exchanger: Exchanger, desk: GoogleDesk, clock: SteppedClock, sleep: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workload_tokens, "_LOOK_ANYWAY", timedelta())
    monkeypatch.setattr(workload_tokens, "_LOOK_AGAIN", timedelta())
    with WorkloadTokens(FakeSource(), exchanger, clock=clock, sleep=sleep, background=True) as tokens:
        tokens.warm()
        wait_for(lambda: tokens.is_warm)
        clock.step(timedelta(minutes=55))
        wait_for(lambda: desk.counts["generateAccessToken"] == 2)
    wait_for(lambda: "podpass-tender" not in {thread.name for thread in threading.enumerate()})


@forks
def test_a_forked_worker_has_the_tokens_and_exchanges_by_itself(tokens: WorkloadTokens, server: LoopbackServer) -> None:
    first = tokens.access_token()

    def work() -> None:
        assert tokens.access_token() == first
        assert tokens.access_token(("scope",)) != first

    in_child(work)
    in_child(work)
    assert (server.count("/v1/token"), len(server.seen)) == (1, 4)
    # The parent's connection was not touched by the children's.
    assert tokens.access_token(("scope",)) != first


@forks
def test_a_fork_in_the_middle_of_an_exchange_leaves_the_child_free_to_start_its_own(tokens: WorkloadTokens, server: LoopbackServer) -> None:
    answer, is_asked, release = server.answer, threading.Event(), threading.Event()

    def hold(seen: Seen) -> Reply:
        if not is_asked.is_set():
            is_asked.set()
            release.wait(60)
        return answer(seen)

    server.answer = hold
    tokens.warm()
    is_asked.wait(60)
    # Held by "another thread" at the moment of the fork: nobody would ever release them in the child.
    with tokens._lock, tokens._keeper._lock, tokens._chain._sts._lock:
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            os._exit(0 if tokens.access_token().value.reveal() else 1)
    release.set()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert tokens.access_token().value.reveal()


def test_caches_are_not_kept_alive_by_the_fork_hooks(exchanger: Exchanger, clock: SteppedClock, sleep: Callable[[float], None]) -> None:
    tokens = WorkloadTokens(FakeSource(), exchanger, clock=clock, sleep=sleep)
    tokens.access_token()
    trace = weakref.ref(tokens)
    del tokens

    def is_gone() -> bool:
        gc.collect()
        return trace() is None

    wait_for(is_gone)  # the thread that fetched lets go of it last
