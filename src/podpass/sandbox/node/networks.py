# SPDX-License-Identifier: Apache-2.0
"""The networks of a node's pods: each has a loopback of its own, and the sandbox's node has one address, 127.0.0.1.

A pod gets a network namespace, held by `pause.py`. Nothing leads out of it but what the node agent carries (`relay.py`): inside, 127.0.0.1
answers at the ports of the sandbox's proxy and API server and at every `hostPort` of the node's pods; on the machine, 127.0.0.1 answers at
the `hostPort`s. A port that a container of the pod declares, or asks for metadata,
is the pod's own, and nothing else is put there.

Where no namespace can be had (`choose`), and for pods that ask for `hostNetwork`, it is the machine's network.
"""

import asyncio
import contextlib
import errno
import itertools
import os
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Self

from podpass.errors import PodpassError
from podpass.sandbox.cluster_client import Object
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


class NodeNetwork:
    """Gives the pods of a node their networks, and carries between them what may pass.

    Args:
        reachable: Ports of the machine's loopback that every pod finds on its own.
        words: What makes a namespace (`choose`); empty: pods share the machine's network.
    """

    def __init__(self, reachable: Iterable[int], words: Sequence[str]) -> None:
        self._reachable = set(reachable)
        self._words = tuple(words)
        self._machine = PodNetwork(ADDRESS)
        self._taken: dict[PodNetwork, set[int]] = {}
        self._published: dict[int, PodNetwork] = {}
        self._numbers = itertools.cycle(range(2, 255))

    async def attach(self, spec: Object) -> PodNetwork:
        """Return a network for a pod.

        Raises:
            NetworkError: There can be none, or a port is taken.
        """
        if not self._words and (sidecar := _metadata_sidecar(spec)):
            raise NetworkError(
                f"the container {sidecar} would give the pod's tokens to every pod",
                "This machine gives pods no network of their own, and a metadata server answers whoever reaches it.",
                CURE,
            )
        shares = spec.get("hostNetwork") or not self._words
        network = PodNetwork(ADDRESS) if shares else await PodNetwork.make(self._words, self._free_address())
        self._taken[network] = _own_ports(spec)
        try:
            for port in _ports(spec):
                self._publish(network, port, on_host=bool(spec.get("hostNetwork")))
        except NetworkError:
            await self.detach(network)
            raise
        for number in self._reachable | set(self._published):
            self._forward(network, number)
        return network

    async def detach(self, network: PodNetwork) -> None:
        """Take a network away, and what it published."""
        self._taken.pop(network, None)
        for number in [number for number, owner in self._published.items() if owner is network]:
            del self._published[number]
            for other in (self._machine, *self._taken):
                if relay := other.relays.pop(number, None):
                    relay.close()
        await network.close()

    def _free_address(self) -> str:
        taken = {network.address for network in self._taken}
        return next(address for address in (f"10.244.0.{number}" for number in self._numbers) if address not in taken)

    def _publish(self, network: PodNetwork, port: Object, *, on_host: bool) -> None:
        """Have the machine, and by it every other pod, reach a port of a pod."""
        number = port.get("hostPort") or (port["containerPort"] if on_host else 0)
        if not number:
            return
        if number in self._published:
            raise NetworkError(f"host port {number} is taken by another pod of the node")
        if port.get("protocol", "TCP") != "TCP":
            raise NetworkError(f"host port {number} cannot be published for {port['protocol']}", "The sandbox's node carries TCP only.")
        if network.is_own or number != port["containerPort"]:
            try:
                listener = self._machine.listen(number)
            except OSError as error:
                raise NetworkError(f"host port {number} cannot be listened on", f"{error.strerror} on this machine.") from error
            # A program that listens on loopback alone would not be reached in a cluster; here it is the careful choice.
            hosts = (network.address, ADDRESS) if network.is_own else (ADDRESS,)
            inside = port["containerPort"]
            self._machine.relays[number] = Relay(listener, partial(network.connect, inside, *hosts), partial(network.listens, inside))
        self._published[number] = network
        for other in self._taken:
            self._forward(other, number)

    def _forward(self, network: PodNetwork, number: int) -> None:
        """Have a pod find a port of the machine's on its own loopback, unless it has something of its own there."""
        if network.is_own and number not in self._taken[network] and number not in network.relays:
            with contextlib.suppress(OSError):  # a container listens there without having said so
                network.relays[number] = Relay(
                    network.listen(number), partial(self._machine.connect, number), partial(self._answers, number)
                )

    def _answers(self, number: int) -> bool:
        """Tell whether a port of the machine's answers."""
        if number in self._reachable:
            return True
        relay = self._machine.relays.get(number)
        return relay.is_open if relay else self._machine.listens(number)


def _containers(spec: Object) -> Iterator[Object]:
    yield from (*(spec.get("initContainers") or ()), *spec["containers"])


def _ports(spec: Object) -> list[Object]:
    return [port for container in _containers(spec) for port in container.get("ports") or ()]


def _own_ports(spec: Object) -> set[int]:
    """Return what a pod declares, and where its containers look for their metadata server: no other pod may put itself there."""
    variables = (entry for container in _containers(spec) for entry in container.get("env") or ())
    asked = (entry.get("value", "").partition(":") for entry in variables if entry["name"] == "GCE_METADATA_HOST")
    metadata = {int(port) for host, _, port in asked if host == ADDRESS and port.isdecimal()}
    return metadata | {port["containerPort"] for port in _ports(spec)}


def _metadata_sidecar(spec: Object) -> str:
    """Name the container that serves metadata; that of podpass is known by its command."""
    words = ((container["name"], (*(container.get("command") or ()), *(container.get("args") or ()))) for container in _containers(spec))
    return next((name for name, said in words if "metadata-server" in said), "")
