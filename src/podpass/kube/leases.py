# SPDX-License-Identifier: Apache-2.0
"""Leases: who is at work on something, and since when; taken, renewed and given back by compare-and-swap."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Self

from podpass.errors import UnexpectedAnswerError
from podpass.kube.client import Json, KubeClient, Request

GROUP: Final = "coordination.k8s.io"
_VERSION: Final = f"{GROUP}/v1"
_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease.

    Attributes:
        namespace: Where it is.
        name: Its name.
        holder: Who has it, in words.
        acquired_at: Since when.
        renewed_at: When the holder last said that it is still at work.
        duration: How long after that the lease lasts.
        annotations: Of its metadata.
        resource_version: Which version this is; empty for one that was not read.
        uid: Tells it from a later one of the same name.
    """

    namespace: str
    name: str
    holder: str
    acquired_at: datetime
    renewed_at: datetime
    duration: timedelta
    annotations: Mapping[str, str] = field(default_factory=dict)
    resource_version: str = ""
    uid: str = ""

    @classmethod
    def from_json(cls, value: Json) -> Self:
        """Read the API server's object."""
        metadata, spec = value.get("metadata"), value.get("spec") or {}
        if not isinstance(metadata, dict) or not metadata.get("resourceVersion") or not isinstance(spec, dict):
            raise UnexpectedAnswerError("The cluster sent a lease without a resourceVersion.")
        seconds = spec.get("leaseDurationSeconds")
        return cls(
            namespace=str(metadata.get("namespace", "")),
            name=str(metadata.get("name", "")),
            holder=str(spec.get("holderIdentity") or ""),
            acquired_at=_moment(spec.get("acquireTime")),
            renewed_at=_moment(spec.get("renewTime")),
            duration=timedelta(seconds=seconds if isinstance(seconds, int) else 0),
            annotations=dict(metadata.get("annotations") or {}),
            resource_version=str(metadata["resourceVersion"]),
            uid=str(metadata.get("uid", "")),
        )

    def as_json(self) -> Json:
        """Return the object to send."""
        metadata: Json = {"namespace": self.namespace, "name": self.name, "annotations": dict(self.annotations)}
        if self.resource_version:
            metadata |= {"resourceVersion": self.resource_version, "uid": self.uid}
        spec = {
            "holderIdentity": self.holder,
            "acquireTime": _micro_time(self.acquired_at),
            "renewTime": _micro_time(self.renewed_at),
            "leaseDurationSeconds": int(self.duration.total_seconds()),
        }
        return {"apiVersion": _VERSION, "kind": "Lease", "metadata": metadata, "spec": spec}

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def get_lease(client: KubeClient, namespace: str, name: str) -> Lease | None:
    """Return a lease; None where there is none, nor its namespace."""
    found = client.find(Request("GET", _path(namespace, name), f"read the lease {namespace}/{name}"))
    return Lease.from_json(found) if found else None


def create_lease(client: KubeClient, lease: Lease) -> Lease:
    """Create a lease and return it as it is now.

    Raises:
        KubeRefusedError: Among others `FaultKind.ALREADY_EXISTS`; `FaultKind.NOT_FOUND` where the namespace is missing.
    """
    body = replace(lease, resource_version="").as_json()
    return Lease.from_json(client.call(Request("POST", _path(lease.namespace), f"take the lease {lease}", body=body)))


def replace_lease(client: KubeClient, lease: Lease) -> Lease:
    """Write a successor of the version that was read, and return it as it is now.

    Raises:
        KubeRefusedError: Among others `FaultKind.CONFLICT`: another version is current, and `FaultKind.NOT_FOUND`: it is gone.
    """
    path = _path(lease.namespace, lease.name)
    return Lease.from_json(client.call(Request("PUT", path, f"renew the lease {lease}", body=lease.as_json())))


def delete_lease(client: KubeClient, lease: Lease) -> bool:
    """Delete a lease if it is still the one that was read; False where it is gone.

    Raises:
        KubeRefusedError: Among others `FaultKind.CONFLICT`: somebody else has taken it.
    """
    body: Json = {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": lease.uid, "resourceVersion": lease.resource_version},
    }
    path = _path(lease.namespace, lease.name)
    return client.find(Request("DELETE", path, f"give the lease {lease} back", body=body, is_by_uid=bool(lease.uid))) is not None


def _path(namespace: str, name: str = "") -> str:
    return f"/apis/{_VERSION}/namespaces/{namespace}/leases" + (f"/{name}" if name else "")


def _micro_time(moment: datetime) -> str:
    """Write Kubernetes' MicroTime."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def _moment(text: object) -> datetime:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return _LONG_AGO
    return moment if moment.tzinfo else _LONG_AGO
