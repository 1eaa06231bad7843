# SPDX-License-Identifier: Apache-2.0
"""A pod's status from its containers', as kubelet computes it. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from podpass.sandbox.cluster_client import Object


def rfc3339(moment: datetime) -> str:
    """Write a moment as Kubernetes does, in whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def phase(policy: str, init: Sequence[Object], containers: Sequence[Object], sidecars: Sequence[Object] = ()) -> str:
    """Return the phase for a restart policy and the statuses of the containers; sidecars are those that outlive the init step.

    Source: Kubernetes, pkg/kubelet/kubelet_pods.go, getPhase.
    """
    # A pod is not done before its sidecars are; how they ended does not matter.
    accompanied = any("running" in status["state"] for status in sidecars)
    for status in init:
        code = _exit_code(status)
        if code != 0:
            return "Failed" if code is not None and policy == "Never" and not accompanied else "Pending"
    states = [status["state"] for status in containers]
    if any("waiting" in status["state"] and not status["lastState"] for status in (*sidecars, *containers)):
        return "Pending"
    if accompanied or any("running" in state for state in states) or any("waiting" in state for state in states):
        return "Running"
    if policy == "Always":
        return "Running"
    if all(_exit_code(status) == 0 for status in containers):
        return "Succeeded"
    return "Failed" if policy == "Never" else "Running"


def phase_after_deletion(containers: Sequence[Object]) -> str:
    """Return the phase of a pod whose containers were all ended because it is deleted."""
    return "Succeeded" if all(_exit_code(status) == 0 for status in containers) else "Failed"


def _exit_code(status: Object) -> int | None:
    terminated = status["state"].get("terminated")
    return None if terminated is None else int(terminated["exitCode"])


def conditions(
    phase: str,
    init: Sequence[Object],
    containers: Sequence[Object],
    before: Sequence[Object],
    now: datetime,
    sidecars: Sequence[Object] = (),
) -> list[Object]:
    """Return the conditions that a kubelet owns; `before` gives those that did not change their time of transition."""
    waiting_init = [status["name"] for status in init if _exit_code(status) != 0]
    if all("waiting" in status["state"] and not status["lastState"] for status in containers):
        waiting_init += [status["name"] for status in sidecars if not status["started"]]
    unready = [status["name"] for status in (*sidecars, *containers) if not status["ready"]]
    completed = "PodCompleted" if phase == "Succeeded" else "PodFailed" if phase == "Failed" else ""
    not_ready = (completed or "ContainersNotReady", "" if completed else f"containers with unready status: [{' '.join(unready)}]")
    laid = any("waiting" not in status["state"] for status in (*init, *sidecars, *containers))
    verdicts: list[tuple[str, bool, tuple[str, str]]] = [
        ("PodReadyToStartContainers", laid and not completed, ("", "")),
        (
            "Initialized",
            not waiting_init,
            ("ContainersNotInitialized", f"containers with incomplete status: [{' '.join(waiting_init)}]"),
        ),
        ("Ready", not unready, not_ready),
        ("ContainersReady", not unready, not_ready),
        ("PodScheduled", True, ("", "")),
    ]
    known = {condition["type"]: condition for condition in before}
    return [_condition(kind, holds, why, known.get(kind), now) for kind, holds, why in verdicts]


def _condition(kind: str, holds: bool, why: tuple[str, str], before: Object | None, now: datetime) -> Object:  # noqa: FBT001 - a verdict
    condition: dict[str, Any] = {"type": kind, "status": "True" if holds else "False", "lastProbeTime": None}
    if not holds and why[0]:
        condition |= {"reason": why[0], "message": why[1]} if why[1] else {"reason": why[0]}
    same = before is not None and before["status"] == condition["status"]
    condition["lastTransitionTime"] = before["lastTransitionTime"] if same and before else rfc3339(now)
    return condition
