# SPDX-License-Identifier: Apache-2.0
"""Tables: what `kubectl get` asks for when nobody wants the objects themselves."""

from datetime import datetime
from typing import Any

from podpass.sandbox.kubernetes.kind import Json, Kind


def table(kind: Kind, items: list[Json], metadata: Json, now: datetime, *, include: str = "Metadata", headed: bool = True) -> Json:
    """Return objects as a Table.

    Args:
        kind: Their kind, which has the columns.
        items: The objects.
        metadata: The list's.
        now: The moment that ages are counted to.
        include: What a row carries beside its cells: `None`, `Metadata` or `Object`.
        headed: Whether to define the columns; only the first of a watch does.
    """
    definitions = [
        {
            "name": column.name,
            "type": column.type,
            "format": "name" * (column.name == "Name"),
            "description": "",
            "priority": int(column.wide),
        }
        for column in kind.columns
    ]
    rows = [{"cells": [column.value(obj, now) for column in kind.columns], "object": _carried(obj, include)} for obj in items]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": definitions if headed else None,
        "rows": rows,
    }


def _carried(obj: Json, include: str) -> Any:  # noqa: ANN401 - JSON
    if include == "None":
        return None
    if include == "Object":
        return obj
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}
