# SPDX-License-Identifier: Apache-2.0
"""The network of one pod: a namespace of its own, held by `pause.py`; where none can be had (`choose`), it is the machine's."""

import asyncio
import contextlib
import errno
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from podpass.errors import PodpassError
from podpass.sandbox.node.mounts import succeeds
from podpass.sandbox.node.relay import Relay

ADDRESS = "127.0.0.1"
"""The node's, and that of pods on the machine's network."""
CURE = (
    "Allow user namespaces (sysctl user.max_user_namespaces=10000; on Ubuntu also kernel.apparmor_restrict_unprivileged_userns=0), "
    "or run the sandbox as root with CAP_SYS_ADMIN; unshare and nsenter (util-linux) have to be on the path."
)
_PAUSE = (sys.executable, "-I", "-S", str(Path(__file__).with_name("pause.py")))
_PRIVILEGED = ("unshare", "--net")
_UNPRIVILEGED = ("unshare", "--user", "--map-current-user", "--keep-caps", "--net")
_ENTER = ("nsenter", "--preserve-credentials")
_TIME_LIMIT_S = 10.0
_LISTENS = "0A"  # TCP_LISTEN, proc(5)


class NetworkError(PodpassError):
    """A pod's network cannot be made; its text is that of kubelet's FailedCreatePodSandBox event."""

    code = "sandbox.network"


def choose() -> tuple[str, ...]:
    """Return the words before a command that give it a network namespace here; none when there is no way."""
    probe = (*_ENTER, "--net=/proc/self/ns/net", "true")
    return next((words for words in (_PRIVILEGED, _UNPRIVILEGED) if succeeds([*words, *probe])), ())


class PodNetwork:
    """The network of one pod; without a process that holds a namespace it is the machine's."""

    def __init__(
        self, address: str, enter: Sequence[str] = (), held: "tuple[subprocess.Popen[bytes], socket.socket] | None" = None
    ) -> None:
        self.address = address
        self.enter = tuple(enter)
        self.relays: dict[int, Relay] = {}
        self._held = held

    @classmethod
    async def make(cls, words: Sequence[str], address: str) -> Self:
        """Make a namespace.

        Raises:
            NetworkError: The machine refuses.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            pause = _spawn([*words, *_PAUSE, address], theirs.fileno())
        user = ("--user",) if "--user" in words else ()
        network = cls(address, (*_ENTER, "--target", str(pause.pid), *user, "--net"), (pause, ours))
        try:
            ours.setblocking(False)
            async with asyncio.timeout(_TIME_LIMIT_S):
                ready = await asyncio.get_running_loop().sock_recv(ours, 1)
            ours.settimeout(_TIME_LIMIT_S)
        except BaseException:
            await network.close()
            raise
        if not ready:
            said = await network.close()
            raise NetworkError("no network namespace could be made", said.decode(errors="replace").strip(), CURE)
        return network

    @property
    def is_own(self) -> bool:
        """Whether it is a network of the pod's own."""
        return self._held is not None

    def make_socket(self) -> socket.socket:
        """Return a TCP socket of this network.

        Raises:
            OSError: The process that holds the network has ended.
        """
        if self._held is None:
            return socket.socket()
        _, control = self._held
        control.send(b".")  # answered within microseconds, so the loop may wait for it
        _, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not descriptors:
            raise ConnectionAbortedError(errno.ECONNABORTED, "the pod's network is gone")
        return socket.socket(fileno=descriptors[0])

    async def connect(self, port: int, *hosts: str) -> socket.socket:
        """Connect to a port inside, at the first of these addresses that answers.

        Raises:
            OSError: Nothing answers.
        """
        *others, last = hosts or (ADDRESS,)
        for host in others:
            with contextlib.suppress(ConnectionRefusedError):
                return await self._connect(host, port)
        return await self._connect(last, port)

    async def _connect(self, host: str, port: int) -> socket.socket:
        made = self.make_socket()
        try:
            made.setblocking(False)
            await asyncio.get_running_loop().sock_connect(made, (host, port))
        except BaseException:
            made.close()
            raise
        return made

    def listens(self, port: int) -> bool:
        """Tell whether anything inside listens on a port; a connection made to find out could be the one that a program waits for."""
        process = self._held[0].pid if self._held else "self"
        with contextlib.suppress(OSError):  # the network is gone
            rows = "".join(Path(f"/proc/{process}/net/{name}").read_text() for name in ("tcp", "tcp6")).splitlines()
            return any(f":{port:04X} " in row and row.split()[3] == _LISTENS for row in rows)
        return False

    def listen(self, port: int) -> socket.socket:
        """Return a socket bound to a port of this network's 127.0.0.1.

        Raises:
            OSError: It is taken.
        """
        made = self.make_socket()
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((ADDRESS, port))
        except OSError:
            made.close()
            raise
        return made

    async def close(self) -> bytes:
        """Give it up; processes that are still in it find themselves alone. Return what the one that held it complained of."""
        for relay in self.relays.values():
            relay.close()
        self.relays.clear()
        if self._held is None or self._held[1].fileno() < 0:
            return b""
        pause, control = self._held
        control.close()
        return (await asyncio.shield(asyncio.to_thread(pause.communicate)))[1]


def _spawn(command: list[str], control: int) -> "subprocess.Popen[bytes]":
    # A session of its own: an interrupt typed at the sandbox's terminal is the sandbox's to handle.
    return subprocess.Popen(  # noqa: S603 - our own words
        command, stdin=control, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={"PATH": os.defpath}, start_new_session=True
    )
