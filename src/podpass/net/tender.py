# SPDX-License-Identifier: Apache-2.0
"""Keeps caches fresh in a service that nobody calls for hours, so that a removed key counts no longer there than elsewhere.

One thread for all caches. It does not survive a fork; the first use of a cache in the child starts it again. Where a host freezes the
process between requests, the thread is frozen too, which does no harm: each request is a heartbeat of its own.
"""

import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Final, Protocol

from podpass.net.forks import survive
from podpass.net.threads import start

# Not longer: the machine's clock may be set, or the process may have been frozen.
_PAUSE_LIMIT_S: Final = 30.0
_PAUSE_LEAST_S: Final = 0.5


class Tended(Protocol):
    """A cache that can be kept fresh."""

    def tend(self) -> timedelta:
        """Start what is due, and return how long there is nothing to do."""
        ...


class Tender:
    """Tends caches from a thread of its own, until it is stopped.

    Args:
        caches: Returns those that there are now.
    """

    def __init__(self, caches: Callable[[], Sequence[Tended]]) -> None:
        self._caches = caches
        self._lock = threading.Lock()
        self._stop: threading.Event | None = None
        self._is_over = False
        survive(self)

    def ensure(self) -> None:
        """Start the thread, if it does not run in this process."""
        with self._lock:
            if self._stop is None and not self._is_over:
                # As late as this: gevent patches a server's workers after the fork.
                stop = threading.Event()
                start(partial(self.run, stop.wait), "podpass-tender")
                self._stop = stop

    def wake_in_child(self) -> None:
        """Start anew after a fork; see `forks`. The thread starts with the first use of a cache."""
        self._lock, self._stop = threading.Lock(), None

    def stop(self) -> None:
        """End the thread, soon."""
        with self._lock:
            self._is_over = True
            if self._stop is not None:
                self._stop.set()

    def run(self, wait: Callable[[float], bool]) -> None:
        """Tend the caches until `wait`, called with the seconds until there is something to do, returns true."""
        pause_s = 0.0
        while not wait(pause_s):
            dues_s = [cache.tend().total_seconds() for cache in self._caches()]
            pause_s = max(min([*dues_s, _PAUSE_LIMIT_S]), _PAUSE_LEAST_S)
