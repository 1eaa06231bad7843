# SPDX-License-Identifier: Apache-2.0
"""HTTP on loopback for an ASGI application, on a port of its own or on connections that somebody else has accepted.

uvicorn's HTTP protocol without uvicorn's server: that one installs signal handlers, and cannot take over a transport. The protocol class is
internal to uvicorn; `requirements.lock` pins it, and the tests of this room would tell.
"""

import asyncio
import socket
import ssl
import struct
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

_KEEP_ALIVE_S = 240  # as long as Google's front ends keep an idle connection; clients reuse one without asking

_GRACE_S = 2


class Listener:
    """Serve one ASGI application.

    Args:
        app: The application.
        context: For TLS on its own port.
    """

    def __init__(self, app: Any, context: ssl.SSLContext | None = None) -> None:  # noqa: ANN401 - uvicorn's own type of it is private
        self._config = Config(
            app,
            interface="asgi3",
            http=HttpToolsProtocol,
            ws="none",
            lifespan="off",
            proxy_headers=False,
            log_config=None,
            access_log=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
        )
        self._config.load()
        self._context = context
        self._state = ServerState()
        self._server: asyncio.Server | None = None
        self._has_stopped = False
        self.port = 0

    def protocol(self, state: dict[str, Any] | None = None) -> HttpToolsProtocol:
        """Make the protocol for one connection.

        Args:
            state: What the application sees as `scope["state"]`; with it comes `hang_up(rudely=…)`, which ends the connection.
        """
        seen = dict(state or {})
        protocol = _Connection(lambda: self._has_stopped, config=self._config, server_state=self._state, app_state=seen)
        seen["hang_up"] = partial(_hang_up, weakref.proxy(protocol))
        return protocol

    async def start(self, port: int = 0) -> None:
        """Listen on 127.0.0.1; port 0 is any free one."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self.protocol, "127.0.0.1", port, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening, cut every connection, and wait until the requests under way have ended."""
        self._has_stopped = True
        if self._server:
            await close(self._server)
        for protocol in tuple(self._state.connections):
            protocol.transport.abort()
        if self._state.tasks:
            # A cut connection ends its request by itself; cancelling at once would be logged as a failure of the application.
            _, late = await asyncio.wait(self._state.tasks, timeout=_GRACE_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._server:
            await self._server.wait_closed()


class _Connection(HttpToolsProtocol):
    """uvicorn's protocol for one connection; one whose TLS handshake outlasts the listener is cut, not served by what has stopped."""

    def __init__(self, has_stopped: Callable[[], bool], **more: Any) -> None:  # noqa: ANN401 - uvicorn's own keywords
        super().__init__(**more)
        self._has_stopped = has_stopped

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        if self._has_stopped():
            transport.abort()


async def close(server: asyncio.Server) -> None:
    """Stop listening. A server that closes forgets the connections that it has just accepted: nobody would ever close them."""
    loop = asyncio.get_running_loop()
    for listening in server.sockets:
        loop.remove_reader(listening.fileno())
    try:
        for _ in range(2):  # until they are connections, and until their protocols know
            await asyncio.sleep(0)
    finally:
        server.close()


def _hang_up(protocol: HttpToolsProtocol, *, rudely: bool) -> None:
    """End a connection: by a reset, or once everything written has been sent."""
    if not rudely:
        protocol.transport.close()
        return
    # Without this, what the client sees of an abort is an orderly end.
    protocol.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    protocol.transport.abort()
