# SPDX-License-Identifier: Apache-2.0
"""Jobs: the defaults, labels and selector that the API server gives them; `sandbox.kubernetes.jobs` makes their pods."""

from datetime import datetime
from typing import Any, Final

from lightkube.models.batch_v1 import Job

from podpass.sandbox.kubernetes.kind import AGE, NAME, STATUS, Column, Json, Kind, age, moment
from podpass.sandbox.kubernetes.kinds.pod_spec import check_pod_spec, containers_of, default_pod_spec
from podpass.sandbox.kubernetes.status import Cause, invalid_value, not_served, required

_DEFAULTS: Final = {
    "backoffLimit": 6,
    "completionMode": "NonIndexed",
    "suspend": False,
    "podReplacementPolicy": "TerminatingOrFailed",
    "manualSelector": False,
}
# Members that change which pods are made or counted, and the only value that the job controller here knows.
_ONLY: Final[dict[str, Any]] = {
    "completionMode": "NonIndexed",
    "podReplacementPolicy": "TerminatingOrFailed",
    "manualSelector": False,
    "managedBy": "kubernetes.io/job-controller",
} | dict.fromkeys(("podFailurePolicy", "successPolicy", "backoffLimitPerIndex"))
_FIXED: Final = ("completions", "completionMode", "selector", "template")


def _default(job: Json) -> None:
    spec = job.setdefault("spec", {})
    for name, only in _ONLY.items():
        if spec.get(name, only) != only:
            raise not_served(f"jobs with spec.{name}")
    # As in batch/v1's defaults: both absent means one pod once; one given leaves the other to its meaning.
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    for name, value in _DEFAULTS.items():
        spec.setdefault(name, value)
    template = spec.setdefault("template", {})
    default_pod_spec(template.setdefault("spec", {}))


def _start(job: Json) -> None:
    """Tie the pods-to-be to this job by its uid."""
    metadata, spec = job["metadata"], job["spec"]
    job["status"] = {}
    labels = {"controller-uid": metadata["uid"], "job-name": metadata["name"]}
    labels |= {f"batch.kubernetes.io/{name}": value for name, value in labels.items()}
    template = spec["template"].setdefault("metadata", {})
    template["labels"] = {**(template.get("labels") or {}), **labels}
    metadata.setdefault("labels", dict(template["labels"]))
    spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": metadata["uid"]}}


def _check(job: Json, old: Json | None) -> list[Cause]:
    spec = job["spec"]
    causes = [
        invalid_value(f"spec.{name}", spec[name], "must be greater than or equal to 0")
        for name in ("parallelism", "completions", "backoffLimit", "ttlSecondsAfterFinished", "activeDeadlineSeconds")
        if spec.get(name, 0) < 0
    ]
    pod = spec["template"]["spec"]
    causes += check_pod_spec(pod, "spec.template.spec")
    if pod["restartPolicy"] == "Always":  # also what an absent one defaults to
        causes.append(required("spec.template.spec.restartPolicy", 'valid values: "OnFailure", "Never"'))
    if old is not None:
        causes += [
            invalid_value(f"spec.{name}", spec.get(name), "field is immutable")
            for name in _FIXED
            if spec.get(name) != old["spec"].get(name)
        ]
    return causes


def _state(job: Json, _: datetime) -> str:
    conditions = {row["type"] for row in (job.get("status") or {}).get("conditions") or () if row["status"] == "True"}
    if job["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return next(
        (name for name in ("Complete", "Failed", "Suspended", "FailureTarget", "SuccessCriteriaMet") if name in conditions), "Running"
    )


def _completions(job: Json, _: datetime) -> str:
    spec = job["spec"]
    wanted = str(spec["completions"]) if "completions" in spec else "1" + (f" of {spec['parallelism']}" if spec["parallelism"] > 1 else "")
    return f"{(job.get('status') or {}).get('succeeded', 0)}/{wanted}"


def _duration(job: Json, now: datetime) -> str:
    status = job.get("status") or {}
    if not status.get("startTime"):
        return ""
    return age(status["startTime"], moment(status["completionTime"]) if status.get("completionTime") else now)


def _each(job: Json, member: str) -> str:
    return ",".join(container.get(member, "") for container in containers_of(job["spec"]["template"]["spec"]))


JOB = Kind(
    Job,
    "jobs",
    group="batch",
    categories=("all",),
    columns=(
        NAME,
        Column("Status", _state),
        Column("Completions", _completions),
        Column("Duration", _duration),
        AGE,
        Column("Containers", lambda job, _: _each(job, "name"), wide=True),
        Column("Images", lambda job, _: _each(job, "image"), wide=True),
    ),
    subresources=(("status", "Job", STATUS),),
    selectable=("status.successful",),
    versioned=True,
    lasting=False,
    start=_start,
    default=_default,
    check=_check,
)
