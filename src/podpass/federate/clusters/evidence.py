# SPDX-License-Identifier: Apache-2.0
"""What a cluster answered, before anybody says what it means. Pure."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from podpass.federate.clusters.flags import ServiceAccountFlags, parse_arguments
from podpass.kube.issuer import Discovery
from podpass.verify import UnverifiedClaims

Question = Literal["nodes", "discovery", "keys", "flags", "kubeadm", "token"]


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of the cluster, as far as it tells who runs it.

    Attributes:
        name: Its name.
        os_image: `Talos (v1.9.6)`, `Ubuntu 24.04.1 LTS`.
        kubelet_version: `v1.32.4+k3s1`.
        provider_id: `kind://docker/kind/kind-control-plane`.
        labels: Of its metadata.
        annotations: Of its metadata.
        addresses: Internal and external ones; IP addresses only.
        machine_id: What its kubelet read in /etc/machine-id; empty: it does not say.
        boot_id: Which start of its kernel this is; containers have their host's. Empty: it does not say.
    """

    name: str
    os_image: str = ""
    kubelet_version: str = ""
    provider_id: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    addresses: tuple[str, ...] = ()
    machine_id: str = ""
    boot_id: str = ""

    @property
    def is_control_plane(self) -> bool:
        """Whether it says that it runs the control plane."""
        return "node-role.kubernetes.io/control-plane" in self.labels or "node-role.kubernetes.io/master" in self.labels


@dataclass(frozen=True, slots=True)
class Publication:
    """What a stranger sees who looks an issuer up from this machine.

    Attributes:
        is_public: None: it could not be found out from here.
        how: What was seen, as a sentence.
        kids: The ids of the keys that are published.
        is_inside: The name means something inside a network only, so nobody was asked.
    """

    is_public: bool | None
    how: str
    kids: frozenset[str] = frozenset()
    is_inside: bool = False


@dataclass(frozen=True, slots=True)
class Evidence:
    """The answers of one cluster.

    Attributes:
        server: The API server's URL.
        version: Its version: `v1.36.3`, `v1.32.4+k3s1`.
        nodes: The nodes; empty where there are none, or nobody may list them.
        discovery: Its discovery document.
        jwks: Its public keys, as sent.
        commands: The command line of each kube-apiserver that runs as a pod.
        kubeadm: The ClusterConfiguration that kubeadm keeps in the cluster.
        claims: Of a token for the API server itself.
        publication: What a stranger sees of the issuer; None: not asked.
        silent: The questions that have no answer, and why.
    """

    server: str
    version: str
    nodes: tuple[Node, ...] = ()
    discovery: Discovery | None = None
    jwks: str | None = None
    commands: tuple[tuple[str, ...], ...] = ()
    kubeadm: str | None = None
    claims: UnverifiedClaims | None = None
    publication: Publication | None = None
    silent: Mapping[Question, str] = field(default_factory=dict)

    @property
    def flags(self) -> tuple[ServiceAccountFlags, ...]:
        """The flags of each kube-apiserver that can be seen."""
        return tuple(ServiceAccountFlags.of(parse_arguments(command)) for command in self.commands)

    def labelled(self, *names: str) -> str | None:
        """Return the first of these labels that a node has, as `name=value`."""
        return next((f"{name}={node.labels[name]}" for name in names for node in self.nodes if name in node.labels), None)


def address_of(value: object) -> str | None:
    """Return an IP address as one writes it; None: the value is none, or one that means something on one machine only."""
    try:
        return str(ipaddress.ip_address(value)) if isinstance(value, str) and "%" not in value else None
    except ValueError:
        return None
