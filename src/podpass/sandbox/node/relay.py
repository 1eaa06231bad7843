# SPDX-License-Identifier: Apache-2.0
"""What comes in at one socket goes out at another: how bytes cross from a pod's network to the machine's and back."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable, Coroutine

Connect = Callable[[], Awaitable[socket.socket]]
_CHUNK = 65536
_LOOK_AGAIN_S = 0.05
_BACKLOG = 128
_RUDELY = struct.pack("ii", 1, 0)


class Relay:
    """Carries every connection to a listening socket on, until it is closed.

    Args:
        listener: A bound socket, of whatever network; the relay's own from now on.
        connect: Makes the connection that a new one is carried on by.
        answers: Tells whether anybody listens there; as long as nobody does, the port refuses connections, as it would without a relay.
    """

    def __init__(self, listener: socket.socket, connect: Connect, answers: Callable[[], bool]) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._connect = connect
        self._answers = answers
        self.is_open = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        if answers():
            self._open()
        else:
            self._do(self._await_answers())

    def close(self) -> None:
        """Stop listening and cut what is being carried."""
        self.is_open = False
        self._loop.remove_reader(self._listener)
        self._listener.close()
        for task in self._tasks:
            task.cancel()

    def _do(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _open(self) -> None:
        self.is_open = True
        self._listener.listen(_BACKLOG)
        self._loop.add_reader(self._listener, self._accept)

    async def _await_answers(self) -> None:
        while not self._answers():  # noqa: ASYNC110 - nobody tells when a program begins to listen
            await asyncio.sleep(_LOOK_AGAIN_S)
        self._open()

    def _shut(self) -> None:
        """Refuse connections from now on, keeping the port."""
        if self.is_open and self._loop.remove_reader(self._listener):
            self.is_open = False
            self._listener.shutdown(socket.SHUT_RDWR)
            self._do(self._await_answers())

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # whoever knocked has gone
            accepted, _ = self._listener.accept()
            self._do(self._carry(accepted))

    async def _carry(self, accepted: socket.socket) -> None:
        """Carry one connection to its end; what breaks one side resets the other."""
        with accepted:
            accepted.setblocking(False)
            try:
                with await self._connect() as onward:
                    try:
                        async with asyncio.TaskGroup() as group:
                            group.create_task(self._pump(accepted, onward))
                            group.create_task(self._pump(onward, accepted))
                    except* OSError:
                        _reset(accepted, onward)
            except OSError:
                _reset(accepted)
            if not self._answers():
                self._shut()

    async def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        # What one program sent at once comes in pieces; a piece must not wait until the one before it is acknowledged.
        sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := await self._loop.sock_recv(source, _CHUNK):
            await self._loop.sock_sendall(sink, data)
        sink.shutdown(socket.SHUT_WR)


def _reset(*ends: socket.socket) -> None:
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RUDELY)
