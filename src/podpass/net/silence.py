# SPDX-License-Identifier: Apache-2.0
"""How long a side that is being asked has given no answer, over all of its connections.

Time limits of HTTP libraries are those of one try at one address. A network that swallows packets makes a command of many calls, each
tried again, wait for minutes; what a person wants to know is that nothing has come back at all.
"""

import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from podpass.errors import UnreachableError

if TYPE_CHECKING:  # the pauses between tries need the limit alone
    import httpx2

LIMIT_S: Final = 30.0
"""After how long a side that has given no answer at all is taken for unreachable."""


class Silence:
    """The time since a side was first asked, or last heard. Safe for threads.

    Args:
        complaint: Returns the error for a side that has been silent for so many seconds.
        monotonic: The clock.
    """

    def __init__(self, complaint: Callable[[float], UnreachableError], *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.complaint = complaint
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._asking = 0
        self._since_s: float | None = None

    @property
    def lasts_s(self) -> float:
        """Seconds without an answer; 0 where nothing was asked, or all was answered."""
        with self._lock:
            return 0.0 if self._since_s is None else self._monotonic() - self._since_s

    def forget(self) -> None:
        """Begin anew: what nobody waited for does not count."""
        with self._lock:
            self._since_s = self._monotonic() if self._asking else None

    def listen_to(self, http: "httpx2.Client") -> None:
        """Listen to all requests of a client from now on."""
        http.event_hooks = {**http.event_hooks, "request": [*http.event_hooks["request"], self._listen]}

    def _listen(self, request: "httpx2.Request") -> None:
        # By the first thing that happens on the network: before it, somebody may have been asked to log in.
        request.extensions = {"trace": _Ear(self).trace, **request.extensions}

    def begin(self) -> None:
        """Somebody asks."""
        with self._lock:
            self._asking += 1
            if self._since_s is None:
                self._since_s = self._monotonic()

    def end(self, *, is_heard: bool) -> None:
        """There is an answer, or nobody waits for one any more."""
        with self._lock:
            self._asking -= 1
            if is_heard:
                self._since_s = self._monotonic() if self._asking else None


class _Ear:
    """Hears of one request what the HTTP library says of its connection."""

    def __init__(self, silence: Silence) -> None:
        self._silence = silence
        self._is_waiting = False

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Learn of an event."""
        del info
        is_heard = event.endswith(".receive_response_headers.complete")
        if self._is_waiting and (is_heard or event.endswith(".failed")):
            self._is_waiting = False
            self._silence.end(is_heard=is_heard)
        elif not self._is_waiting and event.endswith((".connect_tcp.started", ".send_request_headers.started")):
            self._is_waiting = True
            self._silence.begin()
