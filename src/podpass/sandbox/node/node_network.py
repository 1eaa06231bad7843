# SPDX-License-Identifier: Apache-2.0
"""The networks of a node's pods: each has a loopback of its own, and the sandbox's node has one address, 127.0.0.1.

Nothing leads out of a pod's network but what the node agent carries (`relay.py`): inside, 127.0.0.1 answers at the ports of the sandbox's
proxy and API server and at every `hostPort` of the node's pods; on the machine, 127.0.0.1 answers at the `hostPort`s. A port that a
container of the pod declares, or asks for metadata, is the pod's own, and nothing else is put there.

Pods that ask for `hostNetwork` have the machine's network, and so has every pod where no namespace can be had.
"""

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from podpass.sandbox.cluster_client import Object
from podpass.sandbox.node.pod_network import ADDRESS, CURE, NetworkError, PodNetwork
from podpass.sandbox.node.relay import Relay


class NodeNetwork:
    """Gives the pods of a node their networks, and carries between them what may pass.

    Args:
        reachable: Ports of the machine's loopback that every pod finds on its own.
        words: What makes a namespace (`pod_network.choose`); empty: pods share the machine's network.
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
