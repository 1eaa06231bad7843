# SPDX-License-Identifier: Apache-2.0
"""A real HTTP proxy on loopback: it answers what it can read, tunnels what it cannot, and remembers what it was shown."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

_PATIENCE_S: Final = 10.0


class RecordingProxy:
    """Serves until it is left.

    Attributes:
        shown: The head of each request, as it came in: what somebody at the proxy can read.
    """

    def __init__(self) -> None:
        self.shown: list[str] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = [self._listening]
        self._threads: list[threading.Thread] = []

    @property
    def url(self) -> str:
        """Its address, for `HTTP_PROXY`."""
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # Each loop over again: whoever was accepted meanwhile stands at the end of the lists.
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for each in self._open:
            each.close()

    def _start(self, work: Callable[..., None], *args: socket.socket) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                self._open.append(client)
                self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        client.settimeout(_PATIENCE_S)
        with suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                if not (piece := client.recv(65536)):
                    return
                head += piece
            self.shown.append(head.decode("latin-1"))
            verb, target, _ = head.split(b" ", 2)
            if verb == b"CONNECT":
                host, _, port = target.decode().rpartition(":")
                self._tunnel(client, host, int(port))
            else:
                client.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\nby proxy!")
                client.shutdown(socket.SHUT_WR)

    def _tunnel(self, client: socket.socket, host: str, port: int) -> None:
        service = socket.create_connection((host, port), timeout=_PATIENCE_S)
        self._open.append(service)
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self._start(_relay, service, client)
        _relay(client, service)


def _relay(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)
