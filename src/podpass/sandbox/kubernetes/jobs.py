# SPDX-License-Identifier: Apache-2.0
"""The job controller, and beside it the controller that gives each namespace its first account: clients of the API server, nothing more."""

import asyncio
import base64
import contextlib
import logging
from collections.abc import Iterator
from typing import Any, Final
from uuid import uuid4

from podpass.clock import Clock, SystemClock
from podpass.errors import NeighbourError
from podpass.sandbox.cluster import Kubeconfig
from podpass.sandbox.cluster_client import ClusterClient, StatusError
from podpass.sandbox.kubernetes.job_rules import Decision, decide
from podpass.sandbox.kubernetes.kind import timestamp

Json = dict[str, Any]

_JOBS, _PODS = "/apis/batch/v1/jobs", "/api/v1/pods"
_OF_JOBS: Final = "batch.kubernetes.io/job-name"
_MOST_RETRY_S: Final = 60.0
_log = logging.getLogger(__name__)


class JobController:
    """Make the pods of jobs, and tell how they end; give each namespace the account `default` and the config map `kube-root-ca.crt`.

    Args:
        kubeconfig: The way in to the API server.
        clock: Tells when a job's time is up.
    """

    def __init__(self, kubeconfig: Kubeconfig, clock: Clock | None = None) -> None:
        self._kubeconfig = kubeconfig
        self._clock = clock or SystemClock()
        self._jobs = _Known()
        self._pods = _Known()
        self._failures: dict[str, int] = {}
        self._happened = asyncio.Event()

    async def run(self) -> None:
        """Work until cancelled."""
        authority = self._kubeconfig["clusters"][0]["cluster"]["certificate-authority-data"]
        async with ClusterClient(self._kubeconfig, agent="podpass-controller") as client, asyncio.TaskGroup() as group:
            group.create_task(_Furniture(client, base64.b64decode(authority).decode()).run())
            group.create_task(self._follow(client, self._jobs, _JOBS))
            group.create_task(self._follow(client, self._pods, _PODS, labelSelector=_OF_JOBS))
            group.create_task(self._work(client))

    async def _follow(self, client: ClusterClient, known: "_Known", path: str, **query: str) -> None:
        async for event in client.follow(path, **query):
            known.note(event)
            self._happened.set()

    async def _work(self, client: ClusterClient) -> None:
        while True:
            self._happened.clear()
            waits = [await self._settle(client, job) for job in self._jobs.all() if self._pods.listed]
            due_s = min((wait for wait in waits if wait is not None), default=None)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(due_s):  # wait_for swallows a cancellation that comes with the event, until Python 3.12
                    await self._happened.wait()

    async def _settle(self, client: ClusterClient, job: Json) -> float | None:
        """Do what a job needs; return in how many seconds to look again."""
        uid = job["metadata"]["uid"]
        if "deletionTimestamp" in job["metadata"]:
            return None
        mine = [pod for pod in self._pods.all() if _controller(pod) == uid]
        decision = decide(job, mine, self._clock.now())
        try:
            await self._carry_out(client, job, decision)
        except NeighbourError as error:
            self._failures[uid] = self._failures.get(uid, 0) + 1
            _log.debug("job %s: %s", job["metadata"]["name"], error)
            return min(2.0 ** (self._failures[uid] - 2), _MOST_RETRY_S)
        self._failures.pop(uid, None)
        return decision.due_s

    async def _carry_out(self, client: ClusterClient, job: Json, decision: Decision) -> None:
        metadata = job["metadata"]
        home, path = metadata["namespace"], f"/apis/batch/v1/namespaces/{metadata['namespace']}/jobs/{metadata['name']}"
        if decision.expired:
            with _gone():
                await client.delete(path, {"propagationPolicy": "Background", "preconditions": {"uid": metadata["uid"]}})
            return
        if decision.status != (job.get("status") or {}):
            written = False
            with _gone():
                self._jobs.keep(await client.put(f"{path}/status", {**job, "status": decision.status}))
                written = True
            if not written:
                return  # decided about an older job: its newer state is on the way
        for pod in decision.delete:
            with _gone():
                self._pods.keep(await client.delete(f"/api/v1/namespaces/{home}/pods/{pod['metadata']['name']}"))
        for _ in range(decision.create):
            await self._make_pod(client, job)
        if decision.told:
            await _tell(client, job, *decision.told, timestamp(self._clock.now()))

    async def _make_pod(self, client: ClusterClient, job: Json) -> None:
        home, template = job["metadata"]["namespace"], job["spec"]["template"]
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job["metadata"]["name"], "uid": job["metadata"]["uid"]}
        metadata = {
            name: value for name, value in (template.get("metadata") or {}).items() if name in {"labels", "annotations", "finalizers"}
        }
        metadata |= {"generateName": f"{owner['name']}-", "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}]}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        now = timestamp(self._clock.now())
        try:
            pod = await client.post(f"/api/v1/namespaces/{home}/pods", body)
        except StatusError as error:
            await _tell(client, job, "FailedCreate", f"Error creating: {error.message}", now)
            raise
        self._pods.keep(pod)
        await _tell(client, job, "SuccessfulCreate", f"Created pod: {pod['metadata']['name']}", now)


class _Known:
    """The newest that is known of each object, by uid."""

    def __init__(self) -> None:
        self._objects: dict[str, Json] = {}
        self._unconfirmed: set[str] = set()
        self._lost: set[str] = set()  # an answer may come later than the event of the end
        self.listed = False

    def all(self) -> list[Json]:
        return list(self._objects.values())

    def keep(self, obj: Json) -> None:
        """Take an object that an answer or an event has brought, unless a newer one is known already."""
        metadata = obj.get("metadata") or {}
        uid = metadata.get("uid", "")
        known = self._objects.get(uid)
        if (
            uid
            and uid not in self._lost
            and (known is None or int(known["metadata"]["resourceVersion"]) < int(metadata["resourceVersion"]))
        ):
            self._objects[uid] = obj

    def note(self, event: Json) -> None:
        """Take an event of `ClusterClient.follow`; what a fresh list does not name is gone."""
        match event["type"]:
            case "RESTARTED":
                self._unconfirmed = set(self._objects)
            case "LISTED":
                for uid in self._unconfirmed:
                    self._forget(uid)
                self._unconfirmed = set()
                self.listed = True
            case "DELETED":
                self._forget(event["object"]["metadata"]["uid"])
            case _:
                self._unconfirmed.discard(event["object"]["metadata"]["uid"])
                self.keep(event["object"])

    def _forget(self, uid: str) -> None:
        self._objects.pop(uid, None)
        self._lost.add(uid)


class _Furniture:
    """What each namespace finds in its room: the account `default`, and the certificate that pods trust the API server by."""

    def __init__(self, client: ClusterClient, authority: str) -> None:
        self._client = client
        self._pieces: dict[str, Json] = {
            "serviceaccounts": {"kind": "ServiceAccount", "metadata": {"name": "default"}},
            "configmaps": {"kind": "ConfigMap", "metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": authority}},
        }

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_namespaces())
            for plural in self._pieces:
                group.create_task(self._replace_lost(plural))

    async def _follow_namespaces(self) -> None:
        async for event in self._client.follow("/api/v1/namespaces"):
            if event["type"] == "ADDED" and "deletionTimestamp" not in event["object"]["metadata"]:
                for plural in self._pieces:
                    await self._place(plural, event["object"]["metadata"]["name"])

    async def _replace_lost(self, plural: str) -> None:
        name = self._pieces[plural]["metadata"]["name"]
        async for event in self._client.follow(f"/api/v1/{plural}", fieldSelector=f"metadata.name={name}"):
            if event["type"] == "DELETED":
                await self._place(plural, event["object"]["metadata"]["namespace"])

    async def _place(self, plural: str, namespace: str) -> None:
        """Put a piece where it is not; a namespace that is being emptied gets none."""
        while True:
            try:
                await self._client.post(f"/api/v1/namespaces/{namespace}/{plural}", {"apiVersion": "v1", **self._pieces[plural]})
            except StatusError:
                return
            except NeighbourError:
                await asyncio.sleep(1)  # the API server is restarting
                continue
            return


def _controller(pod: Json) -> str:
    return next((row["uid"] for row in pod["metadata"].get("ownerReferences") or () if row.get("controller")), "")


@contextlib.contextmanager
def _gone() -> Iterator[None]:
    """Pass over an object that is not there any more, or that has changed: its event is on the way."""
    try:
        yield
    except StatusError as error:
        if error.status_code not in {404, 409}:
            raise


async def _tell(client: ClusterClient, job: Json, reason: str, message: str, now: str) -> None:
    """Write an event about a job; that it cannot be written is no reason for anything to fail."""
    metadata = job["metadata"]
    about = {name: metadata[name] for name in ("name", "namespace", "uid")}
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata['name']}.{uuid4().hex[:16]}", "namespace": metadata["namespace"]},
        "involvedObject": {"apiVersion": "batch/v1", "kind": "Job", **about},
        "reason": reason,
        "message": message,
        "type": "Normal" if reason in {"SuccessfulCreate", "Completed"} else "Warning",
        "source": {"component": "job-controller"},
        "reportingComponent": "job-controller",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
    with contextlib.suppress(NeighbourError):
        await client.post(f"/api/v1/namespaces/{metadata['namespace']}/events", event)
