# SPDX-License-Identifier: Apache-2.0
"""Namespaces: deleted in two steps, the second when nothing is left inside."""

from typing import Any

from lightkube.models.core_v1 import Namespace

from podpass.sandbox.kubernetes.kind import AGE, NAME, STATUS, Column, Kind


def _start(namespace: dict[str, Any]) -> None:
    namespace["spec"] = {"finalizers": ["kubernetes"]}
    namespace["status"] = {"phase": "Active"}


def _default(namespace: dict[str, Any]) -> None:
    metadata = namespace["metadata"]
    metadata["labels"] = {**(metadata.get("labels") or {}), "kubernetes.io/metadata.name": metadata["name"]}


NAMESPACE = Kind(
    Namespace,
    "namespaces",
    namespaced=False,
    short_names=("ns",),
    columns=(NAME, Column("Status", lambda obj, _: obj["status"].get("phase", "")), AGE),
    subresources=(("status", "Namespace", STATUS), ("finalize", "Namespace", ("update",))),
    selectable=("status.phase",),
    label_form=True,
    start=_start,
    default=_default,
)
