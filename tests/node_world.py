# SPDX-License-Identifier: Apache-2.0
"""A cluster with one node agent, in a thread of its own: the built-in API server, or a real control plane."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from podpass.clock import SystemClock
from podpass.sandbox.binaries import cache_directory
from podpass.sandbox.ca import AuthorityCA
from podpass.sandbox.cluster import Cluster
from podpass.sandbox.cluster_client import ClusterClient, Object, StatusError
from podpass.sandbox.control_plane import ControlPlane
from podpass.sandbox.kubernetes.api import KubernetesApi
from podpass.sandbox.kubernetes.jobs import JobController
from podpass.sandbox.node import Image, NodeAgent
from podpass.sandbox.node.pod import Pace
from podpass.sandbox.settings import SandboxSettings

ClusterKind = Literal["built-in", "real"]
IMAGES = {name: Image(name, ("sh", "-c"), {"FROM_IMAGE": "yes"}) for name in ("podpass.dev/test/sh",)}
SH = "podpass.dev/test/sh"
PACE = Pace(sync_period=timedelta(milliseconds=100), back_off=timedelta(milliseconds=200))
_PATIENCE_S = 20.0
_T = TypeVar("_T")


class ShiftedClock:
    """The machine's clock, moved by hand."""

    def __init__(self) -> None:
        self.shift = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.shift


class NodeWorld:
    """Enter it to have it run; requests are made as the cluster's administrator."""

    def __init__(self, kind: ClusterKind, directory: Path, **agent: Any) -> None:  # noqa: ANN401 - NodeAgent's own keywords
        self.kind = kind
        self.directory = directory
        self.clock = ShiftedClock()
        self.cluster: Cluster
        self.client: ClusterClient
        self._agent_options = {"pace": PACE, "clock": self.clock, **agent}
        self._agents: contextlib.AsyncExitStack
        self._loop = asyncio.new_event_loop()
        self._stack = contextlib.AsyncExitStack()
        self._thread = threading.Thread(target=self._loop.run_forever, name="node-world")

    def __enter__(self) -> Self:
        self._thread.start()
        self.run(self._up())
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.run(self._stack.aclose())
        finally:
            self.run(_end_other_tasks())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def _up(self) -> None:
        settings = SandboxSettings(key_type="p256")
        authority = AuthorityCA(self.directory / "ca")
        if self.kind == "real":
            self.cluster = ControlPlane(cache_directory(), settings, authority)
        else:
            self.cluster = KubernetesApi(settings, authority, SystemClock())
        self._stack.push_async_callback(self.cluster.stop)
        await self.cluster.start()
        self.client = await self._stack.enter_async_context(ClusterClient(self.cluster.admin_kubeconfig(), agent="test"))
        if self.kind == "built-in":
            await self._stack.enter_async_context(_working(JobController(self.cluster.controller_kubeconfig()).run()))
        await self._start_agent()
        self._stack.push_async_callback(self._stop_agent)

    async def _start_agent(self) -> None:
        agent = NodeAgent(self.cluster.node_kubeconfig(), IMAGES, {"FROM_NODE": "yes"}, self.directory / "node", **self._agent_options)
        agent.hide(self.directory / "secrets", self.directory / "ca", but=self.directory / "ca" / "ca.crt")
        self._agents = contextlib.AsyncExitStack()
        await self._agents.enter_async_context(_working(agent.run()))
        await asyncio.wait_for(agent.ready.wait(), 10)

    async def _stop_agent(self) -> None:
        await self._agents.aclose()

    def restart_agent(self) -> None:
        """End the node agent and start another one in its place."""
        self.run(self._stop_agent())
        self.run(self._start_agent())

    def make(self, kind: str, name: str, **content: Any) -> Object:  # noqa: ANN401 - JSON
        """Create an object of the namespace `default`."""
        path = "/apis/batch/v1/namespaces/default/jobs" if kind == "jobs" else f"/api/v1/namespaces/default/{kind}"
        return self.run(self.client.post(path, {"metadata": {"name": name, **content.pop("metadata", {})}, **content}))

    def make_pod(self, name: str, script: str, *, container: Object | None = None, metadata: Object | None = None, **spec: Any) -> None:  # noqa: ANN401 - JSON
        """Create a pod with one container, `main`, that runs a shell script."""
        main = {"name": "main", "image": SH, "args": [script], **(container or {})}
        self.make("pods", name, metadata=metadata or {}, spec={"containers": [main], "restartPolicy": "Never", **spec})

    def pod(self, name: str) -> Object:
        return self.run(self.client.get(f"/api/v1/namespaces/default/pods/{name}"))

    def delete_pod(self, name: str, grace_s: int | None = None) -> None:
        options = None if grace_s is None else {"gracePeriodSeconds": grace_s}
        self.run(self.client.delete(f"/api/v1/namespaces/default/pods/{name}", options))

    def is_gone(self, name: str) -> bool:
        try:
            self.pod(name)
        except StatusError as error:
            return error.status_code == 404
        return False

    def log(self, name: str, **query: str) -> str:
        return self.run(self.client.text(f"/api/v1/namespaces/default/pods/{name}/log", **query))

    def log_or_nothing(self, name: str) -> str:
        """Return what a pod has said so far, if it says anything yet."""
        try:
            return self.log(name)
        except StatusError:
            return ""

    def follow(self, name: str) -> Callable[[], str]:
        """Follow a pod's log; the result waits for its end and returns the whole."""
        asked = asyncio.run_coroutine_threadsafe(self.client.text(f"/api/v1/namespaces/default/pods/{name}/log", follow="true"), self._loop)
        return lambda: asked.result(_PATIENCE_S)

    def ended(self, name: str) -> Object:
        """Wait until a pod has ended; return it."""
        return self.until(lambda: self.pod(name), lambda pod: pod["status"]["phase"] in {"Succeeded", "Failed"})

    def output(self, name: str) -> str:
        """Wait until a pod has succeeded; return what it wrote."""
        phase = self.ended(name)["status"]["phase"]
        assert phase == "Succeeded", f"{name} is {phase}: {self.log(name)}"
        return self.log(name)

    def events(self, name: str) -> Mapping[str, str]:
        """Return the messages of a pod's events by reason."""
        found = self.run(self.client.get("/api/v1/namespaces/default/events"))["items"]
        return {event["reason"]: event["message"] for event in found if event["involvedObject"]["name"] == name}

    @staticmethod
    def until(get: Callable[[], _T], holds: Callable[[_T], object]) -> _T:
        """Ask again and again until the answer is as wanted."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            value = get()
            if holds(value):
                return value
            assert time.monotonic() < deadline, f"not within {_PATIENCE_S:.0f} s; the last answer was {value}"
            time.sleep(0.05)


async def _end_other_tasks() -> None:
    """Do what `asyncio.run` does at its end: connections that were just being accepted have tasks of their own."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


@contextlib.asynccontextmanager
async def _working(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
