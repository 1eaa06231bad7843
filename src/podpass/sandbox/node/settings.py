# SPDX-License-Identifier: Apache-2.0
"""What all pods of a node share."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from podpass.sandbox.node.images import Images
from podpass.sandbox.node.mounts import Way
from podpass.sandbox.node.node_network import NodeNetwork


@dataclass(frozen=True, slots=True)
class Pace:
    """How often volumes are brought up to date (kubelet's default is a minute), and the first pause before a restart."""

    sync_period: timedelta = timedelta(seconds=10)
    back_off: timedelta = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """A node, as its pods need it.

    Attributes:
        name: The node's name.
        images: What the containers' images stand for.
        environment: Variables of every container, below its own and its image's.
        workdir: The node agent's own directory.
        way: How volumes are laid; None until that is found out.
        network: Gives pods their networks.
        pace: The times of its work.
        hidden: Further directories that containers find empty.
        shown: Files in them that containers see none the less.
    """

    name: str
    images: Images
    environment: Mapping[str, str]
    workdir: Path
    way: Way | None
    network: NodeNetwork
    pace: Pace
    hidden: tuple[Path, ...] = ()
    shown: tuple[Path, ...] = ()
