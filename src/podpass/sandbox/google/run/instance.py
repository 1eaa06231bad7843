# SPDX-License-Identifier: Apache-2.0
"""The process of one revision: started until it listens, restarted when it ends by itself, ended once it has answered."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterator

from podpass.sandbox.google.universe import Universe
from podpass.sandbox.node.logs import ContainerLog
from podpass.sandbox.node.processes import Order, Process, StartError

_log = logging.getLogger(__name__)
# Cloud Run, container runtime contract: SIGTERM, and SIGKILL 10 s later [R]. The default startup probe gives 240 s [R].
_GRACE_S, _START_LIMIT_S = 10.0, 240.0
_LOOK_S, _AGAIN_S, _MOST_S = 0.02, 0.5, 10.0
_NOT_READY = "Revision '{revision}' is not ready and cannot serve traffic. {why}"  # [M]
_NEVER_LISTENED = (  # the first sentence [M]
    "The user-provided container failed to start and listen on the port defined provided by the PORT={port} environment variable. "
    "{why}\n{log}"
)


class Instance:
    """The process of one revision.

    Args:
        revision: Its name.
        order: Says what to start for a port; an image that is not there is a `StartError`.
        changed: Told of each change of `state`.
        universe: For its clock.
    """

    def __init__(self, revision: str, order: Callable[[int], Order], changed: "Callable[[Instance], None]", universe: Universe) -> None:
        self.revision = revision
        self.state, self.message = "starting", ""
        self.port: int | None = None
        self.log = ContainerLog()
        self._order = order
        self._changed = changed
        self._clock = universe.clock
        self._requests = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._task = asyncio.create_task(self._live())

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Count a request, from before it is handed on until it is answered."""
        self._requests += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._requests -= 1
            if not self._requests:
                self._idle.set()

    async def drain(self) -> None:
        """End it when the requests that it has are answered."""
        await self._idle.wait()
        await self.stop()

    async def stop(self) -> None:
        """End it at once, and wait until it has ended."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _live(self) -> None:
        delay_s = 0.0
        while self.state != "failed":
            await asyncio.sleep(delay_s)
            try:
                await self._run()
            except Exception as error:  # noqa: BLE001 - a service that the sandbox cannot run must say so, and not stay "Unknown"
                _log.exception("revision %s", self.revision)
                self._tell("failed", _NOT_READY.format(revision=self.revision, why=f"The sandbox itself failed: {error!r}."))
            delay_s = min(2 * delay_s or _AGAIN_S, _MOST_S)

    async def _run(self) -> None:
        port, self.log = _free_port(), ContainerLog()
        began_again = self.state == "crashed"
        try:
            process = await Process.start(self._order(port), self.log, self._clock)
        except StartError as error:
            self._fail(str(error))
            return
        try:
            if not await _listens(process, port):
                why = f"It ended with code {await process.wait()}." if process.has_ended else "It did not listen in time."
                self._fail(_NEVER_LISTENED.format(port=port, why=why, log=self.log.tail()).rstrip())
                return
            self.port = port
            self._tell("ready", "")
            code = await process.wait()
            again = " again" if began_again else ""
            self._tell("crashed", f"The container of revision '{self.revision}' ended{again} with code {code} and is being restarted.")
        finally:
            self.port = None
            await asyncio.shield(process.end(_GRACE_S))

    def _fail(self, why: str) -> None:
        if self.state != "crashed":  # one that has been well once goes on trying
            self._tell("failed", _NOT_READY.format(revision=self.revision, why=why))

    def _tell(self, state: str, message: str) -> None:
        self.state, self.message = state, message
        self._changed(self)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


async def _listens(process: Process, port: int) -> bool:
    """Wait until a port is listened at; False: the process has ended, or has had its time."""
    deadline = asyncio.get_running_loop().time() + _START_LIMIT_S
    while not process.has_ended and asyncio.get_running_loop().time() < deadline:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(_LOOK_S)
            continue
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return not process.has_ended
    return False
