# SPDX-License-Identifier: Apache-2.0
"""What a person does to the cluster in a story with kubectl, done over the same API."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from time import monotonic, sleep
from typing import Any

from podpass.demo.story import StoryError
from podpass.kube.client import KubeClient, Request
from podpass.kube.fault import KubeRefusedError

_PATIENCE_S = 60.0
_POLL_S = 0.1
_SERVICE_ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
_JOBS = "/apis/batch/v1/namespaces/default/jobs"
_PODS = "/api/v1/namespaces/default/pods"


def create_service_account(client: KubeClient, name: str) -> None:
    """Make a service account in `default`."""
    client.call(Request("POST", _SERVICE_ACCOUNTS, f"make the service account {name}", body={"metadata": {"name": name}}))


def delete_service_account(client: KubeClient, name: str) -> None:
    """Delete it again."""
    client.call(Request("DELETE", f"{_SERVICE_ACCOUNTS}/{name}", f"delete the service account {name}"))


def delete_namespace(client: KubeClient, name: str) -> None:
    """Delete a namespace and wait until it has gone; nothing happens if there is none."""
    path = f"/api/v1/namespaces/{name}"
    with suppress(KubeRefusedError):
        client.call(Request("DELETE", path, f"delete the namespace {name}"))
    _until(lambda: client.find(Request("GET", path, f"read the namespace {name}")) is None, f"namespace {name} to go")


def run_job(client: KubeClient, manifest: Mapping[str, Any]) -> tuple[bool, list[str]]:
    """Run a Job to its end and delete it with its pod.

    Returns:
        Whether it completed, and the lines of its pod's log.

    Raises:
        StoryError: It neither completes nor fails within a minute.
    """
    name = manifest["metadata"]["name"]
    client.call(Request("POST", _JOBS, f"make the job {name}", body=dict(manifest)))
    job = Request("GET", f"{_JOBS}/{name}", f"read the job {name}")
    _until(lambda: bool(_ended(client.call(job))), f"job {name} to end")
    completed = _ended(client.call(job)) == {"Complete"}
    log = _log_of(client, name)
    options = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
    client.call(Request("DELETE", f"{_JOBS}/{name}", f"delete the job {name}", body=options))
    _until(lambda: not _pods_of(client, name), f"pods of job {name} to go")
    return completed, log


def _ended(job: Mapping[str, Any]) -> set[str]:
    conditions = job.get("status", {}).get("conditions") or []
    return {each["type"] for each in conditions if each["status"] == "True"} & {"Complete", "Failed"}


def _pods_of(client: KubeClient, job: str) -> list[str]:
    query = {"labelSelector": f"batch.kubernetes.io/job-name={job}"}
    found = client.call(Request("GET", _PODS, "list pods", query=query))
    return [pod["metadata"]["name"] for pod in found["items"]]


def _log_of(client: KubeClient, job: str) -> list[str]:
    lines: list[str] = []
    for pod in _pods_of(client, job):
        lines += client.send(Request("GET", f"{_PODS}/{pod}/log", f"read the log of {pod}")).decode().splitlines()
    return lines


def _until(holds: Callable[[], bool], what: str) -> None:
    deadline = monotonic() + _PATIENCE_S
    while not holds():
        if monotonic() > deadline:
            raise StoryError(f"The demo waited {_PATIENCE_S:.0f} s for {what}.", "", "Look at the pod: kubectl describe pod.")
        sleep(_POLL_S)
