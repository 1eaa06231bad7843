# SPDX-License-Identifier: Apache-2.0
"""The parts of a sandbox, each started when it is entered and stopped when it is left.

They are imported when they are started, so that a sandbox without a cluster does not pay for one.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

from podpass.clock import Clock
from podpass.sandbox.admin import AdminApp, ChangeFaults
from podpass.sandbox.ca import GOOGLE_NAMES, AuthorityCA
from podpass.sandbox.cluster import Cluster
from podpass.sandbox.google.catalogue import SERVICES
from podpass.sandbox.google.dispatcher import Dispatcher
from podpass.sandbox.google.run.addresses import SERVED_NAMES
from podpass.sandbox.google.run.front_door import FrontDoor
from podpass.sandbox.google.run.instances import Instances
from podpass.sandbox.google.universe import Universe
from podpass.sandbox.listener import Listener
from podpass.sandbox.proxy import Proxy
from podpass.sandbox.settings import SandboxSettings
from podpass.sandbox.weather.weather import Weather

_log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def proxied(universe: Universe, instances: Instances, authority: AuthorityCA, directory: Path) -> AsyncIterator[Proxy]:
    """Have Google's hosts answer behind a proxy."""
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
async def clustered(settings: SandboxSettings, authority: AuthorityCA, clock: Clock, weather: Weather) -> AsyncIterator[Cluster]:
    """Have a cluster: the built-in API server, or the real control plane that the settings name."""
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
async def administered(
    universe: Universe, cluster: Cluster | None, instances: Instances, change_faults: ChangeFaults
) -> AsyncIterator[dict[str, str]]:
    """Open the admin API; yield the variables that tell where it is."""
    token = secrets.token_urlsafe(24)
    listener = Listener(AdminApp(universe, cluster, instances, change_faults, token))
    await listener.start()
    try:
        yield {"PODPASS_SANDBOX_ADMIN": f"http://127.0.0.1:{listener.port}", "PODPASS_SANDBOX_ADMIN_TOKEN": token}
    finally:
        await listener.stop()


@contextlib.asynccontextmanager
async def working(name: str, work: Coroutine[Any, Any, None], ready: asyncio.Event | None = None) -> AsyncIterator[None]:
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
