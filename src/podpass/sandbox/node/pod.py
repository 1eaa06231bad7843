# SPDX-License-Identifier: Apache-2.0
"""The life of one pod on this node: volumes, init containers, containers, status, and its end."""

import asyncio
import logging
import shutil
import ssl
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from podpass.clock import Clock
from podpass.errors import NeighbourError
from podpass.sandbox.cluster_client import STRATEGIC_PATCH, ClusterClient, Object, StatusError
from podpass.sandbox.node import environment, images
from podpass.sandbox.node.containers import Container, Policy
from podpass.sandbox.node.events import Events
from podpass.sandbox.node.lease import Lease
from podpass.sandbox.node.mounts import CURE, Bind, MountError, Way, plan
from podpass.sandbox.node.networks import ADDRESS, NetworkError, NodeNetwork, PodNetwork
from podpass.sandbox.node.processes import Order
from podpass.sandbox.node.sources import PodSources
from podpass.sandbox.node.status import conditions, phase, phase_after_deletion, rfc3339
from podpass.sandbox.node.volumes import PodVolumes

_DONE = frozenset({"Succeeded", "Failed"})
_NOT_FOUND, _CONFLICT, _INVALID = 404, 409, 422
_RETRY_S, _LONGEST_RETRY_S = 0.5, 8.0
# How long processes have when the sandbox itself ends; a pod's own grace period is for its deletion.
_SHUTDOWN_GRACE_S = 2.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """How often volumes are brought up to date (kubelet's default is a minute), and the first pause before a restart."""

    sync_period: timedelta = timedelta(seconds=10)
    back_off: timedelta = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What all pods of a node share.

    Attributes:
        name: The node's name.
        images: What the containers' images stand for.
        environment: Variables of every container, below its own and its image's.
        workdir: The node agent's own directory.
        way: How volumes are laid; None until that is found out.
        network: Gives pods their networks.
        pace: The times of its work.
        hidden: Further directories that containers find empty.
        shown: Files in them that containers see none the less.
    """

    name: str
    images: images.Images
    environment: Mapping[str, str]
    workdir: Path
    way: Way | None
    network: NodeNetwork
    pace: Pace
    hidden: tuple[Path, ...] = ()
    shown: tuple[Path, ...] = ()


class Pod:
    """A pod that is bound to this node; `run` ends when the pod is gone."""

    def __init__(self, pod: Object, node: NodeSettings, client: ClusterClient, clock: Clock) -> None:
        self.uid: str = pod["metadata"]["uid"]
        self.namespace: str = pod["metadata"]["namespace"]
        self.name: str = pod["metadata"]["name"]
        self.clock = clock
        self.back_off_s = node.pace.back_off.total_seconds()
        self.events = Events(client, pod, node.name, clock)
        self._object = pod
        self._node = node
        self._client = client
        self._path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"
        self._directory = node.workdir / "pods" / self.uid
        self._sources = PodSources(client, pod, clock)
        self._volumes = PodVolumes(pod, self._directory / "volumes", self._sources)
        self._lease = Lease()
        self._network: PodNetwork | None = None
        self._policy: Policy = pod["spec"].get("restartPolicy", "Always")
        self._started_at: str = pod.get("status", {}).get("startTime") or rfc3339(clock.now())
        self._phase: str = pod.get("status", {}).get("phase", "Pending")
        self._dirty, self._deleting = asyncio.Event(), asyncio.Event()
        self._gone = False
        first = "PodInitializing" if pod["spec"].get("initContainers") else "ContainerCreating"
        once: Policy = "Never" if self._policy == "Never" else "OnFailure"
        self._init = [
            Container(spec, spec.get("restartPolicy", once), self, init=True, waits_for=first)
            for spec in pod["spec"].get("initContainers", [])
        ]
        self._main = [
            Container(spec, spec.get("restartPolicy", self._policy), self, init=False, waits_for=first)
            for spec in pod["spec"]["containers"]
        ]
        self._restore(pod.get("status", {}))
        self.update(pod)

    def _restore(self, status: Object) -> None:
        known = {entry["name"]: entry for entry in (*status.get("initContainerStatuses", []), *status.get("containerStatuses", []))}
        for container in (*self._init, *self._main):
            if container.name in known:
                container.restore(known[container.name])

    def container(self, name: str) -> Container | None:
        """Return the container of this name."""
        return next((container for container in (*self._init, *self._main) if container.name == name), None)

    def update(self, pod: Object) -> None:
        """Take note of a newer form of the object."""
        self._object = self._sources.pod = pod
        if "deletionTimestamp" in pod["metadata"]:
            self._deleting.set()

    def forget(self) -> None:
        """Take note that the object is gone."""
        self._gone = True
        self._deleting.set()

    # What a container needs of its pod (ContainerHost).

    def changed(self) -> None:
        """Have the status written."""
        self._dirty.set()

    def image(self, reference: str) -> images.Image | None:
        """Return the image of this name; None when there is none."""
        return images.find(self._node.images, reference)

    async def order(self, container: Object, image: images.Image) -> Order:
        """Say what is to be started for `container`."""
        home = self._directory / "home"
        home.mkdir(parents=True, exist_ok=True)
        base = {
            "PATH": f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(home),
            "HOSTNAME": self._object["spec"].get("hostname") or self._object["metadata"]["name"],
            **self._node.environment,
        }
        variables = await environment.variables(container, image, base, self._sources)
        in_root = self._node.way in {"bubblewrap", "unshare"}
        root = self._directory / "root"
        root.mkdir(exist_ok=True)
        shown = (Bind(path, str(path), read_only=True) for path in self._node.shown)
        binds = [*self._volumes.binds(container), Bind(home, str(home), read_only=False), *shown]
        return Order(
            argv=environment.command_line(container, image, variables),
            env=variables,
            cwd=container.get("workingDir") or "/",
            steps=plan(binds, hidden=self._hidden()) if in_root else [],
            root=root if self._node.way == "unshare" else None,
            bubblewrap=self._node.way == "bubblewrap",
            enter=self._network.enter if self._network else (),
        )

    async def connection(self, port: int, host: str, context: ssl.SSLContext | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect as kubelet does for a probe: to the pod's address, or from the machine to another one."""
        if host or self._network is None:
            return await asyncio.open_connection(host or ADDRESS, port, ssl=context)
        connected = await self._network.connect(port, self._network.address)
        return await asyncio.open_connection(sock=connected, ssl=context, server_hostname=ADDRESS if context else None)

    def _hidden(self) -> list[Path]:
        """Return what is to be empty, without what lies in another such directory."""
        every = (self._node.workdir, *self._node.hidden)
        return [path for path in every if path.is_dir() and not any(path != other and path.is_relative_to(other) for other in every)]

    # The life.

    async def run(self) -> None:
        """Live until the pod is deleted; when cancelled, end its processes and leave the object as it is."""
        work = asyncio.create_task(self._work())
        pusher = asyncio.create_task(self._push_changes())
        grace_s = _SHUTDOWN_GRACE_S
        try:
            await self._deleting.wait()
            grace_s = 0.0 if self._gone else self.grace_s
        finally:
            work.cancel()
            pusher.cancel()
            try:
                await asyncio.gather(work, pusher, return_exceptions=True)
                await self._end_processes(grace_s, told=self._deleting.is_set() and not self._gone)
            finally:  # the end of the sandbox cuts a long farewell short
                await self._end_processes(_SHUTDOWN_GRACE_S, told=False)
                await self._clean_up()
        if not self._gone:
            await self._say_goodbye()

    async def _clean_up(self) -> None:
        self._lease.release()
        shutil.rmtree(self._directory, ignore_errors=True)
        if self._network is not None:
            await self._node.network.detach(self._network)

    @property
    def grace_s(self) -> float:
        """How long its containers have between being asked to end and being killed."""
        metadata, spec = self._object["metadata"], self._object["spec"]
        return float(metadata.get("deletionGracePeriodSeconds", spec.get("terminationGracePeriodSeconds", 30)))

    async def _end_processes(self, grace_s: float, *, told: bool) -> None:
        """End what runs: the containers together, then the sidecars one by one, the last one first, in what is left of the time."""
        deadline = asyncio.get_running_loop().time() + grace_s
        sidecars = [[container] for container in reversed(self._init) if container.is_sidecar]
        for together in ([*(each for each in self._init if not each.is_sidecar), *self._main], *sidecars):
            running = [container for container in together if container.process is not None]
            for container in running if told else ():
                await self.events.tell("Killing", f"Stopping container {container.name}", container=container.name)
            left_s = max(deadline - asyncio.get_running_loop().time(), 0)
            await asyncio.gather(*(container.end(left_s) for container in running))

    async def _say_goodbye(self) -> None:
        """Write the last status and take the object away, as the node that it was waiting for."""
        if self._phase not in _DONE:
            self._phase = phase_after_deletion([container.status() for container in self._main])
        await self._push()
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}}
        while not self._gone:
            try:
                await self._client.delete(self._path, options)
            except StatusError as error:
                if error.status_code in {_NOT_FOUND, _CONFLICT}:
                    return
            except NeighbourError:
                pass
            else:
                return
            await asyncio.sleep(_RETRY_S)

    async def _work(self) -> None:
        """Lay the volumes and run the containers; return when they are done for good."""
        if self._phase in _DONE:
            return
        self.changed()
        try:
            await asyncio.gather(self._join_network(), self._lay_volumes())
            refresh = asyncio.create_task(self._keep_volumes())
            try:
                await self._run_containers()
            finally:
                refresh.cancel()
            await self._end_processes(self.grace_s, told=True)
            await self._clean_up()
        except Exception as error:  # noqa: BLE001 - a pod that this agent cannot run must not end the agent
            _log.exception("pod %s", self._path)
            await self.events.tell("FailedSync", f"error syncing pod: {error!r}", warning=True)

    async def _run_containers(self) -> None:
        """Run the containers to their end; sidecars are still running then, but not restarted any more."""
        sidecars = []
        async with asyncio.TaskGroup() as group:
            for container in self._init:
                if container.is_sidecar:
                    sidecars.append(group.create_task(container.run()))
                    await container.has_been_up.wait()
                elif not await container.run():
                    break
            else:
                await self._run_main()
            for sidecar in sidecars:
                sidecar.cancel()

    async def _run_main(self) -> None:
        for container in self._main:
            if container.state.get("waiting", {}).get("reason") == "PodInitializing":
                container.state = {"waiting": {"reason": "ContainerCreating"}}
        await asyncio.gather(*(container.run() for container in self._main))

    async def _join_network(self) -> None:
        delay_s = _RETRY_S
        while True:
            try:
                self._network = await self._node.network.attach(self._object["spec"])
            except NetworkError as error:
                await self.events.tell("FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}", warning=True)
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, _LONGEST_RETRY_S)
            else:
                self._sources.address = self._network.address
                return

    async def _lay_volumes(self) -> None:
        delay_s = _RETRY_S
        while True:
            try:
                await self._volumes.write()
                self._take_paths([bind for spec in self._specs() for bind in self._volumes.binds(spec)])
            except (MountError, NeighbourError) as error:
                await self.events.tell("FailedMount", str(error), warning=True)
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, _LONGEST_RETRY_S)
            else:
                return

    def _take_paths(self, binds: list[Bind]) -> None:
        if binds and self._node.way == "none":
            raise MountError("This machine has no way to lay a volume at a path of a pod.", "", CURE)
        if self._node.way == "lease":
            self._lease.take(binds)

    def _specs(self) -> list[Object]:
        spec = self._object["spec"]
        return [*spec.get("initContainers", []), *spec["containers"]]

    async def _keep_volumes(self) -> None:
        while True:
            await asyncio.sleep(self._node.pace.sync_period.total_seconds())
            try:
                await self._volumes.write()
            except MountError as error:
                await self.events.tell("FailedMount", str(error), warning=True)

    # The status.

    async def _push_changes(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            if self._phase not in _DONE:
                self._phase = phase(self._policy, *self._statuses())
            await self._push()

    def _statuses(self) -> tuple[list[Object], list[Object], list[Object]]:
        """Return the statuses of the init containers that end, of the containers, and of the sidecars."""
        init = [container.status() for container in self._init if not container.is_sidecar]
        sidecars = [container.status() for container in self._init if container.is_sidecar]
        return init, [container.status() for container in self._main], sidecars

    async def _push(self) -> None:
        """Write the status until the API server has it."""
        init, main, sidecars = self._statuses()
        before = self._object.get("status", {}).get("conditions", [])
        in_order = [container.status() for container in self._init]
        status = {
            "phase": self._phase,
            "conditions": conditions(self._phase, init, main, before, self.clock.now(), sidecars),
            "startTime": self._started_at,
            "hostIP": ADDRESS,
            "hostIPs": [{"ip": ADDRESS}],
            **(_addresses(self._network) if self._network else {}),
            "containerStatuses": main,
            **({"initContainerStatuses": in_order} if in_order else {}),
        }
        while not self._gone:
            try:
                self._object = await self._client.patch(
                    f"{self._path}/status", {"metadata": {"uid": self.uid}, "status": status}, STRATEGIC_PATCH
                )
            except StatusError as error:
                if error.status_code == _NOT_FOUND:
                    return
                _log.warning("the status of %s was refused: %s", self._path, error)
                if error.status_code == _INVALID:
                    return
            except NeighbourError as error:
                _log.debug("the status of %s is not written yet: %s", self._path, error)
            else:
                return
            await asyncio.sleep(_RETRY_S)


def _addresses(network: PodNetwork) -> Object:
    # Replaced, since the list is merged by address and a node agent before this one may have given another.
    return {"podIP": network.address, "podIPs": [{"$patch": "replace"}, {"ip": network.address}]}
