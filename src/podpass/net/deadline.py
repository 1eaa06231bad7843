# SPDX-License-Identifier: Apache-2.0
"""The end of a call. Time limits of HTTP libraries begin anew with each byte, so a fuse cuts the connection of an answer that drips."""

import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self
from weakref import WeakKeyDictionary, WeakSet

from podpass.net.forks import survive


class _Made:
    """The connections that each client has made and may have kept. Safe for threads, and after a fork."""

    def __init__(self) -> None:
        self._of: WeakKeyDictionary[object, WeakSet[socket.socket]] = WeakKeyDictionary()
        self.wake_in_child()
        survive(self)

    def add(self, client: object, connection: socket.socket) -> None:
        with self._lock:
            self._of.setdefault(client, WeakSet()).add(connection)

    def by(self, client: object) -> set[socket.socket]:
        with self._lock:
            return set(self._of.get(client, ()))

    def wake_in_child(self) -> None:
        """Start anew after a fork; see `forks`."""
        self._lock = threading.Lock()


_made: Final = _Made()


class Deadline:
    """The end of everything that serves one purpose, as a context: when it is over, the connections used for it are cut.

    Args:
        span_s: How long it lasts.
        client: Who is asked to call, if it keeps connections. Which of them it takes it says only when the answer has begun; until then
            all of them are cut, since a neighbour that lets a call wait so long is no good to the others either.
    """

    def __init__(self, span_s: float, client: object = None) -> None:
        self.span_s = span_s
        self._client = client
        self.is_over = False
        self._ends_s = time.monotonic() + span_s
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._fuse = threading.Timer(span_s, self._blow)
        self._fuse.daemon = True

    def __enter__(self) -> Self:
        self._fuse.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._fuse.cancel()

    @property
    def left_s(self) -> float:
        """What is left of it; a moment at least, since libraries take 0 for no limit."""
        return max(self._ends_s - time.monotonic(), 0.001)

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Learn of new connections; called by the HTTP library. TLS makes a new socket of the old one."""
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            self.watch(info["return_value"])

    def watch(self, stream: Any) -> None:  # noqa: ANN401 - the HTTP library's own
        """Take a connection in."""
        connection = stream.get_extra_info("socket")
        with self._lock:
            self._sockets.add(connection)
            if self._client is not None:
                _made.add(self._client, connection)
            if self.is_over:
                self._cut()

    def _blow(self) -> None:
        with self._lock:
            self.is_over = True
            self._cut()

    def _cut(self) -> None:
        kept = set() if self._client is None else _made.by(self._client)
        for connection in self._sockets or kept:
            # Not `SSLSocket.shutdown`: it takes the TLS object away from the thread that reads.
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
