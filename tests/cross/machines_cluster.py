# SPDX-License-Identifier: Apache-2.0
"""Three nodes of a cluster: a real kube-apiserver each, over one etcd, told what the node's own files come to.

Whoever changes a node's files restarts that node's kube-apiserver, as kubelet and the services of the distributions do. A node that is
broken gets flags with which none starts.
"""

import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2

from cross.rendered_plane import RenderedPlane
from podpass.federate.clusters.evidence import Node
from podpass.federate.clusters.probe import Look, look_through
from podpass.kube.client import KubeClient, Request, connect
from podpass.kube.config_maps import ConfigMap, create_config_map
from podpass.kube.kubeconfig import ClusterAccess, from_dict
from podpass.kube.objects import ensure_service_account
from podpass.kube.tokens import request_token
from podpass.names import ServiceAccountRef
from podpass.sandbox.control_plane import _free_port
from podpass.verify import parse

_PATIENCE_S = 60.0
_DEFAULT = ServiceAccountRef("default", "default")


class MachinesCluster(ABC):
    """Enter it to have it run.

    Args:
        folder: Where everything is kept.
        nodes: Its nodes, each with a loopback address of its own.
    """

    def __init__(self, folder: Path, nodes: Sequence[Node]) -> None:
        self.nodes = tuple(nodes)
        self.plane = RenderedPlane(folder / "plane", ())
        self.told: dict[str, list[list[str]]] = {node.name: [] for node in self.nodes}
        self.port = _free_port()
        self.kept: ConfigMap | None = None  # what the distribution keeps in the cluster
        self._broken: set[str] = set()
        self._seen: dict[str, object] = {}
        self._servers: dict[str, subprocess.Popen[bytes]] = {}
        self._etcd: subprocess.Popen[bytes]
        self._log = folder / "servers.log"
        self._stop = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper")

    @abstractmethod
    def rendered(self, node: Node) -> list[str]:
        """Return the flags that the node's files come to."""

    @abstractmethod
    def stamp(self, node: Node) -> object:
        """Return what is another value when the node's server has to be started anew."""

    def __enter__(self) -> Self:
        self.plane._prepare()
        self.plane._write_keys()
        self._etcd = self._start([str(self.plane._programs.etcd), *self.plane._etcd_flags()])
        self._seen = {node.name: self.stamp(node) for node in self.nodes}
        for node in self.nodes:
            self._serve(node)
        self._keeper.start()
        try:
            for node in self.nodes:
                self.until_ready(node)
            with self.client(self.nodes[0]) as client:
                ensure_service_account(client, _DEFAULT)
                for node in self.nodes:
                    _register(client, node)
                if self.kept:
                    create_config_map(client, self.kept)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end()

    def _end(self) -> None:
        self._stop.set()
        self._keeper.join()
        for server in (*self._servers.values(), self._etcd):
            server.kill()
            server.wait()
        self.plane._scratch.close()

    def break_down(self, node: Node, *, broken: bool = True) -> None:
        """Have the node's kube-apiserver not start any more when it is changed next, or start again."""
        self._broken = self._broken | {node.name} if broken else self._broken - {node.name}

    def url(self, node: Node) -> str:
        return f"https://{node.addresses[0]}:{self.port}"

    @property
    def access(self) -> ClusterAccess:
        return replace(from_dict(self.plane.admin_kubeconfig()), server=self.url(self.nodes[0]))

    @property
    def look(self) -> Look:
        return look_through(self.access)

    def client(self, node: Node) -> KubeClient:
        return connect(replace(self.access, server=self.url(node), tls_server_name="127.0.0.1"))

    def until_ready(self, node: Node) -> None:
        end = time.monotonic() + _PATIENCE_S
        with httpx2.Client(verify=False, trust_env=False) as http:
            while True:
                try:
                    if http.get(f"{self.url(node)}/readyz").is_success:
                        return
                except httpx2.RequestError:
                    pass
                assert time.monotonic() < end, self._log.read_text()[-2000:]
                time.sleep(0.1)

    def _keep(self) -> None:
        """Restart a node's server whenever it has to be, and one that has ended by itself."""
        while not self._stop.wait(0.1):
            for node in self.nodes:
                changed, server = self.stamp(node), self._servers[node.name]
                if changed != self._seen[node.name]:
                    self._seen[node.name] = changed
                    server.kill()
                    server.wait()
                    self._serve(node)
                elif server.poll() is not None and node.name not in self._broken:
                    self._begin(node, self.told[node.name][-1])  # a busy machine may be too slow for one of its own deadlines

    def _serve(self, node: Node) -> None:
        told = self.rendered(node)
        self.told[node.name].append(told)
        self._begin(node, told)

    def _begin(self, node: Node, told: list[str]) -> None:
        if node.name in self._broken:
            told = [*told, "--no-such-flag"]
        self.plane._port = self.port
        program = str(self.plane._programs.api_server)
        self._servers[node.name] = self._start([program, *self.plane._api_server_flags(), f"--bind-address={node.addresses[0]}", *told])

    def _start(self, command: list[str]) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as log:
            return subprocess.Popen(command, cwd=self.plane._home, stdout=log, stderr=log)


def _register(client: KubeClient, node: Node) -> None:
    """Make the node's record, as its kubelet would."""
    labels = {"node-role.kubernetes.io/control-plane": "", **node.labels}
    spec = {"providerID": node.provider_id} if node.provider_id else {}
    body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node.name, "labels": labels}, "spec": spec}
    client.call(Request("POST", "/api/v1/nodes", "make a node", body=body))
    info = dict.fromkeys(("systemUUID", "kernelVersion", "containerRuntimeVersion", "kubeProxyVersion", "operatingSystem"), "")
    kubelet = node.kubelet_version or "v1.36.3"
    told = {"osImage": node.os_image, "kubeletVersion": kubelet, "machineID": node.machine_id, "bootID": node.boot_id, "architecture": ""}
    status = {"nodeInfo": {**info, **told}, "addresses": [{"type": "InternalIP", "address": node.addresses[0]}]}
    found = client.call(Request("GET", f"/api/v1/nodes/{node.name}", "read a node"))
    client.call(Request("PUT", f"/api/v1/nodes/{node.name}/status", "write a node's state", body={**found, "status": status}))


def token_of(client: KubeClient) -> str:
    return request_token(client, _DEFAULT).value.reveal()


def issuer_of(token: str) -> str:
    return str(parse(token).payload.get("iss"))


def is_taken(client: KubeClient, token: str) -> bool:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    answer = client.call(Request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", "review", body=body))
    return answer["status"].get("authenticated") is True


def seen(cluster: MachinesCluster, token: str) -> list[tuple[str, bool]]:
    """Return as whom each server signs, and whether it takes a token."""
    found = []
    for node in cluster.nodes:
        with cluster.client(node) as client:
            found.append((issuer_of(token_of(client)), is_taken(client, token)))
    return found
