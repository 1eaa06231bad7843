# SPDX-License-Identifier: Apache-2.0
"""The way out that leads nowhere: a CONNECT proxy that ends TLS for Google's hosts itself and refuses every other host.

Clients keep their production URLs. A tunnel to a host that the dispatcher serves gets the sandbox's certificate and uvicorn's HTTP protocol
on top; whom the client meant must agree three times: in CONNECT, in TLS (SNI) and in HTTP (Host). Everything else is answered 403 with
the host's name, also in the reason phrase, which is all that most clients show of a proxy's refusal.
"""

import asyncio
import re
import ssl
from collections.abc import Callable
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from podpass.sandbox.google.dispatcher import Dispatcher
from podpass.sandbox.google.message import Answer, Receive, Request, Scope, Send
from podpass.sandbox.listener import Listener, close

_HEAD_LIMIT_BYTES = 16 * 1024
_AUTHORITY = re.compile(r"(?P<host>[A-Za-z0-9._-]+|\[[0-9a-fA-F:]+\]):(?P<port>[0-9]{1,5})")
_HTTPS = "443"


class Door(Protocol):
    """An ASGI application for hosts that it tells by their look."""

    def serves(self, host: str) -> bool:
        """Tell whether a host is its own."""
        ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        ...


class Proxy:
    """Listen on loopback for clients of this universe.

    Args:
        dispatcher: Answers the requests to the hosts that it serves.
        front_door: Answers those to the hosts that are its own; None: there are no others.
        context: The TLS context with the certificate for those hosts.
        refused: Told of each refusal: the verb, the host, the path and the status.
        latency_s: Asked for the simulated round trip; a new connection takes two.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        context: ssl.SSLContext,
        refused: Callable[[Request, int], None],
        latency_s: Callable[[], float],
        front_door: Door | None = None,
    ) -> None:
        self._front_door = front_door
        self._dispatcher = dispatcher
        self._context = context
        self.refused = refused
        self.latency_s = latency_s
        # Which name a TLS client asked for; kept by connection, since the context is shared.
        self._asked: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
        context.sni_callback = self._note_name
        self._inside = Listener(self._serve)
        self._server: asyncio.Server | None = None
        self.tasks: set[asyncio.Task[None]] = set()
        self.doors: set[asyncio.Transport] = set()

    def serves(self, host: str) -> bool:
        """Tell whether a tunnel can be had to a host."""
        return self._app(host) is not None

    def _app(self, host: str) -> Dispatcher | Door | None:
        if host in self._dispatcher.hosts:
            return self._dispatcher
        return self._front_door if self._front_door and self._front_door.serves(host) else None

    @property
    def url(self) -> str:
        """Its address, for `HTTPS_PROXY`."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def start(self, port: int = 0) -> None:
        """Listen on 127.0.0.1; port 0 is any free one."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Door(self), "127.0.0.1", port)

    async def stop(self) -> None:
        """Stop listening, end every connection, and wait until that is done."""
        if self._server is None:
            return
        await close(self._server)
        for task in tuple(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for door in tuple(self.doors):
            door.abort()
        await self._inside.stop()
        await self._server.wait_closed()
        self._server = None

    async def admit(self, transport: asyncio.Transport, host: str) -> None:
        """Turn an accepted tunnel into a TLS connection that serves `host`."""
        loop = asyncio.get_running_loop()
        hall = _Hall()
        try:
            await asyncio.sleep(2 * self.latency_s())
            transport.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            secured = await loop.start_tls(transport, hall, self._context, server_side=True)
        except (OSError, asyncio.CancelledError) as error:
            transport.abort()  # the client does not trust the sandbox's authority, or went away, or the sandbox ends
            if isinstance(error, OSError):
                return
            raise
        if secured is None:
            return
        asked = self._asked.get(secured.get_extra_info("ssl_object"), "")
        protocol = self._inside.protocol({"connect": host, "sni": asked})
        secured.set_protocol(protocol)
        protocol.connection_made(secured)
        hall.hand_over(protocol)

    def _note_name(self, tls: ssl.SSLObject | ssl.SSLSocket, name: str | None, _context: ssl.SSLContext) -> None:
        self._asked[tls] = (name or "").lower()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Two Host headers are two names, even where they are equal (RFC 9112, 3.2).
        named = ", ".join(value.decode("latin-1") for name, value in scope["headers"] if name == b"host")
        connect, sni = scope["state"]["connect"], scope["state"]["sni"]
        app = self._app(connect)
        if app and {connect, sni} == {named.lower().removesuffix(":443")}:
            await app(scope, receive, send)
            return
        self.refused(Request(scope["method"], named, scope["path"]), 421)
        text = f"CONNECT names {connect!r}, TLS {sni!r}, Host {named!r}: the sandbox answers only where all three agree.\n"
        await Answer(421, text.encode(), {"content-type": "text/plain", "connection": "close"}).send(send)


class _Hall(asyncio.Protocol):
    """Keeps what arrives between the end of the handshake and the moment that the HTTP protocol takes over."""

    def __init__(self) -> None:
        self._early = bytearray()
        self._lost = False

    def data_received(self, data: bytes) -> None:
        self._early += data

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._lost = True

    def hand_over(self, protocol: asyncio.Protocol) -> None:
        if self._early:
            protocol.data_received(bytes(self._early))
        if self._lost:
            protocol.connection_lost(None)


class _Door(asyncio.Protocol):
    """One client before it is known what it wants: reads the head of one request."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._head = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._proxy.doors.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        assert self._transport is not None
        self._proxy.doors.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._head += data
        head, found, rest = bytes(self._head).partition(b"\r\n\r\n")
        if not found and len(head) < _HEAD_LIMIT_BYTES:
            return
        verb, _, line = head.partition(b"\r\n")[0].decode("latin-1").partition(" ")
        target = line.rpartition(" ")[0]
        if verb != "CONNECT":
            self._refuse(verb, target, _plain_http(target))
        elif refusal := self._unfit(target, rest):
            self._refuse(verb, target, refusal)
        else:
            self._open(target.rpartition(":")[0].lower())

    def _unfit(self, target: str, rest: bytes) -> Answer | None:
        found = _AUTHORITY.fullmatch(target)
        if not found or rest:
            return _refusal(400, "This is not a CONNECT request as RFC 9110 has it.")
        if self._proxy.serves(found["host"].lower()) and found["port"] == _HTTPS:
            return None
        if found["host"] in {"localhost", "127.0.0.1", "[::1]"}:
            return _refusal(403, f"{target} is on this machine and needs no proxy: set NO_PROXY=127.0.0.1,localhost.")
        return _refusal(403, f"{target} is outside the sandbox, and nothing leaves this machine.")

    def _open(self, host: str) -> None:
        assert self._transport is not None
        self._proxy.doors.discard(self._transport)
        task = asyncio.get_running_loop().create_task(self._proxy.admit(self._transport, host))
        self._proxy.tasks.add(task)
        task.add_done_callback(self._proxy.tasks.discard)

    def _refuse(self, verb: str, target: str, answer: Answer) -> None:
        assert self._transport is not None
        self._proxy.refused(Request(verb, target, ""), answer.status)
        # Most clients show nothing of a proxy's refusal but the reason phrase, so it carries the sentence.
        sentence = answer.body.decode("ascii")
        head = f"HTTP/1.1 {answer.status} {sentence}\r\nContent-Type: text/plain\r\nConnection: close\r\n"
        self._transport.write(f"{head}Content-Length: {len(sentence) + 1}\r\n\r\n{sentence}\n".encode("ascii"))
        self._transport.close()


def _refusal(status: int, sentence: str) -> Answer:
    printable = re.sub(r"[^ -~]", "?", sentence)
    return Answer(status, printable.encode())


def _plain_http(target: str) -> Answer:
    if not target.startswith("http://"):
        return _refusal(400, "This is the sandbox's proxy: it takes CONNECT requests. Set HTTPS_PROXY to its address.")
    host = target.removeprefix("http://").partition("/")[0]
    return _refusal(403, f"http://{host} is outside the sandbox, and nothing leaves this machine. Google's APIs are https only.")
