# SPDX-License-Identifier: Apache-2.0
"""A whole sandbox in the running event loop: started, entered, stopped.

What was started is stopped in reverse, also when a later part fails to start.
"""

import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from podpass.clock import Clock, SystemClock
from podpass.sandbox import parts
from podpass.sandbox.admin import dump_of
from podpass.sandbox.ca import AuthorityCA
from podpass.sandbox.cluster import Cluster
from podpass.sandbox.environment import hosts_of, inside, logged_in
from podpass.sandbox.faults_file import parse
from podpass.sandbox.google.oauth import refresh_token
from podpass.sandbox.google.run.instances import Instances
from podpass.sandbox.google.universe import Universe
from podpass.sandbox.node import lease
from podpass.sandbox.node.images import Image
from podpass.sandbox.settings import SandboxSettings
from podpass.sandbox.store import Json
from podpass.sandbox.weather.faults import Faults
from podpass.sandbox.weather.weather import Weather

_TEMPORARY = "podpass-sandbox-"
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
            directory = self._directory(stack)
            weather = Weather(self._clock)
            self.universe = Universe(self.settings, self._clock, weather)
            stack.callback(self.universe.close)
            authority = AuthorityCA((self.settings.state_dir or directory) / "ca")
            self.instances = Instances(self.universe, self._images, self._inside)
            proxy = await stack.enter_async_context(parts.proxied(self.universe, self.instances, authority, directory))
            self._inside |= inside(proxy.url, authority.path, hosts_of(self.settings.kubeconfig))
            await stack.enter_async_context(self.instances.running())
            if self._with_cluster:
                self.cluster = await stack.enter_async_context(parts.clustered(self.settings, authority, self._clock, weather))
                await self._staff(stack, self.cluster, directory, authority.path)
            operator = refresh_token(self.universe.tokens, self.settings.operator)
            kubeconfig = self.cluster.admin_kubeconfig() if self.cluster else None
            admin = await stack.enter_async_context(parts.administered(self.universe, self.cluster, self.instances, self.change_faults))
            self._logged_in = {**logged_in(directory, self.settings, authority.path, operator, kubeconfig), **admin}
            if self._faults:
                self.universe.change_weather(self._faults)
            self._stack = stack.pop_all()
        return self

    def _directory(self, stack: contextlib.AsyncExitStack) -> Path:
        """Return a directory for as long as the sandbox lives; what killed sandboxes left is taken away."""
        lease.sweep(Path(tempfile.gettempdir()), _TEMPORARY)
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=_TEMPORARY, ignore_cleanup_errors=True)))
        stack.callback(os.close, lease.lock(directory))  # from now on, so that one that is killed while it starts is swept, too
        if self.settings.state_dir:  # two sandboxes would write one journal
            self.settings.state_dir.mkdir(parents=True, exist_ok=True)
            stack.callback(os.close, lease.lock(self.settings.state_dir))
        return directory

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
            from podpass.sandbox.kubernetes.jobs import JobController  # noqa: PLC0415 - see `parts`

            await stack.enter_async_context(parts.working("job controller", JobController(cluster.controller_kubeconfig()).run()))
        from podpass.sandbox.node import NodeAgent  # noqa: PLC0415 - as above

        agent = NodeAgent(cluster.node_kubeconfig(), self._images, self.pod_environment(), directory / "node")
        # By path a pod finds nobody's credentials; it runs as this user none the less, and /proc shows it this user's processes.
        agent.hide(directory, *(self.settings.state_dir / name for name in _PRIVATE if self.settings.state_dir), but=authority)
        await stack.enter_async_context(parts.working("node agent", agent.run(), agent.ready))
