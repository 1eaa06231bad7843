# SPDX-License-Identifier: Apache-2.0
"""Talos Linux."""

import re
from typing import Final

from podpass.federate.clusters.distribution import Distribution
from podpass.federate.clusters.evidence import Evidence, Node

_IMAGE: Final = re.compile(r"Talos \(v?(\d+\.\d+\.[^)]+)\)")


def version_of(node: Node) -> str | None:
    """Return the version of Talos that a node runs."""
    found = _IMAGE.search(node.os_image)
    return found[1] if found else None


def release(evidence: Evidence) -> str | None:
    """Return the lowest version of Talos among the control plane's nodes, or all nodes where none says that it is one: `1.9.6`."""
    nodes = [one for one in evidence.nodes if one.is_control_plane] or list(evidence.nodes)
    found = sorted({version for one in nodes if (version := version_of(one))}, key=_order)
    return found[0] if found else None


def _sign(evidence: Evidence) -> str | None:
    found = next((one for one in evidence.nodes if one.os_image.startswith("Talos")), None)
    return f"the node {found.name} runs {found.os_image}" if found else None


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))


TALOS: Final = Distribution("talos", "Talos Linux", _sign, release)
