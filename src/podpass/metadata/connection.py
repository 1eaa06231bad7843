# SPDX-License-Identifier: Apache-2.0
"""A connection to the server: bounded in number and in the time it may be silent, since each costs a descriptor and memory of the pod.

uvicorn has no time limit for a request's head, and counts connections only once they ask. The port for probes may be reached by every pod
of the cluster, so its connections must not take the place of those of the pod's own.
"""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

from podpass.metadata.answer import Answer

# A port; the waiters for a change and some hundred clients that start together find room.
CONNECTIONS_LIMIT: Final = 512
SILENCE_LIMIT_S: Final = 10.0


class Connection(H11Protocol):
    """uvicorn's connection, within limits."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - uvicorn says Transport, asyncio BaseTransport
        """Take a connection, unless its port has too many."""
        super().connection_made(transport)
        self._deadline = self.loop.call_later(SILENCE_LIMIT_S, transport.abort)
        if sum(self.port == other.port for other in self.connections if isinstance(other, Connection)) > CONNECTIONS_LIMIT:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything."""
        self._cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take some bytes; whoever is owed no answer after them has to go on soon."""
        super().data_received(data)
        if self.cycle and not self.cycle.response_complete:  # type: ignore[truthy-bool]  # there is none before the first request
            self._cancel()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(SILENCE_LIMIT_S, self.transport.abort)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, as every answer of a metadata server is marked."""
        answer = Answer.words(400, msg, ("connection", "close"))
        head = "".join(f"{name}: {value}\r\n" for name, value in answer.headers)
        self.transport.write(f"HTTP/1.1 400 Bad Request\r\n{head}\r\n".encode() + answer.body)
        self.transport.close()

    @property
    def port(self) -> int | None:
        """Where it came in."""
        return self.server[1] if self.server else None

    def _cancel(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None
