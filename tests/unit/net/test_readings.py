# SPDX-License-Identifier: Apache-2.0
"""Questions that nobody waits for any longer: a side keeps silent, or somebody has pressed Ctrl-C."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress

import httpx2
import pytest

from podpass.errors import UnreachableError
from podpass.net.readings import Readings
from podpass.net.silence import Silence


def silence() -> Silence:
    return Silence(lambda _: UnreachableError("The cluster has given no answer."))


@contextmanager
def never() -> Iterator[threading.Event]:
    """Yield what comes after the test only: who waits for it hangs the test."""
    end = threading.Event()
    yield end
    end.set()


def test_a_silent_side_ends_every_question_that_is_asked_or_in_line_or_comes_later() -> None:
    with never() as end, Readings(1, silence(), side := silence(), limit_s=0.1) as readings:
        asked, in_line = readings.submit(end.wait), readings.submit(int)
        side.begin()
        for future in (asked, in_line):
            assert isinstance(future.exception(), UnreachableError)
        assert isinstance(readings.submit(int).exception(), UnreachableError)


def test_whoever_presses_ctrl_c_waits_for_no_answer() -> None:
    futures: list[Future[object]] = []

    def ask(end: threading.Event) -> None:
        with Readings(1) as readings:
            futures.extend((readings.submit(end.wait), readings.submit(end.set)))
            raise KeyboardInterrupt

    with never() as end, pytest.raises(KeyboardInterrupt):
        ask(end)
    assert [type(future.exception()) for future in futures] == [CancelledError, CancelledError]


def test_the_end_of_the_block_comes_after_the_answers() -> None:
    with Readings(2) as readings:
        futures = [readings.submit(divmod, 7, 2), readings.submit(divmod, 7, 0)]
    assert futures[0].result() == (3, 1)
    assert isinstance(futures[1].exception(), ZeroDivisionError)


def test_silence_lasts_from_the_first_question_to_any_answer() -> None:
    now = [0.0]
    side = Silence(lambda _: UnreachableError("Nothing."), monotonic=lambda: now[0])
    with socket.create_server(("127.0.0.1", 0)) as server, httpx2.Client(timeout=0.05, trust_env=False) as http:
        side.listen_to(http)
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        assert side.lasts_s == 0
        for _ in range(2):
            with pytest.raises(httpx2.ReadTimeout):
                http.get(url)
            now[0] += 15
        assert side.lasts_s == 30

        def answer() -> None:
            for _ in range(3):  # those before, too, of which nobody reads any more
                with server.accept()[0] as connection, suppress(OSError):
                    connection.recv(1000)
                    connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

        threading.Thread(target=answer).start()
        http.get(url, timeout=60)
    assert side.lasts_s == 0
