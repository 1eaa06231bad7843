# SPDX-License-Identifier: Apache-2.0
"""The job controller of the sandbox, and the real one, bring the same jobs to the same ends."""

from collections.abc import Callable
from typing import Any

import pytest

from node_world import NodeWorld
from podpass.sandbox.cluster import IssuerChange
from podpass.sandbox.cluster_client import StatusError
from pods import SH

Json = dict[str, Any]
JOBS = "/apis/batch/v1/namespaces/default/jobs"
PODS = "/api/v1/namespaces/default/pods"


def start(world: NodeWorld, name: str, script: str, *, policy: str = "Never", **spec: Any) -> None:  # noqa: ANN401 - JSON
    main = {"name": "main", "image": SH, "args": [script]}
    pod = {"restartPolicy": policy, "terminationGracePeriodSeconds": 1, "containers": [main]}
    world.make("jobs", name, spec={"template": {"spec": pod}, **spec})


def job(world: NodeWorld, name: str) -> Json:
    return world.run(world.client.get(f"{JOBS}/{name}"))


def until(world: NodeWorld, name: str, holds: Callable[[Json], object]) -> Json:
    return world.until(lambda: job(world, name), holds)


def conditions(found: Json) -> dict[str, str]:
    return {row["type"]: row.get("reason", "") for row in found["status"].get("conditions") or () if row["status"] == "True"}


def pods(world: NodeWorld, name: str) -> list[Json]:
    listed: list[Json] = world.run(world.client.get(PODS, labelSelector=f"batch.kubernetes.io/job-name={name}"))["items"]
    return listed


def is_gone(world: NodeWorld, name: str) -> bool:
    try:
        job(world, name)
    except StatusError as error:
        return error.status_code == 404
    return False


def test_pods_carry_the_job_s_labels_and_belong_to_it(node_world: NodeWorld) -> None:
    start(node_world, "labels", "true")
    found = until(node_world, "labels", lambda found: found["status"].get("succeeded"))
    (pod,) = pods(node_world, "labels")
    uid = found["metadata"]["uid"]
    assert pod["metadata"]["name"].startswith("labels-")
    assert pod["metadata"]["labels"] == {
        "controller-uid": uid,
        "job-name": "labels",
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": "labels",
    }
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "labels", "uid": uid, "controller": True, "blockOwnerDeletion": True}
    assert pod["metadata"]["ownerReferences"] == [owner]


def test_success_says_why_in_both_conditions(node_world: NodeWorld) -> None:
    start(node_world, "good", "true", completions=3, parallelism=2)
    found = until(node_world, "good", lambda found: "Complete" in conditions(found))
    assert conditions(found) == {"SuccessCriteriaMet": "CompletionsReached", "Complete": "CompletionsReached"}
    status = {
        name: found["status"].get(name) for name in ("active", "ready", "terminating", "succeeded", "failed", "uncountedTerminatedPods")
    }
    assert status == {"active": None, "ready": 0, "terminating": 0, "succeeded": 3, "failed": None, "uncountedTerminatedPods": {}}
    assert found["status"]["completionTime"] >= found["status"]["startTime"]


def test_failure_past_the_limit_ends_the_job(node_world: NodeWorld) -> None:
    start(node_world, "bad", "exit 3", backoffLimit=0)
    found = until(node_world, "bad", lambda found: "Failed" in conditions(found))
    assert conditions(found) == {"FailureTarget": "BackoffLimitExceeded", "Failed": "BackoffLimitExceeded"}
    assert found["status"]["failed"] == 1
    node_world.until(lambda: node_world.events("bad"), lambda told: "BackoffLimitExceeded" in told)
    assert node_world.events("bad")["BackoffLimitExceeded"] == "Job has reached the specified backoff limit"


def test_deadline_ends_the_job_and_its_pod(node_world: NodeWorld) -> None:
    start(node_world, "late", "sleep 60", activeDeadlineSeconds=1)
    found = until(node_world, "late", lambda found: "Failed" in conditions(found))
    assert conditions(found)["Failed"] == "DeadlineExceeded"
    node_world.until(lambda: pods(node_world, "late"), lambda found: not found)


def test_finished_job_goes_with_its_pods_after_its_time(node_world: NodeWorld) -> None:
    start(node_world, "brief", "true", ttlSecondsAfterFinished=1)
    node_world.until(lambda: is_gone(node_world, "brief"), bool)
    node_world.until(lambda: pods(node_world, "brief"), lambda found: not found)


def test_suspended_job_runs_when_it_is_resumed(node_world: NodeWorld) -> None:
    start(node_world, "paused", "true", suspend=True)
    until(node_world, "paused", lambda found: conditions(found) == {"Suspended": "JobSuspended"})
    assert pods(node_world, "paused") == []
    node_world.run(node_world.client.patch(f"{JOBS}/paused", {"spec": {"suspend": False}}))
    assert "Suspended" not in conditions(until(node_world, "paused", lambda found: "Complete" in conditions(found)))


@pytest.mark.parametrize("propagation", ["Background", "Foreground"])
def test_deleting_a_running_job_ends_its_pod(node_world: NodeWorld, propagation: str) -> None:
    name = f"deleted-{propagation.lower()}"
    start(node_world, name, "sleep 60")
    until(node_world, name, lambda found: found["status"].get("ready"))
    node_world.run(node_world.client.delete(f"{JOBS}/{name}", {"propagationPolicy": propagation}))
    node_world.until(lambda: is_gone(node_world, name), bool)
    node_world.until(lambda: pods(node_world, name), lambda found: not found)


def test_job_without_its_account_waits_for_it(node_world: NodeWorld) -> None:
    main = {"name": "main", "image": SH, "args": ["true"]}
    pod = {"restartPolicy": "Never", "serviceAccountName": "comes-late", "containers": [main]}
    node_world.make("jobs", "waits", spec={"template": {"spec": pod}})
    told = node_world.until(lambda: node_world.events("waits"), lambda told: "FailedCreate" in told)["FailedCreate"]
    assert 'error looking up service account default/comes-late: serviceaccount "comes-late" not found' in told
    node_world.make("serviceaccounts", "comes-late")
    until(node_world, "waits", lambda found: "Complete" in conditions(found))


def test_controller_works_on_after_a_restart_of_the_api_server(node_world: NodeWorld) -> None:
    start(node_world, "across", "sleep 1.5; echo done")
    until(node_world, "across", lambda found: found["status"].get("active"))
    node_world.run(node_world.cluster.restart(IssuerChange()))
    until(node_world, "across", lambda found: "Complete" in conditions(found))
    (pod,) = pods(node_world, "across")
    assert node_world.log(pod["metadata"]["name"]) == "done\n"
