# SPDX-License-Identifier: Apache-2.0
"""What becomes of those who are just coming in when a listener stops."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from podpass.sandbox.ca import AuthorityCA
from podpass.sandbox.google.message import Answer, Receive, Scope, Send
from podpass.sandbox.listener import Listener, close

# Of the loop, between the knock and the stop: the socket is accepted in the one, its connection made in the next ones.
TURNS = range(5)
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Guest(asyncio.Protocol):
    """Keeps the connections that it is told of."""

    def __init__(self, known: list[asyncio.BaseTransport]) -> None:
        self._known = known

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._known.append(transport)


def knock(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def is_let_go(client: socket.socket) -> bool:
    """Wait until the other side lets go of a connection."""
    try:
        return client.recv(1) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize("turns", TURNS)
def test_a_server_that_closes_has_made_known_whom_it_accepted(turns: int) -> None:
    async def story() -> bool:
        known: list[asyncio.BaseTransport] = []
        server = await asyncio.get_running_loop().create_server(lambda: Guest(known), "127.0.0.1", 0)
        with knock(server.sockets[0].getsockname()[1]) as client:
            for _ in range(turns):
                await asyncio.sleep(0)
            await close(server)
            for transport in known:
                assert isinstance(transport, asyncio.Transport)
                transport.abort()
            return await asyncio.to_thread(is_let_go, client)

    assert asyncio.run(story())


class Handshake:
    """A client that shakes hands as slowly as the test wants."""

    def __init__(self, client: socket.socket, trusting: ssl.SSLContext) -> None:
        self._client = client
        self._from, self._to = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = trusting.wrap_bio(self._from, self._to, server_hostname="localhost")

    def begin(self) -> None:
        """Greet, and wait for the first that the server says to it."""
        with pytest.raises(ssl.SSLWantReadError):
            self._tls.do_handshake()
        self._exchange()

    def end(self) -> bytes:
        """Do the rest and ask; return the answer, if there is one."""
        try:
            self._patiently(self._tls.do_handshake)
            self._tls.write(REQUEST)
            return bytes(self._patiently(self._tls.read) or b"")
        except (ConnectionError, ssl.SSLEOFError):
            return b""

    def _patiently(self, step: Callable[[], bytes | None]) -> bytes | None:
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                self._exchange()

    def _exchange(self) -> None:
        self._client.sendall(self._to.read())
        if said := self._client.recv(65536):
            self._from.write(said)
        else:
            self._from.write_eof()


@pytest.mark.parametrize("is_stopped", [False, True])
def test_a_handshake_that_outlasts_the_listener_ends_in_no_answer(tmp_path: Path, *, is_stopped: bool) -> None:
    """The API server that comes up in its place has other keys; the one that has gone must not sign any more."""
    authority = AuthorityCA(tmp_path / "ca")
    context = authority.issue_server_certificate(("localhost",)).server_context(tmp_path, "test")

    async def serve(_scope: Scope, _receive: Receive, send: Send) -> None:
        await Answer(200, b"served").send(send)

    async def story() -> bytes:
        listener = Listener(serve, context)
        await listener.start()
        with knock(listener.port) as client:
            handshake = Handshake(client, ssl.create_default_context(cafile=str(authority.path)))
            await asyncio.to_thread(handshake.begin)
            if is_stopped:
                await listener.stop()
            answer = await asyncio.to_thread(handshake.end)
            await listener.stop()
            return answer

    assert asyncio.run(story()).startswith(b"HTTP/1.1 200 ") is not is_stopped
