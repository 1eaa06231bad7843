# SPDX-License-Identifier: Apache-2.0
"""One container of a pod: its image, its runs, its restarts, its status."""

import asyncio
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Literal, Protocol

from podpass.clock import Clock
from podpass.errors import NeighbourError
from podpass.sandbox.cluster_client import Object
from podpass.sandbox.node.environment import ContainerConfigError
from podpass.sandbox.node.events import Events
from podpass.sandbox.node.images import Image
from podpass.sandbox.node.logs import ContainerLog
from podpass.sandbox.node.mounts import MountError
from podpass.sandbox.node.processes import Order, Process, StartError
from podpass.sandbox.node.status import rfc3339

Policy = Literal["Always", "OnFailure", "Never"]
# Kubernetes documents 10 s, doubled up to 5 minutes, begun anew after 10 minutes without a failure; containerd's code for a command that
# cannot be started is 128.
_MOST_S, _CALM_S, _CANNOT_START = 300.0, 600.0, 128
_LOST = 137


class ContainerHost(Protocol):
    """What a container needs of its pod."""

    clock: Clock
    events: Events
    back_off_s: float

    def image(self, reference: str) -> Image | None:
        """Return the image of this name; None when there is none."""
        ...

    async def order(self, container: Object, image: Image) -> Order:
        """Say what is to be started."""
        ...

    def changed(self) -> None:
        """Learn that the container's status has changed."""
        ...


class Container:
    """A container of a pod; `run` lives its life as the pod's restart policy wants it."""

    def __init__(self, spec: Object, policy: Policy, host: ContainerHost, *, init: bool, waits_for: str) -> None:
        self.name: str = spec["name"]
        self.state: Object = {"waiting": {"reason": waits_for}}
        self.log: ContainerLog | None = None
        self.previous_log: ContainerLog | None = None
        self.process: Process | None = None
        self._spec = spec
        self._policy = policy
        self._host = host
        self._init = init
        self._last_state: Object = {}
        self._restarts = 0
        self._id = ""
        self._started_at = host.clock.now()
        self._delay_s = 0.0

    @property
    def succeeded(self) -> bool:
        """Whether its last run ended with code 0."""
        return bool(self.state.get("terminated", {}).get("exitCode") == 0)

    def status(self) -> Object:
        """Return the container's status as the API has it."""
        return {
            "name": self.name,
            "image": self._spec.get("image", ""),
            "imageID": f"podpass://{self._spec.get('image', '')}" if self._id else "",
            "ready": self.succeeded if self._init else "running" in self.state,
            "started": "running" in self.state,
            "restartCount": self._restarts,
            "state": self.state,
            "lastState": self._last_state,
            **({"containerID": self._id} if self._id else {}),
        }

    def restore(self, status: Mapping[str, Object]) -> None:
        """Take over from a node agent that is gone: what ran then is lost, what had ended stays so."""
        self._restarts = int(str(status.get("restartCount", 0)))
        self._last_state = status.get("lastState") or {}
        self._id = str(status.get("containerID", ""))
        state = status.get("state") or {}
        if "terminated" in state:
            self.state = state
        elif "running" in state:
            message = "The container could not be located when the node agent came up again"
            self._terminated(_LOST, "ContainerStatusUnknown", message)

    async def run(self) -> bool:
        """Run it, again as long as the policy wants that; return whether it ended well. A restored one that is done is left alone."""
        while True:
            if "terminated" in self.state:
                if self._policy == "Never" or (self.succeeded and self._policy == "OnFailure"):
                    return self.succeeded
                await self._back_off()
            image = await self._pull()
            await self._run_once(image)

    async def _pull(self) -> Image:
        reference = self._spec.get("image", "")
        failed = f'Failed to pull image "{reference}": the sandbox maps no command to this name'
        delay_s = self._host.back_off_s
        while True:
            image = self._host.image(reference)
            if image is not None:
                await self._host.events.tell("Pulled", f'Container image "{reference}" already present on machine', container=self.name)
                return image
            await self._host.events.tell("Failed", failed, warning=True, container=self.name)
            self._waits("ErrImagePull", failed)
            await asyncio.sleep(min(1.0, delay_s))
            back_off = f'Back-off pulling image "{reference}"'
            await self._host.events.tell("BackOff", back_off, container=self.name)
            self._waits("ImagePullBackOff", back_off)
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, _MOST_S)

    async def _run_once(self, image: Image) -> None:
        order = await self._order(image)
        self._restarts += 1 if self._id else 0
        self._id = f"podpass://{uuid.uuid4().hex}"
        self.log, self.previous_log = ContainerLog(), self.log
        self._started_at = self._host.clock.now()
        try:
            self.process = await Process.start(order, self.log, self._host.clock)
        except StartError as error:
            self.log.close(self._host.clock.now())
            self._terminated(_CANNOT_START, "StartError", str(error))
            await self._host.events.tell("Failed", f"Error: {error}", warning=True, container=self.name)
            return
        self.state = {"running": {"startedAt": rfc3339(self._started_at)}}
        self._host.changed()
        await self._host.events.tell("Started", f"Started container {self.name}", container=self.name)
        self._ended(await self.process.wait())

    async def _order(self, image: Image) -> Order:
        """Say what to start; wait for what a variable or a mount needs until it is there."""
        while True:
            try:
                return await self._host.order(self._spec, image)
            except (ContainerConfigError, MountError, NeighbourError) as error:
                self._waits("CreateContainerConfigError", str(error))
                await self._host.events.tell("Failed", f"Error: {error}", warning=True, container=self.name)
                await asyncio.sleep(min(1.0, self._host.back_off_s))

    def _ended(self, code: int) -> None:
        self.process = None
        self._terminated(code, "Error" if code else "Completed", "")

    async def end(self, grace_s: float) -> None:
        """End its process; `run` must have been cancelled before."""
        if self.process is not None:
            self._ended(await self.process.end(grace_s))

    def _terminated(self, code: int, reason: str, message: str) -> None:
        times = {"startedAt": rfc3339(self._started_at), "finishedAt": rfc3339(self._host.clock.now())}
        words = {"message": message} if message else {}
        self.state = {"terminated": {"exitCode": code, "reason": reason, "containerID": self._id, **times, **words}}
        self._host.changed()

    def _waits(self, reason: str, message: str) -> None:
        self.state = {"waiting": {"reason": reason, "message": message}}
        self._host.changed()

    async def _back_off(self) -> None:
        """Wait before a restart: not at all before the first one, then longer each time."""
        self._last_state = self.state
        ran: datetime = self._host.clock.now()
        if (ran - self._started_at).total_seconds() >= _CALM_S:
            self._delay_s = 0.0
        if self._delay_s:
            text = f"back-off {self._delay_s:.0f}s restarting failed container={self.name}"
            self._waits("CrashLoopBackOff", text)
            await self._host.events.tell("BackOff", text, warning=True, container=self.name)
            await asyncio.sleep(self._delay_s)
        self._delay_s = min(self._delay_s * 2, _MOST_S) or self._host.back_off_s
