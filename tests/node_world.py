# SPDX-License-Identifier: Apache-2.0
"""A cluster with one node agent, in a thread of its own: the built-in API server, or a real control plane."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from podpass.clock import SystemClock
from podpass.sandbox.binaries import cache_directory
from podpass.sandbox.ca import AuthorityCA
from podpass.sandbox.cluster import Cluster
from podpass.sandbox.cluster_client import ClusterClient
from podpass.sandbox.control_plane import ControlPlane
from podpass.sandbox.kubernetes.api import KubernetesApi
from podpass.sandbox.kubernetes.jobs import JobController
from podpass.sandbox.node import Image, NodeAgent
from podpass.sandbox.node.settings import Pace
from podpass.sandbox.settings import SandboxSettings
from pods import PATIENCE_S, SH, Pods

ClusterKind = Literal["built-in", "real"]
IMAGES = {SH: Image(SH, ("sh", "-c"), {"FROM_IMAGE": "yes"})}
PACE = Pace(sync_period=timedelta(milliseconds=100), back_off=timedelta(milliseconds=200))
_T = TypeVar("_T")


class ShiftedClock:
    """The machine's clock, moved by hand."""

    def __init__(self) -> None:
        self.shift = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.shift


class NodeWorld(Pods):
    """Enter it to have it run; requests are made as the cluster's administrator."""

    def __init__(self, kind: ClusterKind, directory: Path, **agent: Any) -> None:  # noqa: ANN401 - NodeAgent's own keywords
        self.kind = kind
        self.directory = directory
        self.clock = ShiftedClock()
        self.cluster: Cluster
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
        await asyncio.wait_for(agent.ready.wait(), 60)

    async def _stop_agent(self) -> None:
        await self._agents.aclose()

    def restart_agent(self) -> None:
        """End the node agent and start another one in its place."""
        self.run(self._stop_agent())
        self.run(self._start_agent())

    def follow(self, name: str, **query: str) -> Callable[[], str]:
        """Follow a pod's log; the result waits for its end and returns the whole."""
        work = self.client.text(f"/api/v1/namespaces/default/pods/{name}/log", follow="true", **query)
        asked = asyncio.run_coroutine_threadsafe(work, self._loop)
        return lambda: asked.result(PATIENCE_S)


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
