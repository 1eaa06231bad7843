# SPDX-License-Identifier: Apache-2.0
"""The processes of services: one each, replaced when a new revision listens, ended with the service.

An image is a command of this machine, as for pods. Unlike in life a service has one instance, which stays, and PORT is any free port.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping

from podpass.sandbox.google.run.forwarding import UpstreamError
from podpass.sandbox.google.run.instance import Instance
from podpass.sandbox.google.run.services import KIND, REVISION, STATUS, Place
from podpass.sandbox.google.universe import Universe
from podpass.sandbox.node.images import Images, find
from podpass.sandbox.node.processes import Order, StartError
from podpass.sandbox.store import Event, Json

_log = logging.getLogger(__name__)


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
