# SPDX-License-Identifier: Apache-2.0
"""The processes of services: one each, replaced when a new revision listens, restarted when it ends by itself, ended with the service.

An image is a command of this machine, as for pods. Unlike in life a service has one instance, which stays, and PORT is any free port.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping

from podpass.sandbox.google.run.forwarding import UpstreamError
from podpass.sandbox.google.run.services import KIND, REVISION, STATUS, Place
from podpass.sandbox.google.universe import Universe
from podpass.sandbox.node.images import Images, find
from podpass.sandbox.node.logs import ContainerLog
from podpass.sandbox.node.processes import Order, Process, StartError
from podpass.sandbox.store import Event, Json

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


class _Service:
    """What runs for one service: the instance that serves, and the one that is to."""

    def __init__(self, key: str, universe: Universe) -> None:
        self._key, self._universe = key, universe
        self.serving: Instance | None = None
        self.coming: Instance | None = None
        self._draining: set[Instance] = set()
        self._leaving: set[asyncio.Task[None]] = set()

    def begin(self, revision: str, order: Callable[[int], Order]) -> None:
        """Start a revision; the one before serves until this one listens."""
        if self.coming:
            self._leave(self.coming.stop())
        self.coming = Instance(revision, order, self._changed, self._universe)
        self._note(self.coming)

    async def _drain(self, instance: Instance) -> None:
        self._draining.add(instance)
        await instance.drain()
        self._draining.discard(instance)

    def _leave(self, leaving: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(leaving)
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    def _changed(self, instance: Instance) -> None:
        if instance is self.coming and instance.state == "ready":
            if self.serving:
                self._leave(self._drain(self.serving))
            self.serving, self.coming = instance, None
        if instance is self.coming or (instance is self.serving and self.coming is None):
            self._note(instance)

    def _note(self, instance: Instance) -> None:
        now = self._universe.clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        words = {"reason": "HealthCheckContainerError", "message": instance.message} if instance.message else {}
        state = "failed" if instance.state == "crashed" else instance.state
        serving = self.serving.revision if self.serving else None
        told: Json = {"revision": instance.revision, "state": state, "serving": serving, "since": now, **words}
        self._universe.store.put(STATUS, self._key, told)

    async def stop(self) -> None:
        """End all of it."""
        self._universe.store.delete(STATUS, self._key)  # first: another service may have the key before this one has ended
        for instance in (self.coming, self.serving, *self._draining):
            if instance:
                self._leave(instance.stop())
        self.coming = self.serving = None
        await asyncio.gather(*self._leaving)


class Instances:
    """Keep a process for each service of a universe.

    Args:
        universe: Whose services.
        images: What they may run.
        environment: The variables that every process gets: the way through the proxy, and the authority.
    """

    def __init__(self, universe: Universe, images: Images, environment: Mapping[str, str]) -> None:
        self._universe, self._images = universe, images
        self._environment = environment
        self._services: dict[str, _Service] = {}
        self._ending: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the services that are there, and follow changes until the end."""
        loop, store = asyncio.get_running_loop(), self._universe.store

        def follow(event: Event) -> None:
            if event.record.kind == KIND:
                loop.call_soon_threadsafe(self._follow, event.record.key)

        with store.listening(follow):
            for record in store.select(KIND):
                self._follow(record.key)
            try:
                yield
            finally:
                ends = [service.stop() for service in self._services.values()]
                await asyncio.gather(*ends, *self._ending)

    @contextlib.contextmanager
    def at_work(self, key: str) -> Iterator[int]:
        """Keep the process that serves a service now until a request is answered; yield its port.

        Raises:
            UpstreamError: The service has no process that listens.
        """
        service = self._services.get(key)
        instance = service.serving if service else None
        if instance is None or instance.port is None:
            raise UpstreamError(503, f"{key} has no process that listens.")
        with instance.at_work():
            yield instance.port

    def logs(self) -> Json:
        """Return what the newest process of each service has written, by `project/region/name`."""
        newest = {key: service.coming or service.serving for key, service in self._services.items()}
        return {key: instance.log.tail(1 << 20) for key, instance in newest.items() if instance}

    def _follow(self, key: str) -> None:
        record = self._universe.store.get(KIND, key)
        if record is None:
            if service := self._services.pop(key, None):
                task = asyncio.create_task(service.stop())
                self._ending.add(task)
                task.add_done_callback(self._ending.discard)
            return
        service = self._services.setdefault(key, _Service(key, self._universe))
        newest, revision = service.coming or service.serving, record.value["revision"]
        if newest is None or newest.revision != revision:
            service.begin(revision, lambda port: self._order(Place.of(key), revision, port))

    def _order(self, place: Place, revision: str, port: int) -> Order:
        record = self._universe.store.get(REVISION, f"{place.project}/{place.region}/{revision}")
        if record is None:
            raise StartError(f"The revision {revision} is gone.")
        (container,) = record.value["template"]["spec"]["containers"]
        image = find(self._images, container["image"])
        if image is None:
            raise StartError(f"Image '{container['image']}' not found: the sandbox maps no command to this name.")
        own = {each["name"]: str(each.get("value", "")) for each in container.get("env") or ()}
        system = {"PORT": str(port), "K_SERVICE": place.name, "K_REVISION": revision, "K_CONFIGURATION": place.name}
        argv = [*(container.get("command") or image.command), *(container.get("args") or ())]
        base = {"PATH": os.environ.get("PATH", os.defpath), **self._environment}
        return Order(argv, {**base, **image.env, **own, **system}, "/", (), None, bubblewrap=False)


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
