# SPDX-License-Identifier: Apache-2.0
"""What a person does to the cluster in a story with kubectl, done over the same API."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from time import monotonic, sleep
from typing import Any

from podpass.demo.story import StoryError
from podpass.kube.client import KubeClient, Request
from podpass.kube.fault import KubeRefusedError
from podpass.names import Secret

_PATIENCE_S = 60.0
_POLL_S = 0.1
_CORE = "/api/v1/namespaces"
_SERVICE_ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
_JOBS = "/apis/batch/v1/namespaces/default/jobs"
_PODS = "/api/v1/namespaces/default/pods"


def create_service_account(client: KubeClient, name: str) -> None:
    """Make a service account in `default`."""
    client.call(Request("POST", _SERVICE_ACCOUNTS, f"make the service account {name}", body={"metadata": {"name": name}}))


def delete_service_account(client: KubeClient, name: str) -> None:
    """Delete it again."""
    client.call(Request("DELETE", f"{_SERVICE_ACCOUNTS}/{name}", f"delete the service account {name}"))


def is_settled(client: KubeClient) -> bool:
    """Tell whether the controllers have given each namespace what each has: an account, and the cluster's authority."""
    namespaces = {item["metadata"]["name"] for item in client.call(Request("GET", _CORE, "list namespaces"))["items"]}
    for plural, name in (("serviceaccounts", "default"), ("configmaps", "kube-root-ca.crt")):
        query = {"fieldSelector": f"metadata.name={name}"}
        found = client.call(Request("GET", f"/api/v1/{plural}", f"list {plural}", query=query))["items"]
        if namespaces - {item["metadata"]["namespace"] for item in found}:
            return False
    return True


def delete_namespace(client: KubeClient, name: str) -> None:
    """Delete a namespace and wait until it has gone; nothing happens if there is none."""
    path = f"/api/v1/namespaces/{name}"
    with suppress(KubeRefusedError):
        client.call(Request("DELETE", path, f"delete the namespace {name}"))
    until(client, lambda: client.find(Request("GET", path, f"read the namespace {name}")) is None, f"namespace {name} to go")


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
    until(client, lambda: bool(_ended(client.call(job))), f"job {name} to end")
    completed = _ended(client.call(job)) == {"Complete"}
    log = _log_of(client, name)
    options = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
    client.call(Request("DELETE", f"{_JOBS}/{name}", f"delete the job {name}", body=options))
    until(client, lambda: not _pods_of(client, name), f"pods of job {name} to go")
    return completed, log


def _ended(job: Mapping[str, Any]) -> set[str]:
    conditions = job.get("status", {}).get("conditions") or []
    return {each["type"] for each in conditions if each["status"] == "True"} & {"Complete", "Failed"}


def _pods_of(client: KubeClient, job: str) -> list[str]:
    query = {"labelSelector": f"batch.kubernetes.io/job-name={job}"}
    found = client.call(Request("GET", _PODS, "list pods", query=query))
    return [pod["metadata"]["name"] for pod in found["items"]]


def _log_of(client: KubeClient, job: str) -> list[str]:
    return [line for pod in _pods_of(client, job) for line in log_of(client, "default", pod)]


def log_of(client: KubeClient, namespace: str, pod: str) -> list[str]:
    """Return the lines that a pod has written so far; none while it does not run yet."""
    path = f"{_CORE}/{namespace}/pods/{pod}/log"
    try:
        return client.send(Request("GET", path, f"read the log of {namespace}/{pod}")).decode().splitlines()
    except KubeRefusedError:
        return []


def delete_pod(client: KubeClient, namespace: str, name: str) -> None:
    """Delete a pod and wait until it has gone."""
    path = f"{_CORE}/{namespace}/pods/{name}"
    client.call(Request("DELETE", path, f"delete the pod {namespace}/{name}"))
    until(client, lambda: client.find(Request("GET", path, f"read the pod {namespace}/{name}")) is None, f"pod {name} to go")


def delete_pod_if_there(client: KubeClient, namespace: str, name: str) -> None:
    """Do as `delete_pod`; nothing happens if there is none."""
    if client.find(Request("GET", f"{_CORE}/{namespace}/pods/{name}", f"read the pod {namespace}/{name}")):
        delete_pod(client, namespace, name)


def token_of_pod(client: KubeClient, namespace: str, name: str, audience: str) -> Secret[str]:
    """Ask for a token that ends with a pod, as kubelet does for the pod's own."""
    pod = client.call(Request("GET", f"{_CORE}/{namespace}/pods/{name}", f"read the pod {namespace}/{name}"))
    bound = {"kind": "Pod", "apiVersion": "v1", "name": name, "uid": pod["metadata"]["uid"]}
    path = f"{_CORE}/{namespace}/serviceaccounts/{pod['spec']['serviceAccountName']}/token"
    spec = {"audiences": [audience], "expirationSeconds": 600, "boundObjectRef": bound}
    answer = client.call(Request("POST", path, f"issue a token for the pod {namespace}/{name}", body={"spec": spec}))
    return Secret(answer["status"]["token"], "subject token")


def until(client: KubeClient, holds: Callable[[], bool], what: str, patience_s: float = _PATIENCE_S) -> None:
    """Wait until something holds.

    Raises:
        StoryError: It does not for as long as one can wait; with what the cluster warns of.
    """
    deadline = monotonic() + patience_s
    while not holds():
        if monotonic() > deadline:
            why = " ".join(_warnings(client)) or "The cluster warns of nothing, so it is busy or stuck."
            raise StoryError(f"The demo waited {patience_s:.0f} s for {what}.", why, "Mend what is named here, then run it again.")
        sleep(_POLL_S)


def _warnings(client: KubeClient) -> Iterator[str]:
    """Yield what went wrong with pods, as `kubectl describe pod` shows it, each thing once."""
    events = client.call(Request("GET", "/api/v1/events", "list events"))["items"]
    told = {(each["involvedObject"]["name"], each["message"]): each["reason"] for each in events if each["type"] == "Warning"}
    yield from (f"{name}: {reason}: {message}" for (name, message), reason in told.items())
