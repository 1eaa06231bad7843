# SPDX-License-Identifier: Apache-2.0
"""A real HTTPS server on loopback that answers as it is told, and remembers what it was asked."""

import ssl
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

import trustme


@dataclass(frozen=True)
class Seen:
    """One request, as it came in; header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Reply:
    """One answer. A body that is not bytes is sent piece by piece, and ends with the connection."""

    status: int = 200
    body: bytes | Iterable[bytes] = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class LoopbackServer:
    """Serves until it is left, on a port of its own.

    Args:
        answer: Called for each request.
        authority: Issues the certificate; None: plain http.
    """

    def __init__(self, answer: Callable[[Seen], Reply], authority: trustme.CA | None = None) -> None:
        self.answer = answer
        self.seen: list[Seen] = []
        self._context = None if authority is None else _server_context(authority)
        self._server = _Server(self, self._context)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        """Its origin."""
        return f"{'https' if self._context else 'http'}://127.0.0.1:{self._server.server_address[1]}"

    def count(self, path: str) -> int:
        """Return how often a path was asked for."""
        return sum(seen.path == path for seen in self.seen)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, owner: LoopbackServer, tls: ssl.SSLContext | None) -> None:
        self.owner = owner
        self.tls = tls
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a client that hangs up is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else a body waits 40 ms for the client's word that it has the headers
    timeout = 10
    server: _Server

    def setup(self) -> None:
        if self.server.tls is not None:
            self.request.settimeout(10)
            # Here, not around the listening socket: a slow handshake must not keep others from being accepted.
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def finish(self) -> None:
        super().finish()
        self.request.close()

    def _serve(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        seen = Seen(self.command, self.path, headers, self._body())
        self.server.owner.seen.append(seen)
        self._send(self.server.owner.answer(seen))

    do_GET = do_POST = do_PUT = _serve  # noqa: N815 - the library's names

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if isinstance(reply.body, bytes):
            self.send_header("content-length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)
            return
        self.send_header("connection", "close")
        self.end_headers()
        for piece in reply.body:
            self.wfile.write(piece)

    def log_message(self, *_: object) -> None:
        pass


def _server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context
