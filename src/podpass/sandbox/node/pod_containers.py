# SPDX-License-Identifier: Apache-2.0
"""The containers of one pod: which run before which, and which end before which."""

import asyncio

from podpass.sandbox.cluster_client import Object
from podpass.sandbox.node.containers import Container, ContainerHost, Policy


class PodContainers:
    """Init containers, sidecars among them, and the containers proper.

    Args:
        pod: Says which there are, and what became of them under a node agent before this one.
        host: What they need of their pod.
    """

    def __init__(self, pod: Object, host: ContainerHost) -> None:
        spec = pod["spec"]
        self.policy: Policy = spec.get("restartPolicy", "Always")
        self._host = host
        first = "PodInitializing" if spec.get("initContainers") else "ContainerCreating"
        once: Policy = "Never" if self.policy == "Never" else "OnFailure"
        self._init = [
            Container(each, each.get("restartPolicy", once), host, init=True, waits_for=first) for each in spec.get("initContainers", [])
        ]
        self._main = [
            Container(each, each.get("restartPolicy", self.policy), host, init=False, waits_for=first) for each in spec["containers"]
        ]
        self._restore(pod.get("status", {}))

    def _restore(self, status: Object) -> None:
        known = {entry["name"]: entry for entry in (*status.get("initContainerStatuses", []), *status.get("containerStatuses", []))}
        for container in (*self._init, *self._main):
            if container.name in known:
                container.restore(known[container.name])

    def find(self, name: str) -> Container | None:
        """Return the container of this name."""
        return next((container for container in (*self._init, *self._main) if container.name == name), None)

    @property
    def init(self) -> list[Object]:
        """The statuses of all init containers, in their order."""
        return [container.status() for container in self._init]

    @property
    def ending_init(self) -> list[Object]:
        """The statuses of the init containers that end before the next one begins."""
        return [container.status() for container in self._init if not container.is_sidecar]

    @property
    def sidecars(self) -> list[Object]:
        """The statuses of the init containers that stay."""
        return [container.status() for container in self._init if container.is_sidecar]

    @property
    def main(self) -> list[Object]:
        """The statuses of the containers proper."""
        return [container.status() for container in self._main]

    async def run(self) -> None:
        """Run them to their end; sidecars are still running then, but not restarted any more."""
        sidecars = []
        async with asyncio.TaskGroup() as group:
            for container in self._init:
                if container.is_sidecar:
                    sidecars.append(group.create_task(container.run()))
                    await container.has_been_up.wait()
                elif not await container.run():
                    break
            else:
                await self._run_main()
            for sidecar in sidecars:
                sidecar.cancel()

    async def _run_main(self) -> None:
        for container in self._main:
            if container.state.get("waiting", {}).get("reason") == "PodInitializing":
                container.state = {"waiting": {"reason": "ContainerCreating"}}
        await asyncio.gather(*(container.run() for container in self._main))

    async def end(self, grace_s: float, *, told: bool) -> None:
        """End what runs: the containers together, then the sidecars one by one, the last one first, in what is left of the time.

        Args:
            grace_s: The time for all of them.
            told: Whether events tell of it.
        """
        deadline = asyncio.get_running_loop().time() + grace_s
        sidecars = [[container] for container in reversed(self._init) if container.is_sidecar]
        for together in ([*(each for each in self._init if not each.is_sidecar), *self._main], *sidecars):
            running = [container for container in together if container.process is not None]
            for container in running if told else ():
                await self._host.events.tell("Killing", f"Stopping container {container.name}", container=container.name)
            left_s = max(deadline - asyncio.get_running_loop().time(), 0)
            await asyncio.gather(*(container.end(left_s) for container in running))
