# SPDX-License-Identifier: Apache-2.0
"""Each shell as one function: a request goes in, what the client sees comes out, and the handler counts its runs."""

import asyncio
import io
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import uvicorn

from podpass.guard import Guard, asgi, wsgi

Headers = list[tuple[bytes, bytes]]
Credentials = tuple[str | None, str | None]
Ask = Callable[[str, bytes, Headers], "Seen"]


@dataclass
class Seen:
    """What a client gets, and what the handler has seen."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The code in the body of a refusal."""
        return str(json.loads(self.body)["code"])


def credentials_of(connection: Any) -> Credentials:  # noqa: ANN401 - a scope or an environ
    """Return the two headers that may hold a token."""
    if "headers" in connection:
        found = {name.decode(): value.decode() for name, value in connection["headers"]}
        return found.get("authorization"), found.get("x-serverless-authorization")
    return connection.get("HTTP_AUTHORIZATION"), connection.get("HTTP_X_SERVERLESS_AUTHORIZATION")


class Handler:
    """An application that counts its runs and notes who called."""

    def __init__(self) -> None:
        self._calls: list[str | None] = []
        self._credentials: list[Credentials] = []

    @property
    def calls(self) -> list[str | None]:
        """Who has called, in order."""
        return self._calls

    @property
    def credentials(self) -> list[Credentials]:
        """What it saw in `Authorization` and in `X-Serverless-Authorization`, in order."""
        return self._credentials

    def forget(self) -> None:
        """Begin to count anew."""
        self._calls.clear()

    def note(self, connection: Any) -> None:  # noqa: ANN401 - a scope or an environ
        found = asgi.caller(connection)
        self._calls.append(found.subject if found else None)
        self._credentials.append(credentials_of(connection))

    async def asgi(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        if scope["type"] == "lifespan":
            for phase in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{phase}.complete"})
            return
        self.note(scope)
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    def wsgi(self, environ: wsgi.Environ, start_response: wsgi.StartResponse) -> list[bytes]:
        self.note(environ)
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]


class FarHandler(Handler):
    """One that runs in other processes."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    @property
    def calls(self) -> list[str | None]:
        """Who has called, in order."""
        return [subject for subject, _ in self._notes()]

    @property
    def credentials(self) -> list[Credentials]:
        """What it saw in `Authorization` and in `X-Serverless-Authorization`, in order."""
        return [(own, theirs) for _, (own, theirs) in self._notes()]

    def _notes(self) -> list[Any]:
        return [json.loads(line) for line in self._path.read_text().splitlines()] if self._path.exists() else []

    def forget(self) -> None:
        """Begin to count anew."""
        self._path.unlink(missing_ok=True)

    def note(self, connection: Any) -> None:  # noqa: ANN401 - a scope or an environ
        found = asgi.caller(connection)
        with self._path.open("a") as file:
            file.write(json.dumps((found.subject if found else None, credentials_of(connection))) + "\n")


@dataclass
class Shell:
    """A shell under test."""

    name: str
    serve: Callable[[Guard, Any], Any]
    methods: frozenset[str] | None = None
    # What a server itself refuses, or cannot hand on, before any guard sees it.
    unseen: Callable[[bytes, Headers], bool] = field(default=lambda _target, _headers: False)
    handler: Callable[[], Handler] = Handler

    @property
    def is_near(self) -> bool:
        """Whether it runs in the test's own process, where the world can be bent while it serves."""
        return self.handler is Handler


async def drive(app: asgi.App, scope: dict[str, Any]) -> list[asgi.Message]:
    sent: list[asgi.Message] = []

    async def receive() -> asgi.Message:
        return {"type": "websocket.connect"} if scope["type"] == "websocket" else {"type": "http.request", "body": b""}

    async def send(message: asgi.Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


def scope_of(kind: str, method: str, target: bytes, headers: Headers) -> dict[str, Any]:
    raw, _, query = target.partition(b"?")
    path = unquote_to_bytes(raw).decode("utf-8", "replace")
    scope = {"type": kind, "raw_path": raw, "path": path, "query_string": query, "headers": headers, "root_path": ""}
    return scope | ({"method": method} if kind == "http" else {})


def _seen(sent: list[asgi.Message], prefix: str) -> Seen:
    start, body = sent
    assert (start["type"], body["type"]) == (f"{prefix}.start", f"{prefix}.body")
    return Seen(start["status"], {name.decode(): value.decode() for name, value in start["headers"]}, body["body"])


@contextmanager
def asgi_http(guard: Guard, handler: Handler) -> Iterator[Ask]:
    app = asgi.GuardMiddleware(handler.asgi, guard)
    yield lambda *request: _seen(asyncio.run(drive(app, scope_of("http", *request))), "http.response")


@contextmanager
def asgi_websocket(guard: Guard, handler: Handler) -> Iterator[Ask]:
    """A server that lets an application answer a handshake."""
    app = asgi.GuardMiddleware(handler.asgi, guard)

    def ask(method: str, target: bytes, headers: Headers) -> Seen:
        scope = scope_of("websocket", method, target, headers) | {"extensions": {"websocket.http.response": {}}}
        sent = asyncio.run(drive(app, scope))
        return Seen(200, {}, b"") if sent[0]["type"] == "websocket.accept" else _seen(sent, "websocket.http.response")

    yield ask


@contextmanager
def asgi_websocket_close(guard: Guard, handler: Handler) -> Iterator[Ask]:
    """A server that can only close: the client sees 403; the reason stands in for what it would have been told."""
    app = asgi.GuardMiddleware(handler.asgi, guard)

    def ask(method: str, target: bytes, headers: Headers) -> Seen:
        (message,) = asyncio.run(drive(app, scope_of("websocket", method, target, headers)))
        if message["type"] == "websocket.accept":
            return Seen(200, {}, b"")
        assert (message["type"], message["code"]) == ("websocket.close", 1008)
        return Seen(0, {}, json.dumps({"code": message["reason"]}).encode())

    yield ask


def _environ(method: str, target: bytes, headers: Headers) -> wsgi.Environ:
    raw = target.partition(b"?")[0]
    environ: wsgi.Environ = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(raw).decode("latin-1"),
        "RAW_URI": target.decode("latin-1"),
        "wsgi.input": io.BytesIO(),
    }
    for name, value in headers:
        key = "HTTP_" + name.decode().upper().replace("-", "_")
        environ[key] = f"{environ[key]},{value.decode('latin-1')}" if key in environ else value.decode("latin-1")
    return environ


@contextmanager
def wsgi_shell(guard: Guard, handler: Handler) -> Iterator[Ask]:
    app = wsgi.GuardMiddleware(handler.wsgi, guard)

    def ask(method: str, target: bytes, headers: Headers) -> Seen:
        started: list[tuple[str, list[tuple[str, str]]]] = []
        body = b"".join(app(_environ(method, target, headers), lambda *start: started.append(start)))
        ((status, answered),) = started
        return Seen(int(status.partition(" ")[0]), {name.lower(): value for name, value in answered}, body)

    yield ask


def request(port: int, method: str, target: bytes, headers: Headers) -> Seen:
    """Send what a careful client would not."""
    lines = [method.encode() + b" " + target + b" HTTP/1.1", b"host: localhost", b"connection: close"]
    lines += [name + b": " + value for name, value in headers]
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *fields = head.decode("latin-1").split("\r\n")
    return Seen(int(status.split()[1]), dict(line.lower().split(": ", 1) for line in fields), body)


def _uvicorn(http: str) -> Callable[[Guard, Handler], Any]:
    @contextmanager
    def serve(guard: Guard, handler: Handler) -> Iterator[Ask]:
        listener = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(asgi.GuardMiddleware(handler.asgi, guard), http=http, log_config=None, loop="asyncio", ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield lambda *asked: request(listener.getsockname()[1], *asked)
        finally:
            server.should_exit = True
            thread.join()
            listener.close()

    return serve


def is_no_path(target: bytes, _headers: Headers) -> bool:
    """Tell what an HTTP parser refuses itself, or reads as something else than a path."""
    return not target.startswith(b"/") or not target.isascii() or any(octet < 0x21 for octet in target) or b"#" in target


SHELLS = [
    Shell("asgi http", asgi_http),
    Shell("asgi websocket", asgi_websocket, frozenset({"GET"})),
    Shell("asgi websocket, close only", asgi_websocket_close, frozenset({"GET"})),
    Shell("wsgi", wsgi_shell, unseen=lambda target, _headers: not target),
    Shell("uvicorn, httptools", _uvicorn("httptools"), unseen=is_no_path),
    Shell("uvicorn, h11", _uvicorn("h11"), unseen=is_no_path),
]
