# SPDX-License-Identifier: Apache-2.0
"""What Kubernetes calls the sandbox of a pod: the network, the volumes and the directories that its containers start in."""

import asyncio
import shutil
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path

from podpass.clock import Clock
from podpass.errors import NeighbourError
from podpass.sandbox.cluster_client import ClusterClient, Object
from podpass.sandbox.node import environment
from podpass.sandbox.node.events import Events
from podpass.sandbox.node.images import Image
from podpass.sandbox.node.lease import Lease
from podpass.sandbox.node.mounts import CURE, Bind, MountError, plan
from podpass.sandbox.node.pod_network import ADDRESS, NetworkError, PodNetwork
from podpass.sandbox.node.processes import Order
from podpass.sandbox.node.settings import NodeSettings
from podpass.sandbox.node.sources import PodSources
from podpass.sandbox.node.volumes import PodVolumes

_RETRY_S, _LONGEST_RETRY_S = 0.5, 8.0
_PATH = f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class PodSandbox:
    """One pod's: made before its containers run, kept up to date while they do, removed when they have ended."""

    def __init__(self, pod: Object, node: NodeSettings, client: ClusterClient, clock: Clock, events: Events) -> None:
        self.network: PodNetwork | None = None
        self._node = node
        self._events = events
        self._directory = node.workdir / "pods" / pod["metadata"]["uid"]
        self._sources = PodSources(client, pod, clock)
        self._volumes = PodVolumes(pod, self._directory / "volumes", self._sources)
        self._lease = Lease()

    def update(self, pod: Object) -> None:
        """Take note of a newer form of the pod."""
        self._sources.pod = pod

    async def make(self) -> None:
        """Join a network and lay the volumes, however often that has to be tried."""
        await asyncio.gather(self._join_network(), self._lay_volumes())

    async def keep(self) -> None:
        """Bring the volumes up to date now and then, until cancelled."""
        while True:
            await asyncio.sleep(self._node.pace.sync_period.total_seconds())
            try:
                await self._volumes.write()
            except MountError as error:
                await self._events.tell("FailedMount", str(error), warning=True)

    async def remove(self) -> None:
        """Give back and take away what was made; twice does no harm."""
        self._lease.release()
        shutil.rmtree(self._directory, ignore_errors=True)
        if self.network is not None:
            await self._node.network.detach(self.network)

    async def order(self, container: Object, image: Image) -> Order:
        """Say what is to be started for `container`.

        Raises:
            ContainerConfigError: A variable has no value.
            MountError: A mount names no volume, or leaves it.
        """
        home = self._directory / "home"
        home.mkdir(parents=True, exist_ok=True)
        root = self._directory / "root"
        root.mkdir(exist_ok=True)
        variables = await environment.variables(container, image, self._variables(home), self._sources)
        return Order(
            argv=environment.command_line(container, image, variables),
            env=variables,
            cwd=container.get("workingDir") or "/",
            steps=plan(self._binds(container, home), hidden=self._hidden()) if self._node.way in {"bubblewrap", "unshare"} else [],
            root=root if self._node.way == "unshare" else None,
            bubblewrap=self._node.way == "bubblewrap",
            enter=self.network.enter if self.network else (),
        )

    def _variables(self, home: Path) -> dict[str, str]:
        """Return the variables that every container of the pod has, unless it has others."""
        pod = self._sources.pod
        return {
            "PATH": _PATH,
            "HOME": str(home),
            "HOSTNAME": pod["spec"].get("hostname") or pod["metadata"]["name"],
            **self._node.environment,
        }

    def _binds(self, container: Object, home: Path) -> list[Bind]:
        shown = (Bind(path, str(path), read_only=True) for path in self._node.shown)
        return [*self._volumes.binds(container), Bind(home, str(home), read_only=False), *shown]

    def _hidden(self) -> list[Path]:
        """Return what is to be empty, without what lies in another such directory."""
        every = (self._node.workdir, *self._node.hidden)
        return [path for path in every if path.is_dir() and not any(path != other and path.is_relative_to(other) for other in every)]

    async def connection(self, port: int, host: str, context: ssl.SSLContext | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect as kubelet does for a probe: to the pod's address, or from the machine to another one."""
        if host or self.network is None:
            return await asyncio.open_connection(host or ADDRESS, port, ssl=context)
        connected = await self.network.connect(port, self.network.address)
        return await asyncio.open_connection(sock=connected, ssl=context, server_hostname=ADDRESS if context else None)

    async def _join_network(self) -> None:
        for pause_s in _pauses():
            try:
                self.network = await self._node.network.attach(self._sources.pod["spec"])
            except NetworkError as error:
                await self._events.tell("FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}", warning=True)
                await asyncio.sleep(pause_s)
            else:
                self._sources.address = self.network.address
                return

    async def _lay_volumes(self) -> None:
        spec = self._sources.pod["spec"]
        containers = [*spec.get("initContainers", []), *spec["containers"]]
        for pause_s in _pauses():
            try:
                await self._volumes.write()
                self._take_paths([bind for container in containers for bind in self._volumes.binds(container)])
            except (MountError, NeighbourError) as error:
                await self._events.tell("FailedMount", str(error), warning=True)
                await asyncio.sleep(pause_s)
            else:
                return

    def _take_paths(self, binds: list[Bind]) -> None:
        if binds and self._node.way == "none":
            raise MountError("This machine has no way to lay a volume at a path of a pod.", "", CURE)
        if self._node.way == "lease":
            self._lease.take(binds)


def _pauses() -> Iterator[float]:
    """Yield the pauses between tries, in seconds, without end."""
    pause_s = _RETRY_S
    while True:
        yield pause_s
        pause_s = min(pause_s * 2, _LONGEST_RETRY_S)
