# SPDX-License-Identifier: Apache-2.0
"""Nodes: where pods run, and where their logs are read."""

from datetime import datetime
from typing import Any

from lightkube.models.core_v1 import Node

from podpass.sandbox.kubernetes.kind import AGE, NAME, STATUS, Column, Kind


def _status(node: dict[str, Any], _: datetime) -> str:
    conditions = {row["type"]: row["status"] for row in (node.get("status") or {}).get("conditions") or ()}
    ready = {"True": "Ready", "False": "NotReady"}.get(conditions.get("Ready", ""), "Unknown")
    return ready + (",SchedulingDisabled" if (node.get("spec") or {}).get("unschedulable") else "")


def _roles(node: dict[str, Any], _: datetime) -> str:
    prefix = "node-role.kubernetes.io/"
    roles = [label.removeprefix(prefix) for label in node["metadata"].get("labels") or {} if label.startswith(prefix)]
    return ",".join(sorted(roles)) or "<none>"


NODE = Kind(
    Node,
    "nodes",
    namespaced=False,
    short_names=("no",),
    columns=(
        NAME,
        Column("Status", _status),
        Column("Roles", _roles),
        Column("Version", lambda obj, _: ((obj.get("status") or {}).get("nodeInfo") or {}).get("kubeletVersion", "")),
        AGE,
    ),
    subresources=(("status", "Node", STATUS),),
    selectable=("spec.unschedulable",),
    lasting=False,
)
