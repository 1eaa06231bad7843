# SPDX-License-Identifier: Apache-2.0
"""What a Job wants at a moment, given its pods. Pure: the job controller carries it out.

Simpler than the real controller in one point: pods carry no tracking finalizer, so a finished pod that somebody deletes is forgotten
unless the job's status has counted it already.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from podpass.sandbox.kubernetes.kind import moment, timestamp

Json = dict[str, Any]

_FIRST_BACKOFF_S: Final = 10  # doubled with each failed pod
_MOST_BACKOFF_S: Final = 600
_EXCEEDED: Final = ("BackoffLimitExceeded", "Job has reached the specified backoff limit")
_TOO_LONG: Final = ("DeadlineExceeded", "Job was active longer than specified deadline")
_REACHED: Final = ("CompletionsReached", "Reached expected number of succeeded pods")


@dataclass(slots=True)
class Decision:
    """What to do for a job.

    Args:
        status: Its status as it should be.
        create: How many pods to make.
        delete: Pods to delete.
        expired: Whether the job itself is to be deleted: its time after finishing is over.
        due_s: When to look again although nothing has happened.
        told: The reason and message of the end that the job has just come to.
    """

    status: Json
    create: int = 0
    delete: list[Json] = field(default_factory=list)
    expired: bool = False
    due_s: float | None = None
    told: tuple[str, str] | None = None


def decide(job: Json, pods: list[Json], now: datetime) -> Decision:
    """Say what a job needs now.

    Args:
        job: The Job; not one that is being deleted.
        pods: All pods it controls.
        now: The present moment.
    """
    before = job.get("status") or {}
    ended = _condition(before, "Complete") or _condition(before, "Failed")
    if ended:
        return _after_end(job, before, ended, now)
    spec = job["spec"]
    active = [pod for pod in pods if _phase(pod) not in {"Succeeded", "Failed"} and not _leaving(pod)]
    leaving = [pod for pod in pods if _phase(pod) not in {"Succeeded", "Failed"} and _leaving(pod)]
    status = _counted(before, pods, active, leaving)
    decision = Decision(status)
    if spec.get("suspend"):
        return _suspended(decision, active, now)
    status.setdefault("startTime", timestamp(now))
    _set(status, "Suspended", "False", ("JobResumed", "Job resumed"), now, only_if_present=True)
    end = _end_of(spec, status, active, now)
    if end:
        _finish(decision, end, active, leaving, now)
    else:
        _populate(decision, spec, pods, active, now)
    return decision


def _counted(before: Json, pods: list[Json], active: list[Json], leaving: list[Json]) -> Json:
    """Return the status with the pods as they are now; what has ended once stays counted."""
    counts = {
        "active": len(active),
        "succeeded": max(before.get("succeeded", 0), sum(_phase(pod) == "Succeeded" for pod in pods)),
        "failed": max(before.get("failed", 0), sum(_phase(pod) == "Failed" for pod in pods)),
    }
    rest = {name: value for name, value in before.items() if name not in counts}
    always = {"ready": sum(_ready(pod) for pod in active), "terminating": len(leaving), "uncountedTerminatedPods": {}}
    return rest | {name: count for name, count in counts.items() if count} | always


def _end_of(spec: Json, status: Json, active: list[Json], now: datetime) -> tuple[str, tuple[str, str]] | None:
    """Return the condition that the job has come to, and why."""
    for begun, final in (("FailureTarget", "Failed"), ("SuccessCriteriaMet", "Complete")):
        condition = _condition(status, begun)
        if condition:
            return final, (condition["reason"], condition["message"])
    restarts = sum(row.get("restartCount", 0) for pod in active for row in pod["status"].get("containerStatuses") or ())
    limit = spec["backoffLimit"]
    if status.get("failed", 0) > limit or (spec["template"]["spec"]["restartPolicy"] == "OnFailure" and restarts > 0 and restarts >= limit):
        return "Failed", _EXCEEDED
    deadline_s = spec.get("activeDeadlineSeconds")
    if deadline_s is not None and now >= moment(status["startTime"]) + timedelta(seconds=deadline_s):
        return "Failed", _TOO_LONG
    wanted = spec.get("completions")
    succeeded = status.get("succeeded", 0)
    done = succeeded >= wanted if wanted is not None else succeeded > 0 and not active
    return ("Complete", _REACHED) if done else None


def _finish(decision: Decision, end: tuple[str, tuple[str, str]], active: list[Json], leaving: list[Json], now: datetime) -> None:
    """Say first that the job will end so, and that it has ended once no pod runs any more."""
    final, why = end
    status = decision.status
    _set(status, "FailureTarget" if final == "Failed" else "SuccessCriteriaMet", "True", why, now)
    decision.delete = active
    if active or leaving:
        return
    _set(status, final, "True", why, now)
    if final == "Complete":
        status["completionTime"] = timestamp(now)
    decision.told = why if final == "Failed" else ("Completed", "Job completed")


def _populate(decision: Decision, spec: Json, pods: list[Json], active: list[Json], now: datetime) -> None:
    """Bring the number of running pods to what is wanted, not too soon after a failure."""
    status, wanted = decision.status, spec.get("completions")
    if wanted is None:
        target = len(active) if status.get("succeeded") else spec["parallelism"]
    else:
        target = min(spec["parallelism"], wanted - status.get("succeeded", 0))
    decision.delete = active[target:]
    missing = target - len(active) - status["terminating"]
    if missing > 0:
        pause_s = (_next_try(pods, status.get("failed", 0), now) - now).total_seconds()
        if pause_s > 0:
            decision.due_s = pause_s
        else:
            decision.create = missing
    deadline_s = spec.get("activeDeadlineSeconds")
    if deadline_s is not None:
        left_s = (moment(status["startTime"]) + timedelta(seconds=deadline_s) - now).total_seconds()
        decision.due_s = left_s if decision.due_s is None else min(left_s, decision.due_s)


def _next_try(pods: list[Json], failed: int, now: datetime) -> datetime:
    """Return when the next pod may be made: the pause after the last failure doubles each time."""
    ends = [
        moment(state["terminated"]["finishedAt"])
        for pod in pods
        if _phase(pod) == "Failed"
        for state in (row.get("state") or {} for row in pod["status"].get("containerStatuses") or ())
        if (state.get("terminated") or {}).get("finishedAt")
    ]
    if not failed or not ends:
        return now
    return max(ends) + timedelta(seconds=min(_FIRST_BACKOFF_S * 2 ** (failed - 1), _MOST_BACKOFF_S))


def _suspended(decision: Decision, active: list[Json], now: datetime) -> Decision:
    decision.delete = active
    decision.status.pop("startTime", None)
    _set(decision.status, "Suspended", "True", ("JobSuspended", "Job suspended"), now)
    return decision


def _after_end(job: Json, status: Json, ended: Json, now: datetime) -> Decision:
    ttl_s = job["spec"].get("ttlSecondsAfterFinished")
    if ttl_s is None:
        return Decision(status)
    left_s = (moment(ended["lastTransitionTime"]) + timedelta(seconds=ttl_s) - now).total_seconds()
    return Decision(status, expired=left_s <= 0, due_s=max(0.0, left_s))


def _condition(status: Json, kind: str) -> Json | None:
    return next((row for row in status.get("conditions") or () if row["type"] == kind and row["status"] == "True"), None)


def _set(status: Json, kind: str, value: str, why: tuple[str, str], now: datetime, *, only_if_present: bool = False) -> None:
    rows = status.get("conditions") or []
    known = next((row for row in rows if row["type"] == kind), None)
    if (known and known["status"] == value) or (only_if_present and not known):
        return
    times = {"lastProbeTime": timestamp(now), "lastTransitionTime": timestamp(now)}
    row = {"type": kind, "status": value, **times, "reason": why[0], "message": why[1]}
    status["conditions"] = [*(row for row in rows if row["type"] != kind), row]


def _phase(pod: Json) -> str:
    return str((pod.get("status") or {}).get("phase", ""))


def _leaving(pod: Json) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _ready(pod: Json) -> bool:
    return any(row["type"] == "Ready" and row["status"] == "True" for row in (pod.get("status") or {}).get("conditions") or ())
