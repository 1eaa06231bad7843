# SPDX-License-Identifier: Apache-2.0
"""Three nodes of a Talos cluster: a real kube-apiserver each, over one etcd, told what Talos would render of the node's configuration.

Whoever changes a node's configuration restarts that node's kube-apiserver, as Talos and kubelet do. A node with a file `broken` gets flags
with which none starts.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2
import yaml

from cross.rendered_plane import RenderedPlane
from podpass.federate.clusters.evidence import Node
from podpass.federate.clusters.probe import Look, look_through
from podpass.kube.client import KubeClient, Request, connect
from podpass.kube.kubeconfig import ClusterAccess, from_dict
from podpass.kube.objects import ensure_service_account
from podpass.names import ServiceAccountRef
from podpass.sandbox.control_plane import _free_port

ENDPOINT = "https://10.0.0.1:6443"
_PROGRAM = Path(__file__).parent / "programs" / "scripted_talosctl.py"
_DEFAULTS = {"service-account-issuer": [ENDPOINT], "api-audiences": [ENDPOINT]}
_PATIENCE_S = 60.0


class TalosCluster:
    """Enter it to have it run.

    Args:
        folder: Where everything is kept.
        release: Of Talos.
        documents: The nodes' configurations are of documents, as 1.14 makes them.
        schema: The published schema; None: there is none at hand.
    """

    def __init__(self, folder: Path, release: str, *, documents: bool = False, schema: Path | None = None) -> None:
        self.nodes = tuple(Node(f"cp-{number}", f"Talos (v{release})", addresses=(f"127.0.0.{number}",)) for number in (1, 2, 3))
        self.state = folder / "talos"
        self.plane = RenderedPlane(folder / "plane", ())
        self.talosctl = folder / "talosctl"
        self.told: dict[str, list[list[str]]] = {node.name: [] for node in self.nodes}
        self._port = _free_port()
        self._servers: dict[str, subprocess.Popen[bytes]] = {}
        self._etcd: subprocess.Popen[bytes]
        self._log = folder / "servers.log"
        self._stop = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="talos")
        self._write(release, documents=documents, schema=schema)

    def _write(self, release: str, *, documents: bool, schema: Path | None) -> None:
        for node in self.nodes:
            (self.state / node.addresses[0]).mkdir(parents=True)
            self.config_of(node).write_text(yaml.safe_dump_all(_configuration(documents=documents), sort_keys=False))
        if int(release.split(".")[1]) >= 13:
            (self.state / "lists").touch()
        if schema:
            (self.state / "schema.json").write_bytes(schema.read_bytes())
        self.talosctl.write_text(f'#!/bin/sh\nTALOS_STATE={self.state} exec {sys.executable} {_PROGRAM} "$@"\n')
        self.talosctl.chmod(0o700)

    def __enter__(self) -> Self:
        self.plane._prepare()
        self.plane._write_keys()
        programs = self.plane._programs
        self._etcd = self._start([str(programs.etcd), *self.plane._etcd_flags()])
        self._seen = {node.name: self.config_of(node).stat().st_mtime_ns for node in self.nodes}
        for node in self.nodes:
            self._serve(node)
        self._keeper.start()
        try:
            for node in self.nodes:
                self.until_ready(node)
            with self.client(self.nodes[0]) as client:
                ensure_service_account(client, ServiceAccountRef("default", "default"))
                for node in self.nodes:
                    _register(client, node)
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

    def config_of(self, node: Node) -> Path:
        return self.state / node.addresses[0] / "config.yaml"

    def break_down(self, node: Node, *, broken: bool = True) -> None:
        """Have the node's kube-apiserver not start any more when it is changed next, or start again."""
        file = self.state / node.addresses[0] / "broken"
        file.touch() if broken else file.unlink()

    def url(self, node: Node) -> str:
        return f"https://{node.addresses[0]}:{self._port}"

    @property
    def access(self) -> ClusterAccess:
        return replace(from_dict(self.plane.admin_kubeconfig()), server=self.url(self.nodes[0]))

    @property
    def look(self) -> Look:
        return look_through(self.access)

    def client(self, node: Node) -> KubeClient:
        return connect(replace(self.access, server=self.url(node), tls_server_name="127.0.0.1"))

    def calls(self, verb: str) -> list[str]:
        """Return the addresses that were asked to do this, in order; dry runs are no calls."""
        lines = (self.state / "calls").read_text().splitlines() if (self.state / "calls").exists() else []
        return [line.split()[0] for line in lines if line.split()[1] == verb and "--dry-run" not in line]

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
        """Restart a node's server whenever its configuration has changed."""
        while not self._stop.wait(0.1):
            for node in self.nodes:
                changed = self.config_of(node).stat().st_mtime_ns
                if changed != self._seen[node.name]:
                    self._seen[node.name] = changed
                    server = self._servers[node.name]
                    server.kill()
                    server.wait()
                    self._serve(node)

    def _serve(self, node: Node) -> None:
        told = [f"--{name}={value}" for name, values in _rendered(self.config_of(node)).items() for value in values]
        self.told[node.name].append(told)
        if (self.state / node.addresses[0] / "broken").exists():
            told = [*told, "--no-such-flag"]
        self.plane._port = self._port
        program = str(self.plane._programs.api_server)
        self._servers[node.name] = self._start([program, *self.plane._api_server_flags(), f"--bind-address={node.addresses[0]}", *told])

    def _start(self, command: list[str]) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as log:
            return subprocess.Popen(command, cwd=self.plane._home, stdout=log, stderr=log)


def _register(client: KubeClient, node: Node) -> None:
    """Make the node's record, as its kubelet would."""
    labels = {"node-role.kubernetes.io/control-plane": ""}
    body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node.name, "labels": labels}}
    client.call(Request("POST", "/api/v1/nodes", "make a node", body=body))
    info = dict.fromkeys(
        ("machineID", "systemUUID", "bootID", "kernelVersion", "containerRuntimeVersion", "kubeProxyVersion", "operatingSystem"), ""
    )
    status = {
        "nodeInfo": {**info, "osImage": node.os_image, "kubeletVersion": "v1.36.3", "architecture": ""},
        "addresses": [{"type": "InternalIP", "address": node.addresses[0]}],
    }
    found = client.call(Request("GET", f"/api/v1/nodes/{node.name}", "read a node"))
    client.call(Request("PUT", f"/api/v1/nodes/{node.name}/status", "write a node's state", body={**found, "status": status}))


def _configuration(*, documents: bool) -> list[dict[str, Any]]:
    machine = {"version": "v1alpha1", "machine": {"type": "controlplane"}}
    cluster: dict[str, Any] = {"controlPlane": {"endpoint": ENDPOINT}}
    if not documents:
        own = {"certSANs": ["demo.example"], "extraArgs": {"profiling": "false"}}
        return [machine | {"cluster": {**cluster, "apiServer": own}}]
    image = "registry.k8s.io/kube-apiserver:v1.36.3"
    server = {"apiVersion": "v1alpha1", "kind": "KubeAPIServerConfig", "image": image, "extraArgs": {"profiling": "false"}}
    accounts = {"apiVersion": "v1alpha1", "kind": "KubeServiceAccountConfig", "issuer": {"issuerURL": ENDPOINT, "privateKey": "PEM"}}
    return [machine, server, accounts]


def _rendered(config: Path) -> Mapping[str, list[str]]:
    """Render as Talos does: what it says itself, and the extra arguments in its place."""
    told: dict[str, list[str]] = dict(_DEFAULTS)
    for document in yaml.safe_load_all(config.read_text()):
        extra = (
            document.get("extraArgs", {}) if document.get("kind") else document.get("cluster", {}).get("apiServer", {}).get("extraArgs", {})
        )
        told |= {name: value if isinstance(value, list) else [value] for name, value in extra.items()}
    return told
