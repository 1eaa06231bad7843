# SPDX-License-Identifier: Apache-2.0
"""A sandbox in a thread of its own, for those who are not asynchronous."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

from podpass.sandbox.cluster import Cluster
from podpass.sandbox.google.universe import Universe
from podpass.sandbox.sandbox import Sandbox
from podpass.sandbox.settings import SandboxSettings
from podpass.sandbox.store import Json

_T = TypeVar("_T")


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
