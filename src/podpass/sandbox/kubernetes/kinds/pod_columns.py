# SPDX-License-Identifier: Apache-2.0
"""What `kubectl get pods` shows."""

from datetime import datetime
from typing import Final

from podpass.sandbox.kubernetes.kind import AGE, NAME, Column, Json


def _statuses(pod: Json) -> list[Json]:
    return (pod.get("status") or {}).get("containerStatuses") or []


def _sidecars(pod: Json) -> list[Json]:
    """Return the statuses of the init containers that go on running; they count as the others do."""
    names = {row["name"] for row in pod["spec"].get("initContainers") or () if row.get("restartPolicy") == "Always"}
    return [row for row in (pod.get("status") or {}).get("initContainerStatuses") or () if row["name"] in names]


def _ready(pod: Json, _: datetime) -> str:
    sidecars = sum(row.get("restartPolicy") == "Always" for row in pod["spec"].get("initContainers") or ())
    ready = sum(bool(row.get("ready")) for row in (*_statuses(pod), *_sidecars(pod)))
    return f"{ready}/{len(pod['spec']['containers']) + sidecars}"


def _starting(pod: Json) -> str:
    """Say how far the init containers are (kubectl: pkg/printers/internalversion, printPod); nothing once they are through."""
    started = {row["name"] for row in _sidecars(pod) if row.get("started")}
    statuses = (pod.get("status") or {}).get("initContainerStatuses") or []
    for index, row in enumerate(statuses):
        state = row.get("state") or {}
        ended, waits = state.get("terminated") or {}, (state.get("waiting") or {}).get("reason", "PodInitializing")
        if row["name"] in started or ended.get("exitCode") == 0:
            continue
        if ended:
            return f"Init:{ended.get('reason') or 'ExitCode:' + str(ended['exitCode'])}"
        return f"Init:{index}/{len(statuses)}" if waits == "PodInitializing" else f"Init:{waits}"
    return ""


def _phase(pod: Json, _: datetime) -> str:
    """Say the most telling thing about a pod: the reason of a container, else the phase."""
    if pod["metadata"].get("deletionTimestamp"):
        return "Terminating"
    status = pod.get("status") or {}
    through = any((row["type"], row["status"]) == ("Initialized", "True") for row in status.get("conditions") or ())
    if not through and (starting := _starting(pod)):
        return starting
    for state in (row.get("state") or {} for row in reversed(_statuses(pod))):
        for name in ("waiting", "terminated"):
            reason = (state.get(name) or {}).get("reason")
            if reason:
                return str(reason)
    return str(status.get("reason") or status.get("phase", "Unknown"))


def _restarts(pod: Json, _: datetime) -> int:
    return sum(row.get("restartCount", 0) for row in (*_statuses(pod), *_sidecars(pod)))


COLUMNS: Final = (
    NAME,
    Column("Ready", _ready),
    Column("Status", _phase),
    Column("Restarts", _restarts, "integer"),
    AGE,
    Column("IP", lambda obj, _: (obj.get("status") or {}).get("podIP") or "<none>", wide=True),
    Column("Node", lambda obj, _: obj["spec"].get("nodeName") or "<none>", wide=True),
)
