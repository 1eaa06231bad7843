# SPDX-License-Identifier: Apache-2.0
"""Where work goes that waits for the network: a few threads, shared by all, made when the first work comes.

Threads do not survive a fork, so a child starts with a pool of its own, and with nothing under way.
"""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from podpass.discovery.forks import survive

if TYPE_CHECKING:  # costs more to import than the rest of this room
    from concurrent.futures import Future, ThreadPoolExecutor

Launch = Callable[[Callable[[], None]], "Future[object]"]
"""Starts work that raises nothing, and returns what ends with it."""


class Pool:
    """Up to `threads` pieces of work at a time; the others wait in line."""

    def __init__(self, name: str, threads: int) -> None:
        self._name = name
        self._threads = threads
        self._executor: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        survive(self)

    def launch(self, work: Callable[[], None]) -> "Future[object]":
        """Start work, or line it up.

        Raises:
            RuntimeError: The interpreter is about to end.
        """
        with self._lock:
            if self._executor is None:
                from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - see above

                self._executor = ThreadPoolExecutor(self._threads, self._name)
            return self._executor.submit(work)

    def wake_in_child(self) -> None:
        """Start anew after a fork; see `forks`."""
        self._executor, self._lock = None, threading.Lock()


KEYS: Final = Pool("podpass-keys", 4)
REVIEWS: Final = Pool("podpass-reviews", 4)
GROUPS: Final = Pool("podpass-groups", 4)
