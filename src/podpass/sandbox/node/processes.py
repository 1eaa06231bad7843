# SPDX-License-Identifier: Apache-2.0
"""One process of a container, behind its shim: start it, read what it writes, signal its group, learn how it ended."""

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from podpass.clock import Clock
from podpass.errors import PodpassError
from podpass.sandbox.node.logs import ContainerLog
from podpass.sandbox.node.mounts import SHIM, Step, bubblewrap_command

_KILLED = 128 + signal.SIGKILL
# The loop itself holds tasks weakly: of a process that nobody waits for any more (a probe that took too long), nobody else would.
_WATCHES: Final[set["asyncio.Task[int]"]] = set()


class StartError(PodpassError):
    """A container's process could not be started; kubelet's reason has the same name."""

    code = "sandbox.start"


@dataclass(frozen=True, slots=True)
class Order:
    """What to start, and in what root: `root` is an empty directory for the shim to build it at, None for the machine's own.

    `enter` are the words before a command that have it run in the pod's network.
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str
    steps: Sequence[Step]
    root: Path | None
    bubblewrap: bool
    enter: Sequence[str] = ()

    def launcher(self) -> list[str]:
        """Return the command that starts the shim."""
        return [*self.enter, *(bubblewrap_command(self.steps) if self.bubblewrap else []), *SHIM]

    def line(self) -> bytes:
        """Return the order as the shim reads it."""
        root = str(self.root) if self.root else ""
        words = {"argv": self.argv, "env": self.env, "cwd": self.cwd, "steps": self.steps if root else [], "root": root}
        return msgspec.json.encode(words) + b"\n"


class Process:
    """A running container. `wait` may be called by several."""

    def __init__(self, popen: "subprocess.Popen[bytes]", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._popen = popen
        self._reader = reader
        self._writer = writer
        self._id = 0
        self._ended: asyncio.Task[int] | None = None

    @classmethod
    async def start(cls, order: Order, log: ContainerLog, clock: Clock) -> Self:
        """Start a process; `log` is closed once it has ended.

        Raises:
            StartError: With the reason: the program is not there, the volumes cannot be mounted.
        """
        ours, theirs = socket.socketpair()
        output, their_output = os.pipe()
        with theirs:
            popen = _spawn(order.launcher(), theirs.fileno(), their_output)
        os.close(their_output)
        pump = asyncio.create_task(_pump(output, log, clock))
        try:
            reader, writer = await asyncio.open_connection(sock=ours)
        except BaseException:
            ours.close()  # the shim ends without an order
            await _reap(popen, pump)
            raise
        process = cls(popen, reader, writer)
        writer.write(order.line())
        try:
            first = await process._message()
        except asyncio.CancelledError:
            await process._close(pump)
            raise
        if "started" not in first:
            await process._close(pump)
            raise StartError(str(first.get("error") or f"the shim ended: {log.tail()}"))
        process._id = first["started"]
        process._ended = asyncio.create_task(process._watch(pump))
        _WATCHES.add(process._ended)
        process._ended.add_done_callback(_WATCHES.discard)
        return process

    async def _message(self) -> dict[str, Any]:
        try:
            line = await self._reader.readline()
        except ConnectionError:
            line = b""
        return msgspec.json.decode(line, type=dict[str, Any]) if line else {}

    async def _watch(self, pump: "asyncio.Task[None]") -> int:
        last: dict[str, Any] = {}
        try:
            last = await self._message()
        finally:
            if "ended" not in last:  # the shim was killed, or the sandbox ends: what it started must not outlive either
                self._kill_group()
            await self._close(pump)
        return int(last.get("ended", _KILLED))

    def _kill_group(self) -> None:
        try:
            os.killpg(self._id, signal.SIGKILL)
        except ProcessLookupError:
            return

    async def _close(self, pump: "asyncio.Task[None]") -> None:
        self._writer.close()
        await _reap(self._popen, pump)

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it runs any more."""
        return self._ended is not None and self._ended.done()

    async def wait(self) -> int:
        """Return the exit code, once nothing of the container runs any more; 128 and the signal's number for a signal."""
        assert self._ended is not None
        return await asyncio.shield(self._ended)

    def signal(self, number: int) -> None:
        """Send a signal to the container's first process, SIGKILL to all of them; nothing happens when it has ended."""
        if not self._writer.is_closing():
            self._writer.write(f"{int(number)}\n".encode())

    async def end(self, grace_s: float) -> int:
        """Ask it to end (SIGTERM), and after `grace_s` seconds kill it; return the exit code."""
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace_s):
                return await self.wait()
        except TimeoutError:
            self.signal(signal.SIGKILL)
            return await self.wait()


def _spawn(command: list[str], control: int, output: int) -> "subprocess.Popen[bytes]":
    # A session of its own: an interrupt typed at the sandbox's terminal is the sandbox's to handle.
    return subprocess.Popen(  # noqa: S603 - the pod's command is the point
        command, stdin=control, stdout=output, stderr=output, env={"PATH": os.defpath}, cwd="/", start_new_session=True
    )


async def _reap(popen: "subprocess.Popen[bytes]", pump: "asyncio.Task[None]") -> None:
    await asyncio.to_thread(popen.wait)
    await pump


async def _pump(descriptor: int, log: ContainerLog, clock: Clock) -> None:
    """Move what comes out of a pipe into the log."""
    reader = asyncio.StreamReader()
    pipe = os.fdopen(descriptor, "rb", buffering=0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    try:
        while data := await reader.read(65536):
            log.append(data, clock.now())
    finally:
        log.close(clock.now())
        transport.close()
