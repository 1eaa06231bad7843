# SPDX-License-Identifier: Apache-2.0
"""The end of a call. Time limits of HTTP libraries begin anew with each byte, so a fuse cuts the connection of an answer that drips."""

import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self


class Deadline:
    """The end of everything that serves one purpose, as a context: when it is over, the connections used for it are cut."""

    def __init__(self, span_s: float) -> None:
        self.span_s = span_s
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
        with self._lock:
            self._sockets.add(stream.get_extra_info("socket"))
            if self.is_over:
                self._cut()

    def _blow(self) -> None:
        with self._lock:
            self.is_over = True
            self._cut()

    def _cut(self) -> None:
        for connection in self._sockets:
            # Not `SSLSocket.shutdown`: it takes the TLS object away from the thread that reads.
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
