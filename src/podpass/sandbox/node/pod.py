# SPDX-License-Identifier: Apache-2.0
"""The life of one pod on this node: its sandbox, its containers, what the API server is told of them, and its end."""

import asyncio
import logging
import ssl

from podpass.clock import Clock
from podpass.errors import NeighbourError
from podpass.sandbox.cluster_client import STRATEGIC_PATCH, ClusterClient, Object, StatusError
from podpass.sandbox.node import images
from podpass.sandbox.node.containers import Container
from podpass.sandbox.node.events import Events
from podpass.sandbox.node.pod_containers import PodContainers
from podpass.sandbox.node.pod_network import ADDRESS, PodNetwork
from podpass.sandbox.node.pod_sandbox import PodSandbox
from podpass.sandbox.node.processes import Order
from podpass.sandbox.node.settings import NodeSettings
from podpass.sandbox.node.status import conditions, phase, phase_after_deletion, rfc3339

_DONE = frozenset({"Succeeded", "Failed"})
_NOT_FOUND, _CONFLICT, _INVALID = 404, 409, 422
_RETRY_S = 0.5
# How long processes have when the sandbox itself ends; a pod's own grace period is for its deletion.
_SHUTDOWN_GRACE_S = 2.0
_log = logging.getLogger(__name__)


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
        self._images = node.images
        self._client = client
        self._path = f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"
        self._started_at: str = pod.get("status", {}).get("startTime") or rfc3339(clock.now())
        self._phase: str = pod.get("status", {}).get("phase", "Pending")
        self._dirty, self._deleting = asyncio.Event(), asyncio.Event()
        self._gone = False
        self._sandbox = PodSandbox(pod, node, client, clock, self.events)
        self._containers = PodContainers(pod, self)
        self.update(pod)

    def container(self, name: str) -> Container | None:
        """Return the container of this name."""
        return self._containers.find(name)

    def update(self, pod: Object) -> None:
        """Take note of a newer form of the object."""
        self._object = pod
        self._sandbox.update(pod)
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
        return images.find(self._images, reference)

    async def order(self, container: Object, image: images.Image) -> Order:
        """Say what is to be started for `container`."""
        return await self._sandbox.order(container, image)

    async def connection(self, port: int, host: str, context: ssl.SSLContext | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to a port of the pod, or of another host."""
        return await self._sandbox.connection(port, host, context)

    @property
    def grace_s(self) -> float:
        """How long its containers have between being asked to end and being killed."""
        metadata, spec = self._object["metadata"], self._object["spec"]
        return float(metadata.get("deletionGracePeriodSeconds", spec.get("terminationGracePeriodSeconds", 30)))

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
                await self._containers.end(grace_s, told=self._deleting.is_set() and not self._gone)
            finally:  # the end of the sandbox cuts a long farewell short
                await self._containers.end(_SHUTDOWN_GRACE_S, told=False)
                await self._sandbox.remove()
        if not self._gone:
            await self._say_goodbye()

    async def _work(self) -> None:
        """Make the sandbox and run the containers; return when they are done for good."""
        if self._phase in _DONE:
            return
        self.changed()
        try:
            await self._sandbox.make()
            refresh = asyncio.create_task(self._sandbox.keep())
            try:
                await self._containers.run()
            finally:
                refresh.cancel()
            await self._containers.end(self.grace_s, told=True)
            await self._sandbox.remove()
        except Exception as error:  # noqa: BLE001 - a pod that this agent cannot run must not end the agent
            _log.exception("pod %s", self._path)
            await self.events.tell("FailedSync", f"error syncing pod: {error!r}", warning=True)

    async def _say_goodbye(self) -> None:
        """Write the last status and take the object away, as the node that it was waiting for."""
        if self._phase not in _DONE:
            self._phase = phase_after_deletion(self._containers.main)
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

    # The status.

    async def _push_changes(self) -> None:
        containers = self._containers
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            if self._phase not in _DONE:
                self._phase = phase(containers.policy, containers.ending_init, containers.main, containers.sidecars)
            await self._push()

    async def _push(self) -> None:
        """Write the status until the API server has it."""
        patch = {"metadata": {"uid": self.uid}, "status": self._status()}
        while not self._gone:
            try:
                self._object = await self._client.patch(f"{self._path}/status", patch, STRATEGIC_PATCH)
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

    def _status(self) -> Object:
        containers, network = self._containers, self._sandbox.network
        before = self._object.get("status", {}).get("conditions", [])
        main, init = containers.main, containers.init
        return {
            "phase": self._phase,
            "conditions": conditions(self._phase, containers.ending_init, main, before, self.clock.now(), containers.sidecars),
            "startTime": self._started_at,
            "hostIP": ADDRESS,
            "hostIPs": [{"ip": ADDRESS}],
            **(_addresses(network) if network else {}),
            "containerStatuses": main,
            **({"initContainerStatuses": init} if init else {}),
        }


def _addresses(network: PodNetwork) -> Object:
    # Replaced, since the list is merged by address and a node agent before this one may have given another.
    return {"podIP": network.address, "podIPs": [{"$patch": "replace"}, {"ip": network.address}]}
