# SPDX-License-Identifier: Apache-2.0
"""kubeadm's ClusterConfiguration, alone and inside what kind, Cluster API and kubeadm itself wrap around it. Pure."""

from collections.abc import Iterator
from typing import Any

import yaml

from podpass.federate.clusters.statement import Node, Statement, from_map, from_pairs, items, mapping, text


def settings_of(configuration: Node) -> tuple[tuple[str, str], ...]:
    """Return the flags that kube-apiserver is given: a map until v1beta3, a list since v1beta4."""
    arguments = mapping(configuration, "apiServer").get("extraArgs")
    return from_pairs(arguments) if isinstance(arguments, list) else from_map(arguments)


def read_configuration(document: Node, where: str) -> Iterator[Statement]:
    """Read a ClusterConfiguration."""
    yield Statement(where, f"kubeadm {text(document.get('apiVersion')).rpartition('/')[2]}", settings_of(document), is_change=True)


def read_config_map(document: Node, where: str) -> Iterator[Statement]:
    """Read kube-system/kubeadm-config."""
    yield from _inner(mapping(document, "data").get("ClusterConfiguration"), where)


def read_kind(document: Node, where: str) -> Iterator[Statement]:
    """Read kind's configuration of a cluster."""
    nodes = [document, *(one for one in items(document.get("nodes")) if isinstance(one, dict))]
    for node in nodes:
        for patch in items(node.get("kubeadmConfigPatches")):
            yield from _inner(patch, where)


def read_control_plane(document: Node, where: str) -> Iterator[Statement]:
    """Read a KubeadmControlPlane of Cluster API."""
    configuration = mapping(document, "spec", "kubeadmConfigSpec", "clusterConfiguration")
    yield Statement(where, "KubeadmControlPlane", settings_of(configuration), is_change=True)


def _inner(content: Any, where: str) -> Iterator[Statement]:  # noqa: ANN401 - whatever the file holds
    try:
        document = yaml.safe_load(content) if isinstance(content, str) else None
    except yaml.YAMLError:
        return
    if isinstance(document, dict) and document.get("kind", "ClusterConfiguration") == "ClusterConfiguration":
        yield from read_configuration(document, where)
