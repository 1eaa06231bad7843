# SPDX-License-Identifier: Apache-2.0
"""A whole sandbox: started, entered, stopped. `Sandbox` lives in the running event loop, `HostedSandbox` in a thread of its own.

Parts are imported when they are started, so that a sandbox without a cluster does not pay for one. What was started is stopped in reverse,
also when a later part fails to start.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import tempfile
import threading
from collections.abc import AsyncIterator, Coroutine, Mapping
from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from podpass.clock import Clock, SystemClock
from podpass.sandbox.admin import AdminApp, dump_of
from podpass.sandbox.ca import GOOGLE_NAMES, AuthorityCA
from podpass.sandbox.cluster import Cluster
from podpass.sandbox.environment import hosts_of, inside, logged_in
from podpass.sandbox.faults_file import parse
from podpass.sandbox.google.catalogue import SERVICES
from podpass.sandbox.google.dispatcher import Dispatcher
from podpass.sandbox.google.oauth import refresh_token
from podpass.sandbox.google.run.addresses import SERVED_NAMES
from podpass.sandbox.google.run.front_door import FrontDoor
from podpass.sandbox.google.run.instances import Instances
from podpass.sandbox.google.universe import Universe
from podpass.sandbox.listener import Listener
from podpass.sandbox.node import lease
from podpass.sandbox.node.images import Image
from podpass.sandbox.proxy import Proxy
from podpass.sandbox.settings import SandboxSettings
from podpass.sandbox.store import Json
from podpass.sandbox.weather.faults import Faults
from podpass.sandbox.weather.weather import Weather

_TEMPORARY = "podpass-sandbox-"
_log = logging.getLogger(__name__)
_T = TypeVar("_T")
# What of a state directory is not a pod's to see.
_PRIVATE = ("ca", "control-plane", "google", "kubernetes")


class Sandbox:
    """A universe with its doors: Google behind the proxy, a cluster with a node, and the admin API.

    Args:
        settings: Its shape.
        images: The images that its node can run, by name.
        with_cluster: Whether Kubernetes' side is started at all.
        clock: The present moment.
        faults: What goes wrong, from when it is up.
    """

    def __init__(
        self,
        settings: SandboxSettings | None = None,
        *,
        images: Mapping[str, Image] | None = None,
        with_cluster: bool = True,
        clock: Clock | None = None,
        faults: Faults | None = None,
    ) -> None:
        self.settings = settings or SandboxSettings()
        self._images = dict(images or {})
        self._with_cluster = with_cluster and self.settings.kubeconfig is None
        self._clock: Clock = clock or SystemClock()
        self._faults = faults
        self._stack = contextlib.AsyncExitStack()
        self._inside: dict[str, str] = {}
        self._logged_in: dict[str, str] = {}
        self.cluster: Cluster | None = None
        self.universe: Universe
        self.instances: Instances

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            lease.sweep(Path(tempfile.gettempdir()), _TEMPORARY)
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=_TEMPORARY, ignore_cleanup_errors=True)))
            stack.callback(os.close, lease.lock(directory))  # from now on, so that one that is killed while it starts is swept, too
            if self.settings.state_dir:  # two sandboxes would write one journal
                self.settings.state_dir.mkdir(parents=True, exist_ok=True)
                stack.callback(os.close, lease.lock(self.settings.state_dir))
            weather = Weather(self._clock)
            self.universe = Universe(self.settings, self._clock, weather)
            stack.callback(self.universe.close)
            authority = AuthorityCA((self.settings.state_dir or directory) / "ca")
            self.instances = Instances(self.universe, self._images, self._inside)
            proxy = await stack.enter_async_context(_proxied(self.universe, self.instances, authority, directory))
            self._inside |= inside(proxy.url, authority.path, hosts_of(self.settings.kubeconfig))
            await stack.enter_async_context(self.instances.running())
            if self._with_cluster:
                self.cluster = await stack.enter_async_context(_clustered(self.settings, authority, self._clock, weather))
                await self._staff(stack, self.cluster, directory, authority.path)
            operator = refresh_token(self.universe.tokens, self.settings.operator)
            kubeconfig = self.cluster.admin_kubeconfig() if self.cluster else None
            admin = await stack.enter_async_context(_administered(self))
            self._logged_in = {**logged_in(directory, self.settings, authority.path, operator, kubeconfig), **admin}
            if self._faults:
                self.universe.change_weather(self._faults)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._stack.__aexit__(kind, error, trace)

    def environment(self) -> dict[str, str]:
        """Return the variables of a process of the logged-in user; they go on top of the process' own."""
        return {**self._inside, **self._logged_in}

    def pod_environment(self) -> dict[str, str]:
        """Return the variables of a pod's process: the way out and the authority, no credentials."""
        return dict(self._inside)

    async def dump(self) -> Json:
        """Return everything that was declared, on both sides, in a stable form."""
        return await dump_of(self.universe, self.cluster)

    async def change_faults(self, raw: bytes | None) -> None:
        """Put the faults of a file's bytes into effect in place of those so far, as of now; None ends them.

        Raises:
            FaultsFileError: Anything in the file is wrong.
        """
        kubernetes = self._with_cluster and self.settings.control_plane is None
        self.universe.change_weather(Faults() if raw is None else parse(raw, Path("faults"), kubernetes=kubernetes))

    async def _staff(self, stack: contextlib.AsyncExitStack, cluster: Cluster, directory: Path, authority: Path) -> None:
        """Set the node agent to work and, beside the built-in API server, the job controller; return when the node is ready."""
        if self.settings.control_plane is None:
            from podpass.sandbox.kubernetes.jobs import JobController  # noqa: PLC0415 - see the module's docstring

            await stack.enter_async_context(_working("job controller", JobController(cluster.controller_kubeconfig()).run()))
        from podpass.sandbox.node import NodeAgent  # noqa: PLC0415 - as above

        agent = NodeAgent(cluster.node_kubeconfig(), self._images, self.pod_environment(), directory / "node")
        # By path a pod finds nobody's credentials; it runs as this user none the less, and /proc shows it this user's processes.
        agent.hide(directory, *(self.settings.state_dir / name for name in _PRIVATE if self.settings.state_dir), but=authority)
        await stack.enter_async_context(_working("node agent", agent.run(), agent.ready))


@contextlib.asynccontextmanager
async def _proxied(universe: Universe, instances: Instances, authority: AuthorityCA, directory: Path) -> AsyncIterator[Proxy]:
    context = authority.issue_server_certificate((*GOOGLE_NAMES, *SERVED_NAMES)).server_context(directory, "google")
    front_door = FrontDoor(universe, instances.at_work)
    proxy = Proxy(Dispatcher(universe, SERVICES), context, universe.log.refuse, universe.latency_s, front_door)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
        await front_door.close()


@contextlib.asynccontextmanager
async def _clustered(settings: SandboxSettings, authority: AuthorityCA, clock: Clock, weather: Weather) -> AsyncIterator[Cluster]:
    cluster: Cluster
    if settings.control_plane:
        from podpass.sandbox.control_plane import ControlPlane  # noqa: PLC0415 - see the module's docstring

        cluster = ControlPlane(settings.control_plane, settings, authority)
    else:
        from podpass.sandbox.kubernetes import KubernetesApi  # noqa: PLC0415 - as above

        cluster = KubernetesApi(settings, authority, clock, weather)
    try:
        await cluster.start()
        yield cluster
    finally:
        await cluster.stop()


@contextlib.asynccontextmanager
async def _administered(sandbox: Sandbox) -> AsyncIterator[dict[str, str]]:
    token = secrets.token_urlsafe(24)
    listener = Listener(AdminApp(sandbox.universe, sandbox.cluster, sandbox.instances, sandbox.change_faults, token))
    await listener.start()
    try:
        yield {"PODPASS_SANDBOX_ADMIN": f"http://127.0.0.1:{listener.port}", "PODPASS_SANDBOX_ADMIN_TOKEN": token}
    finally:
        await listener.stop()


@contextlib.asynccontextmanager
async def _working(name: str, work: Coroutine[Any, Any, None], ready: asyncio.Event | None = None) -> AsyncIterator[None]:
    """Keep a part at work, from when it is ready on; one that ends by itself has failed, which is told at once."""
    task = asyncio.get_running_loop().create_task(work, name=name)
    try:
        if ready:
            waiting = asyncio.get_running_loop().create_task(ready.wait())
            await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if task.done():
                await task
        task.add_done_callback(_tell_failure)
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _tell_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        _log.error("The sandbox's %s has stopped: pods are no longer looked after.", task.get_name(), exc_info=task.exception())


class HostedSandbox:
    """A sandbox in a thread of its own, for callers that are not asynchronous. Arguments are those of `Sandbox`."""

    def __init__(self, settings: SandboxSettings | None = None, **more: Any) -> None:  # noqa: ANN401 - Sandbox's own keywords
        self._sandbox = Sandbox(settings, **more)
        self._started: Future[asyncio.AbstractEventLoop] = Future()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()), name="podpass-sandbox", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._started.result()
        except BaseException:  # it could not start, or somebody has lost patience meanwhile
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._started.exception() is None:
            self._started.result().call_soon_threadsafe(self._end.set)
        self._thread.join()

    @property
    def settings(self) -> SandboxSettings:
        """Its shape, as it is now."""
        return self._sandbox.universe.settings

    @property
    def universe(self) -> Universe:
        """Google's side. It belongs to the thread: read, and leave writing to requests and `run`."""
        return self._sandbox.universe

    @property
    def cluster(self) -> Cluster | None:
        """The cluster, if there is one."""
        return self._sandbox.cluster

    def environment(self) -> dict[str, str]:
        """Return the variables of a process of the logged-in user."""
        return self._sandbox.environment()

    def pod_environment(self) -> dict[str, str]:
        """Return the variables of a pod's process."""
        return self._sandbox.pod_environment()

    def dump(self) -> Json:
        """Return everything that was declared, in a stable form."""
        return self.run(self._sandbox.dump())

    def requests(self) -> list[Json]:
        """Return the requests to Google's side so far, oldest first."""
        return self.universe.log.entries()

    def change_settings(self, *, propagation: timedelta | None = None, latency: timedelta | None = None) -> None:
        """Change what can be changed while it runs."""
        self.universe.change_settings(propagation=propagation, latency=latency)

    def faults(self) -> Json:
        """Return how often each rule of the faults has matched and struck."""
        return self.universe.weather.report()

    def change_faults(self, text: str) -> None:
        """Put the faults of a file's text into effect in place of those so far, as of now (docs/reference/faults.md).

        Raises:
            FaultsFileError: Anything in it is wrong; holds every mistake.
        """
        self.run(self._sandbox.change_faults(text.encode()))

    def clear_faults(self) -> None:
        """End all faults; a rotated key stays rotated."""
        self.run(self._sandbox.change_faults(None))

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine in the sandbox's own loop and wait for its result."""
        return asyncio.run_coroutine_threadsafe(work, self._started.result()).result()

    async def _live(self) -> None:
        try:
            async with self._sandbox:
                self._started.set_result(asyncio.get_running_loop())
                await self._end.wait()
        except BaseException as error:
            if self._started.done():
                raise
            self._started.set_exception(error)
