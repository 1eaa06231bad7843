# SPDX-License-Identifier: Apache-2.0
"""Many questions to a few sides at a time, for a command that somebody waits for.

Nobody waits for what is under way when the command fails or is interrupted, nor does the program when it ends; and a side that is silent
for too long ends everything.
"""

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor, Future, InvalidStateError, wait
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Final, ParamSpec, TypeVar

from podpass.net.flights import Pool
from podpass.net.silence import LIMIT_S, Silence

P = ParamSpec("P")
T = TypeVar("T")

_LOOKS_EVERY_S: Final = 0.25


class Readings(Executor):
    """Threads for questions. As a context it waits at its end for what was asked, unless the block failed.

    Every future ends: with its answer; with an `UnreachableError`, where a side kept silent; or with a `CancelledError`, where nobody wants
    the answer any more.

    Args:
        threads: How many questions are asked at a time.
        silences: Of the sides that are asked.
        limit_s: How long one of them may be silent.
    """

    def __init__(self, threads: int, *silences: Silence, limit_s: float = LIMIT_S) -> None:
        self._pool = Pool("podpass-read", threads)
        self._silences = silences
        self._limit_s = limit_s
        self._lock = threading.Lock()
        self._pending: set[Future[Any]] = set()
        self._failure: Exception | None = None
        self._is_over = threading.Event()
        for silence in silences:
            silence.forget()
        threading.Thread(target=self._watch, name="podpass-silence", daemon=True).start()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Ask a question, or line it up."""
        future: Future[T] = Future()
        with self._lock:
            failure = self._failure
            if failure is None:
                self._pending.add(future)
        if failure:
            future.set_exception(failure)
        else:
            self._pool.launch(partial(self._ask, future, partial(fn, *args, **kwargs)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - the base class's
        """End it: wait for what was asked, or have it end with a `CancelledError` at once, whatever `cancel_futures` says."""
        try:
            if wait and not cancel_futures:
                self._wait()
        finally:
            self._is_over.set()
            self._fail(CancelledError())

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.shutdown(wait=kind is None)

    def _wait(self) -> None:
        with self._lock:
            pending = set(self._pending)
        wait(pending)

    def _ask(self, future: Future[T], question: Callable[[], T]) -> None:
        with self._lock:
            is_wanted = future in self._pending
        if not is_wanted or not future.set_running_or_notify_cancel():
            return
        try:
            answer = question()
        except BaseException as error:  # noqa: BLE001 - whoever waits is told
            if self._take(future):
                future.set_exception(error)
            return
        if self._take(future):
            future.set_result(answer)

    def _take(self, future: Future[Any]) -> bool:
        """Whether it is still to be ended, by whoever asks this first."""
        with self._lock:
            is_open = future in self._pending
            self._pending.discard(future)
            return is_open

    def _watch(self) -> None:
        while not self._is_over.wait(_LOOKS_EVERY_S):
            for silence in self._silences:
                if (lasts_s := silence.lasts_s) >= self._limit_s:
                    self._fail(silence.complaint(lasts_s))
                    return

    def _fail(self, error: Exception) -> None:
        with self._lock:
            self._failure = self._failure or error
            pending, self._pending = self._pending, set()
        for future in pending:
            with suppress(InvalidStateError):  # cancelled at this moment
                future.set_exception(error)
