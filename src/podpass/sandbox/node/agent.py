# SPDX-License-Identifier: Apache-2.0
"""The node agent itself: a node of the cluster, for as long as it runs."""

import asyncio
import contextlib
import logging
import os
import shutil
import ssl
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from podpass.clock import Clock, SystemClock
from podpass.errors import NeighbourError
from podpass.sandbox.ca import AuthorityCA
from podpass.sandbox.cluster import Kubeconfig
from podpass.sandbox.cluster_client import STRATEGIC_PATCH, ClusterClient, Object, StatusError, authority_of
from podpass.sandbox.listener import Listener
from podpass.sandbox.node import kubelet, lease, mounts, pod_network
from podpass.sandbox.node.images import Images
from podpass.sandbox.node.node_network import NodeNetwork
from podpass.sandbox.node.pod import Pod
from podpass.sandbox.node.pod_network import ADDRESS
from podpass.sandbox.node.settings import NodeSettings, Pace
from podpass.sandbox.node.status import rfc3339

NODE_NAME = "podpass-node"
# kubelet's: a lease of 40 s, renewed four times in its life.
_LEASE_S, _RENEWAL_S = 40, 10
_RETRY_S = 0.5
_NOT_FOUND, _CONFLICT = 404, 409
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_log = logging.getLogger(__name__)


class NodeAgent:
    """Run pods as processes of this machine.

    Args:
        kubeconfig: The way in to the API server, as a node that may also bind pods.
        images: What the containers' images stand for.
        environment: Variables of every container: the way to the sandbox's Google side.
        workdir: A directory of its own; what a killed agent left in it is taken away first.
        clock: Tells when tokens are to be renewed.
        way: How volumes are laid; by default the first way that works here.
        isolated: Whether pods get networks of their own where this machine allows it.
        pace: How often volumes are brought up to date, and the first pause before a restart.
    """

    def __init__(
        self,
        kubeconfig: Kubeconfig,
        images: Images,
        environment: Mapping[str, str],
        workdir: Path,
        *,
        clock: Clock | None = None,
        way: mounts.Way | None = None,
        isolated: bool = True,
        pace: Pace = Pace(),  # noqa: B008 - frozen
    ) -> None:
        self._kubeconfig = kubeconfig
        self._clock = clock or SystemClock()
        address = urlsplit(str(kubeconfig["clusters"][0]["cluster"]["server"]))
        # Pods cannot reach a service's cluster address, so they are told the API server's own.
        services = {"KUBERNETES_SERVICE_HOST": address.hostname or "", "KUBERNETES_SERVICE_PORT": str(address.port or 443)}
        self._isolated = isolated
        # What pods are told of has to be where they are told.
        told = (address, urlsplit(environment.get("HTTPS_PROXY", "")))
        self._reachable = {url.port or 443 for url in told if url.hostname == ADDRESS}
        self._node = NodeSettings(NODE_NAME, images, services | dict(environment), workdir, way, NodeNetwork((), ()), pace)
        self._pods: dict[str, Pod] = {}
        self._being_bound: set[str] = set()
        self.ready = asyncio.Event()

    def hide(self, *directories: Path, but: Path) -> None:
        """Have pods find these directories empty but for one file: where others' credentials and keys are kept."""
        self._node = replace(self._node, hidden=directories, shown=(but,))

    async def run(self) -> None:
        """Be the node until cancelled; then every process has ended and every leased path is free again."""
        workdir = self._node.workdir
        workdir.mkdir(parents=True, exist_ok=True)
        workdir.chmod(0o700)
        lock = lease.lock(workdir)
        shutil.rmtree(workdir / "pods", ignore_errors=True)
        way = self._node.way or await asyncio.to_thread(mounts.choose)
        words = await asyncio.to_thread(pod_network.choose) if self._isolated else ()
        self._node = replace(self._node, way=way, network=NodeNetwork(self._reachable, words))
        _log.info("volumes are laid by: %s; networks are made by: %s", way, " ".join(words) or "nothing, pods share the machine's")
        certificate = AuthorityCA(workdir / "tls").issue_server_certificate([ADDRESS, self._node.name])
        context = certificate.server_context(workdir / "tls", "kubelet")
        # Logs are for the API server only, which proves itself by a certificate of the cluster's authority.
        context.load_verify_locations(cadata=authority_of(self._kubeconfig))
        context.verify_mode = ssl.CERT_REQUIRED
        server = Listener(kubelet.application(self._find, self._clock), context)
        try:
            await server.start()
            async with ClusterClient(self._kubeconfig, agent=f"podpass-node/{self._node.name}") as client:
                await self._serve(client, server.port)
        finally:
            await server.stop()
            os.close(lock)

    async def _serve(self, client: ClusterClient, port: int) -> None:
        await self._register(client, port)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._renew_lease(client))
            group.create_task(self._follow_pods(client, group))
            self.ready.set()

    def _find(self, namespace: str, name: str) -> Pod | None:
        return next((pod for pod in self._pods.values() if (pod.namespace, pod.name) == (namespace, name)), None)

    # The node.

    async def _register(self, client: ClusterClient, port: int) -> None:
        """Make the Node object what it should be; wait for the API server as long as it takes."""
        name = self._node.name
        labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": _architecture()}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}
        while True:
            try:
                with contextlib.suppress(StatusError):  # it is there already; another reason would show at the patch
                    await client.post("/api/v1/nodes", node)
                await client.patch(f"/api/v1/nodes/{name}/status", {"status": self._node_status(port)}, STRATEGIC_PATCH)
            except NeighbourError as error:
                _log.warning("the node is not registered yet: %s", error)
                await asyncio.sleep(_RETRY_S)
            else:
                return

    def _node_status(self, port: int) -> Object:
        now = rfc3339(self._clock.now())
        verdicts = {
            "MemoryPressure": ("False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            "DiskPressure": ("False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            "PIDPressure": ("False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            "Ready": ("True", "KubeletReady", "the node agent runs pods as processes of this machine"),
        }
        room = {
            "cpu": str(os.cpu_count() or 1),
            "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') >> 10}Ki",
            "pods": "110",
        }
        return {
            "conditions": [
                {"type": kind, "status": status, "reason": why, "message": text, "lastHeartbeatTime": now, "lastTransitionTime": now}
                for kind, (status, why, text) in verdicts.items()
            ],
            # Its name cannot be looked up, so it is not given as an address: the API server would ask there for logs first.
            "addresses": [{"type": "InternalIP", "address": ADDRESS}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
            "capacity": room,
            "allocatable": room,
        }

    async def _renew_lease(self, client: ClusterClient) -> None:
        """Show that the node lives: without its lease a control plane takes it for dead after 40 s and evicts its pods."""
        name = self._node.name
        while True:
            spec = {"holderIdentity": name, "leaseDurationSeconds": _LEASE_S, "renewTime": _micro(self._clock.now())}
            try:
                await client.patch(f"{_LEASES}/{name}", {"spec": spec})
            except StatusError as error:
                if error.status_code == _NOT_FOUND:
                    await self._make_lease(client, spec)
            except NeighbourError as error:
                _log.debug("the lease is not renewed: %s", error)
                await asyncio.sleep(_RETRY_S)
                continue
            await asyncio.sleep(_RENEWAL_S)

    async def _make_lease(self, client: ClusterClient, spec: Object) -> None:
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": self._node.name}, "spec": spec}
        with contextlib.suppress(NeighbourError):  # the namespace comes with the control plane's first seconds; the next round asks again
            await client.post(_LEASES, lease)

    # Its pods.

    async def _follow_pods(self, client: ClusterClient, group: asyncio.TaskGroup) -> None:
        named: set[str] | None = None
        async for event in client.follow("/api/v1/pods"):
            if event["type"] == "RESTARTED":
                named = set()
            elif event["type"] == "LISTED":
                for uid in set(self._pods) - (named or set()):
                    self._pods[uid].forget()
                named = None
            else:
                if named is not None:
                    named.add(event["object"]["metadata"]["uid"])
                self._take(client, group, event["object"], deleted=event["type"] == "DELETED")

    def _take(self, client: ClusterClient, group: asyncio.TaskGroup, pod: Object, *, deleted: bool) -> None:
        uid, node = pod["metadata"]["uid"], pod["spec"].get("nodeName", "")
        known = self._pods.get(uid)
        if known is not None:
            known.update(pod)
            if deleted:
                known.forget()
        elif deleted:
            return
        elif node == self._node.name:
            self._pods[uid] = Pod(pod, self._node, client, self._clock)
            group.create_task(self._live(uid))
        elif not node and uid not in self._being_bound and _waits_for_a_node(pod):
            self._being_bound.add(uid)
            group.create_task(self._bind(client, pod))

    async def _live(self, uid: str) -> None:
        try:
            await self._pods[uid].run()
        finally:
            del self._pods[uid]

    async def _bind(self, client: ClusterClient, pod: Object) -> None:
        """Give a waiting pod this node."""
        metadata = pod["metadata"]
        target = {"apiVersion": "v1", "kind": "Node", "name": self._node.name}
        named = {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": named, "target": target}
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/binding"
        while True:
            try:
                await client.post(path, binding)
            except NeighbourError as error:
                if isinstance(error, StatusError) and error.status_code in {_NOT_FOUND, _CONFLICT}:
                    break  # deleted in the meantime, or another node has it
                _log.info("%s was not bound yet: %s", path, error)
                await asyncio.sleep(_RETRY_S)
            else:
                break
        self._being_bound.discard(metadata["uid"])


def _waits_for_a_node(pod: Object) -> bool:
    """Tell whether a pod is the scheduler's to place: there is none, so this node takes it."""
    spec = pod["spec"]
    gated = spec.get("schedulingGates") or spec.get("schedulerName", "default-scheduler") != "default-scheduler"
    return not gated and "deletionTimestamp" not in pod["metadata"]


def _architecture() -> str:
    machine = os.uname().machine
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def _micro(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
