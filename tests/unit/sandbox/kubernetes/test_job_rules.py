# SPDX-License-Identifier: Apache-2.0
from datetime import datetime, timedelta
from typing import Any

import pytest

from podpass.sandbox.kubernetes.job_rules import Decision, decide
from podpass.sandbox.kubernetes.kind import timestamp
from unit.sandbox.kubernetes.api_world import NOON

Json = dict[str, Any]
LATER = NOON + timedelta(hours=1)


def job(status: Json | None = None, policy: str = "Never", **spec: Any) -> Json:  # noqa: ANN401 - JSON
    whole = {"parallelism": 1, "completions": 1, "backoffLimit": 6, "template": {"spec": {"restartPolicy": policy}}, **spec}
    return {"spec": {name: value for name, value in whole.items() if value is not None}, "status": status or {}}


def pod(phase: str, *, leaving: bool = False, restarts: int = 0, ended: datetime = NOON) -> Json:
    state = {"terminated": {"finishedAt": timestamp(ended)}} if phase in {"Failed", "Succeeded"} else {"running": {}}
    row = {"restartCount": restarts, "state": state}
    return {"metadata": {"deletionTimestamp": "x"} if leaving else {}, "status": {"phase": phase, "containerStatuses": [row]}}


def conditions(decision: Decision) -> dict[str, str]:
    return {row["type"]: row["reason"] for row in decision.status.get("conditions", ()) if row["status"] == "True"}


def test_new_job_gets_its_pods() -> None:
    decision = decide(job(parallelism=2, completions=5), [], NOON)
    assert decision.create == 2
    assert decision.status["startTime"] == timestamp(NOON)


@pytest.mark.parametrize(
    ("pods", "create"),
    [
        ([pod("Running")], 1),
        ([pod("Pending"), pod("Running")], 0),
        ([pod("Succeeded"), pod("Running")], 1),
        ([pod("Succeeded"), pod("Succeeded"), pod("Running")], 0),
        ([pod("Running", leaving=True), pod("Running")], 0),
    ],
)
def test_as_many_pods_run_as_are_still_wanted(pods: list[Json], create: int) -> None:
    assert decide(job(parallelism=2, completions=3), pods, NOON).create == create


def test_success_is_announced_then_complete() -> None:
    decision = decide(job(), [pod("Succeeded")], NOON)
    assert conditions(decision) == {"SuccessCriteriaMet": "CompletionsReached", "Complete": "CompletionsReached"}
    assert decision.status["completionTime"] == timestamp(NOON)
    assert decision.told == ("Completed", "Job completed")
    assert (decision.status["succeeded"], "active" in decision.status) == (1, False)


def test_without_completions_the_first_success_stops_new_pods_and_the_last_end_completes() -> None:
    running = decide(job(completions=None, parallelism=2), [pod("Succeeded"), pod("Running")], NOON)
    assert (running.create, conditions(running)) == (0, {})
    assert "Complete" in conditions(decide(job(completions=None, parallelism=2), [pod("Succeeded")], NOON))


def test_failed_pod_is_replaced_after_a_pause_that_doubles() -> None:
    pods = [pod("Failed"), pod("Failed", ended=NOON - timedelta(minutes=1))]
    early = decide(job(), pods, NOON + timedelta(seconds=5))
    assert (early.create, early.due_s) == (0, 15.0)
    assert decide(job(), pods, NOON + timedelta(seconds=20)).create == 1


def test_too_many_failures_end_the_job() -> None:
    decision = decide(job(backoffLimit=0), [pod("Failed")], LATER)
    assert conditions(decision) == {"FailureTarget": "BackoffLimitExceeded", "Failed": "BackoffLimitExceeded"}
    assert decision.told == ("BackoffLimitExceeded", "Job has reached the specified backoff limit")
    assert decision.create == 0


def test_failing_job_has_failed_only_when_its_pods_have_ended() -> None:
    still = pod("Running")
    first = decide(job(backoffLimit=0, parallelism=2, completions=2), [pod("Failed"), still], LATER)
    assert (conditions(first), first.delete) == ({"FailureTarget": "BackoffLimitExceeded"}, [still])
    second = decide(job(first.status, backoffLimit=0, parallelism=2, completions=2), [pod("Failed"), pod("Running", leaving=True)], LATER)
    assert "Failed" not in conditions(second)
    assert "Failed" in conditions(decide(job(second.status, backoffLimit=0), [pod("Failed")], LATER))


@pytest.mark.parametrize(("limit", "restarts", "fails"), [(0, 0, False), (0, 1, True), (3, 2, False), (3, 3, True)])
def test_restarts_in_place_count_against_the_limit(limit: int, restarts: int, fails: object) -> None:
    decision = decide(job(policy="OnFailure", backoffLimit=limit), [pod("Running", restarts=restarts)], NOON)
    assert ("FailureTarget" in conditions(decision)) == fails


def test_deadline_ends_the_job_and_is_waited_for() -> None:
    started = decide(job(activeDeadlineSeconds=60), [pod("Running")], NOON)
    assert started.due_s == 60.0
    late = decide(job(started.status, activeDeadlineSeconds=60), [pod("Running")], NOON + timedelta(seconds=60))
    assert conditions(late) == {"FailureTarget": "DeadlineExceeded"}


def test_suspended_job_loses_its_pods_and_gets_them_back() -> None:
    suspended = decide(job({"startTime": timestamp(NOON)}, suspend=True), [pod("Running")], NOON)
    assert (len(suspended.delete), conditions(suspended)) == (1, {"Suspended": "JobSuspended"})
    assert "startTime" not in suspended.status
    resumed = decide(job(suspended.status), [], LATER)
    assert (resumed.create, conditions(resumed), resumed.status["startTime"]) == (1, {}, timestamp(LATER))


def test_finished_job_goes_after_its_time() -> None:
    finished = decide(job(), [pod("Succeeded")], NOON).status
    waiting = decide(job(finished, ttlSecondsAfterFinished=100), [], NOON + timedelta(seconds=40))
    assert (waiting.expired, waiting.due_s) == (False, 60.0)
    assert decide(job(finished, ttlSecondsAfterFinished=100), [], NOON + timedelta(seconds=100)).expired
    assert decide(job(finished), [], LATER) == Decision(finished)


def test_count_outlives_the_pod() -> None:
    status = decide(job(completions=2), [pod("Succeeded")], NOON).status
    assert decide(job(status, completions=2), [], NOON).status["succeeded"] == 1


def test_fewer_wanted_pods_end_the_surplus() -> None:
    assert len(decide(job(parallelism=1, completions=5), [pod("Running")] * 3, NOON).delete) == 2
