# SPDX-License-Identifier: Apache-2.0
"""Three nodes of a Talos cluster, told what Talos would render of each node's configuration."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from cross.machines_cluster import MachinesCluster
from podpass.federate.clusters.evidence import Node

ENDPOINT = "https://10.0.0.1:6443"
_PROGRAM = Path(__file__).parent / "programs" / "scripted_talosctl.py"
_DEFAULTS = {"service-account-issuer": [ENDPOINT], "api-audiences": [ENDPOINT]}


class TalosCluster(MachinesCluster):
    """Enter it to have it run.

    Args:
        folder: Where everything is kept.
        release: Of Talos.
        documents: The nodes' configurations are of documents, as 1.14 makes them.
        schema: The published schema; None: there is none at hand.
    """

    def __init__(self, folder: Path, release: str, *, documents: bool = False, schema: Path | None = None) -> None:
        super().__init__(folder, [Node(f"cp-{number}", f"Talos (v{release})", addresses=(f"127.0.0.{number}",)) for number in (1, 2, 3)])
        self.state = folder / "talos"
        self.talosctl = folder / "talosctl"
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

    def config_of(self, node: Node) -> Path:
        return self.state / node.addresses[0] / "config.yaml"

    def rendered(self, node: Node) -> list[str]:
        return [f"--{name}={value}" for name, values in _rendered(self.config_of(node)).items() for value in values]

    def stamp(self, node: Node) -> object:
        return self.config_of(node).stat().st_mtime_ns

    def calls(self, verb: str) -> list[str]:
        """Return the addresses that were asked to do this, in order; dry runs are no calls."""
        lines = (self.state / "calls").read_text().splitlines() if (self.state / "calls").exists() else []
        return [line.split()[0] for line in lines if line.split()[1] == verb and "--dry-run" not in line]


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
