# SPDX-License-Identifier: Apache-2.0
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from podpass.sandbox.node.status import conditions, phase, phase_after_deletion, rfc3339

NOW = datetime(2026, 11, 22, 4, 5, 6, tzinfo=UTC)


def status(state: str, code: int = 0, *, before: bool = False) -> dict[str, Any]:
    return {
        "name": "main",
        "ready": state == "running",
        "state": {state: {"exitCode": code} if state == "terminated" else {}},
        "lastState": {"terminated": {"exitCode": 1}} if before else {},
    }


WAITS, RUNS, DONE, FAILED = status("waiting"), status("running"), status("terminated"), status("terminated", 1)


# Kubernetes, pkg/kubelet/kubelet_pods.go, getPhase, and its table of tests.
@pytest.mark.parametrize(
    ("policy", "init", "main", "expected"),
    [
        ("Always", [], [WAITS], "Pending"),
        ("Always", [], [RUNS], "Running"),
        ("Always", [], [RUNS, WAITS], "Pending"),
        ("Always", [], [DONE, DONE], "Running"),
        ("Always", [], [status("waiting", before=True)], "Running"),
        ("OnFailure", [], [DONE, DONE], "Succeeded"),
        ("OnFailure", [], [DONE, FAILED], "Running"),
        ("OnFailure", [], [DONE, RUNS], "Running"),
        ("Never", [], [DONE, DONE], "Succeeded"),
        ("Never", [], [DONE, FAILED], "Failed"),
        ("Never", [], [RUNS, FAILED], "Running"),
        ("Never", [RUNS], [WAITS], "Pending"),
        ("Never", [FAILED], [WAITS], "Failed"),
        ("OnFailure", [FAILED], [WAITS], "Pending"),
        ("Never", [DONE], [WAITS], "Pending"),
        ("Never", [DONE], [RUNS], "Running"),
    ],
)
def test_phase_is_kubelets(policy: str, init: list[dict[str, Any]], main: list[dict[str, Any]], expected: str) -> None:
    assert phase(policy, init, main) == expected


UP, STARTING = [{**RUNS, "started": True}], [{**RUNS, "started": False, "ready": False}]


@pytest.mark.parametrize(
    ("init", "main", "sidecars", "expected"),
    [
        ([], [WAITS], STARTING, "Pending"),
        ([], [RUNS], UP, "Running"),
        ([], [DONE], UP, "Running"),
        ([], [DONE], [DONE], "Succeeded"),
        ([], [DONE], [FAILED], "Succeeded"),
        ([], [FAILED], [DONE], "Failed"),
        ([], [RUNS], [status("waiting", before=True)], "Running"),
        ([FAILED], [WAITS], UP, "Pending"),
        ([FAILED], [WAITS], [FAILED], "Failed"),
    ],
)
def test_pod_is_done_with_its_sidecars_whose_own_end_does_not_matter(
    init: list[dict[str, Any]], main: list[dict[str, Any]], sidecars: list[dict[str, Any]], expected: str
) -> None:
    assert phase("Never", init, main, sidecars) == expected


def test_pod_is_initialized_once_its_sidecars_have_started_and_ready_with_them() -> None:
    starting = conditions("Pending", [], [WAITS], [], NOW, [{**STARTING[0], "name": "proxy"}])
    assert verdicts(starting)["Initialized"] == "False"
    assert next(row for row in starting if row["type"] == "Ready")["message"] == "containers with unready status: [proxy main]"
    assert set(verdicts(conditions("Running", [], [RUNS], [], NOW, UP)).values()) == {"True"}
    again = conditions("Running", [], [RUNS], [], NOW, STARTING)
    assert (verdicts(again)["Initialized"], verdicts(again)["Ready"]) == ("True", "False")


def test_deleted_pod_failed_unless_all_had_ended_well() -> None:
    assert phase_after_deletion([DONE, DONE]) == "Succeeded"
    assert phase_after_deletion([DONE, status("terminated", 143)]) == "Failed"
    assert phase_after_deletion([WAITS]) == "Failed"


def verdicts(found: list[dict[str, Any]]) -> dict[str, str]:
    return {condition["type"]: condition["status"] for condition in found}


def test_running_pod_is_ready() -> None:
    assert set(verdicts(conditions("Running", [], [RUNS], [], NOW)).values()) == {"True"}


def test_unready_container_is_named() -> None:
    found = {condition["type"]: condition for condition in conditions("Pending", [], [WAITS], [], NOW)}
    assert (found["Ready"]["reason"], found["Ready"]["message"]) == ("ContainersNotReady", "containers with unready status: [main]")


def test_finished_pod_says_that_it_is_completed() -> None:
    found = {condition["type"]: condition for condition in conditions("Succeeded", [], [DONE], [], NOW)}
    assert (found["Ready"]["status"], found["Ready"]["reason"]) == ("False", "PodCompleted")


def test_condition_keeps_the_moment_of_its_last_change() -> None:
    first = conditions("Pending", [], [WAITS], [], NOW)
    later = {condition["type"]: condition for condition in conditions("Running", [], [RUNS], first, NOW + timedelta(seconds=9))}
    assert later["PodScheduled"]["lastTransitionTime"] == rfc3339(NOW)
    assert later["Ready"]["lastTransitionTime"] == "2026-11-22T04:05:15Z"
