# SPDX-License-Identifier: Apache-2.0
"""Where work goes that waits for the network: a few threads, which are there as long as there is work.

No program waits for them when it ends: what they wait for may be silent for seconds, and nobody would have the answer. Threads do not
survive a fork, so a child starts with nothing under way.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from podpass.net.forks import survive
from podpass.net.threads import start

if TYPE_CHECKING:  # costs more to import than the rest of this room
    from concurrent.futures import Future

T = TypeVar("T")

Launch = Callable[[Callable[[], None]], "Future[object]"]
"""Starts work that raises nothing, and returns what ends with it."""


def within(work: Callable[[], T], limit_s: float) -> T:
    """Return what work returns, or leave it to itself.

    Raises:
        TimeoutError: It takes longer.
    """
    return Pool("podpass-within", 1).launch(work).result(limit_s)


class Pool:
    """Up to `threads` pieces of work at a time; the others wait in line."""

    def __init__(self, name: str, threads: int) -> None:
        self._name = name
        self._threads = threads
        self.wake_in_child()
        survive(self)

    def launch(self, work: Callable[[], T]) -> "Future[T]":
        """Start work, or line it up. Its end cannot be prevented: others may wait for it.

        Raises:
            RuntimeError: The interpreter is about to end.
        """
        from concurrent.futures import Future  # noqa: PLC0415 - see above

        flight: Future[T] = Future()
        flight.set_running_or_notify_cancel()
        with self._lock:
            if self._running < self._threads:
                start(self._run, self._name)
                self._running += 1
            self._line.append((flight, work))
        return flight

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._line:
                    self._running -= 1
                    return
                flight, work = self._line.popleft()
            try:
                flight.set_result(work())
            except BaseException as error:  # noqa: BLE001 - whoever waits is told
                flight.set_exception(error)
            del flight, work  # not until the next work comes

    def wake_in_child(self) -> None:
        """Start anew after a fork; see `forks`."""
        self._lock = threading.Lock()
        self._line: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._running = 0
