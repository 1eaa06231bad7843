# SPDX-License-Identifier: Apache-2.0
"""One container of a pod: its image, its runs, its restarts, its status."""

import asyncio
import contextlib
import signal
import ssl
import uuid
from collections.abc import Mapping
from dataclasses import replace
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
from podpass.sandbox.node.probes import Probe
from podpass.sandbox.node.processes import Order, Process, StartError
from podpass.sandbox.node.status import rfc3339

Policy = Literal["Always", "OnFailure", "Never"]
# Kubernetes documents 10 s, doubled up to 5 minutes, begun anew after 10 minutes without a failure; containerd's code for a command that
# cannot be started is 128.
_MOST_S, _CALM_S, _CANNOT_START = 300.0, 600.0, 128
_LOST = 137
_PROBES = {"Startup": "startupProbe", "Readiness": "readinessProbe", "Liveness": "livenessProbe"}


class ContainerHost(Protocol):
    """What a container needs of its pod."""

    clock: Clock
    events: Events
    back_off_s: float

    @property
    def grace_s(self) -> float:
        """How long it has between being asked to end and being killed."""
        ...

    def image(self, reference: str) -> Image | None:
        """Return the image of this name; None when there is none."""
        ...

    async def order(self, container: Object, image: Image) -> Order:
        """Say what is to be started."""
        ...

    async def connection(self, port: int, host: str, context: ssl.SSLContext | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to a port of the pod, or of another host."""
        ...

    def changed(self) -> None:
        """Learn that the container's status has changed."""
        ...


class Container:
    """A container of a pod; `run` lives its life as its restart policy wants it.

    An init container that is always restarted is a sidecar: it stays, and the next one waits only until it is up.
    """

    def __init__(self, spec: Object, policy: Policy, host: ContainerHost, *, init: bool, waits_for: str) -> None:
        self.name: str = spec["name"]
        self.state: Object = {"waiting": {"reason": waits_for}}
        self.log: ContainerLog | None = None
        self.previous_log: ContainerLog | None = None
        self.process: Process | None = None
        self.is_sidecar = init and policy == "Always"
        self.has_been_up = asyncio.Event()
        self._spec = spec
        self._policy = policy
        self._host = host
        self._ends = init and not self.is_sidecar
        self._probes = [Probe(kind, spec[name], self) for kind, name in _PROBES.items() if spec.get(name)]
        self._started = self._ready = False
        self._order: Order
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
            "ready": self.succeeded if self._ends else "running" in self.state and self._ready,
            "started": "running" in self.state and self._started,
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
        self._order = await self._order_for(image)
        self._restarts += 1 if self._id else 0
        self._id = f"podpass://{uuid.uuid4().hex}"
        self.log, self.previous_log = ContainerLog(), self.log
        self._started_at = self._host.clock.now()
        try:
            self.process = await Process.start(self._order, self.log, self._host.clock)
        except StartError as error:
            self.log.close(self._host.clock.now())
            self._terminated(_CANNOT_START, "StartError", str(error))
            await self._host.events.tell("Failed", f"Error: {error}", warning=True, container=self.name)
            return
        self.state = {"running": {"startedAt": rfc3339(self._started_at)}}
        watch = asyncio.create_task(self._watch(self.process))
        try:
            await self._host.events.tell("Started", f"Started container {self.name}", container=self.name)
            code = await self.process.wait()
        finally:
            watch.cancel()
        self._ended(code)

    async def _order_for(self, image: Image) -> Order:
        """Say what to start; wait for what a variable or a mount needs until it is there."""
        while True:
            try:
                return await self._host.order(self._spec, image)
            except (ContainerConfigError, MountError, NeighbourError) as error:
                self._waits("CreateContainerConfigError", str(error))
                await self._host.events.tell("Failed", f"Error: {error}", warning=True, container=self.name)
                await asyncio.sleep(min(1.0, self._host.back_off_s))

    # Its probes.

    async def _watch(self, process: Process) -> None:
        """Learn by its probes whether it has started, then whether it is ready and alive; without one, it is as soon as it runs."""
        by_kind = {probe.kind: probe for probe in self._probes}
        self._started = self._ready = False
        self._host.changed()
        if "Startup" in by_kind and not await self._is_up(by_kind["Startup"], process):
            return
        self._started, self._ready = True, "Readiness" not in by_kind
        self.has_been_up.set()
        self._host.changed()
        await asyncio.gather(*(self._heed(by_kind[kind], process) for kind in ("Readiness", "Liveness") if kind in by_kind))

    async def _is_up(self, probe: Probe, process: Process) -> bool:
        async with contextlib.aclosing(probe.verdicts()) as verdicts:
            async for good in verdicts:
                if not good:
                    await self._fail(probe, process)
                return good
        return False

    async def _heed(self, probe: Probe, process: Process) -> None:
        async with contextlib.aclosing(probe.verdicts()) as verdicts:
            async for good in verdicts:
                if probe.kind == "Readiness":
                    self._ready = good
                    self._host.changed()
                if not good:
                    await self._fail(probe, process)

    async def _fail(self, probe: Probe, process: Process) -> None:
        text = f"{probe.kind} probe failed: {probe.complaint}"
        await self._host.events.tell("Unhealthy", text, warning=True, container=self.name)
        if probe.kind != "Readiness":
            text = f"Container {self.name} failed {probe.kind.lower()} probe, will be restarted"
            await self._host.events.tell("Killing", text, container=self.name)
            await process.end(self._host.grace_s)

    # What a probe needs of its container (ProbeTarget).

    def port(self, port: int | str) -> int:
        """Return the number of a port that may be given by its name."""
        numbers = {row.get("name"): row["containerPort"] for row in self._spec.get("ports") or ()}
        if isinstance(port, str) and port not in numbers:
            raise OSError(f"couldn't find port: {port}")
        return int(numbers.get(port, port))

    async def connection(self, port: int, host: str, context: ssl.SSLContext | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to a port of the pod, or of another host."""
        return await self._host.connection(port, host, context)

    async def execute(self, command: list[str]) -> tuple[int, str]:
        """Run a command in the container; return its exit code and what it wrote."""
        log = ContainerLog()
        try:
            process = await Process.start(replace(self._order, argv=command), log, self._host.clock)
        except StartError as error:
            return _CANNOT_START, str(error)
        try:
            return await process.wait(), log.tail()
        finally:
            if not process.has_ended:
                process.signal(signal.SIGKILL)

    # Its end.

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
