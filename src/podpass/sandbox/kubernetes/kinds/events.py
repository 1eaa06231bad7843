# SPDX-License-Identifier: Apache-2.0
"""Events: what happened to other objects, for people to read."""

from datetime import datetime
from typing import Any

from lightkube.models.core_v1 import Event

from podpass.sandbox.kubernetes.kind import Column, Kind, age


def _last_seen(event: dict[str, Any], now: datetime) -> str:
    return age(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"], now)


def _object(event: dict[str, Any], _: datetime) -> str:
    involved = event.get("involvedObject") or {}
    return f"{involved.get('kind', '').lower()}/{involved.get('name', '')}"


EVENT = Kind(
    Event,
    "events",
    short_names=("ev",),
    columns=(
        Column("Last Seen", _last_seen),
        Column("Type", lambda obj, _: obj.get("type", "")),
        Column("Reason", lambda obj, _: obj.get("reason", "")),
        Column("Object", _object),
        Column("Message", lambda obj, _: obj.get("message", "").strip()),
    ),
    selectable=(
        *(f"involvedObject.{name}" for name in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")),
        *("reason", "reportingComponent", "type"),
    ),
    lasting=False,
)
