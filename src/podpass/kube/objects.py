# SPDX-License-Identifier: Apache-2.0
"""Namespaces and service accounts, as far as podpass looks at them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from podpass.errors import UnexpectedAnswerError
from podpass.kube.client import Json, KubeClient, Request
from podpass.kube.fault import FaultKind, KubeRefusedError
from podpass.kube.lists import list_objects
from podpass.names import ServiceAccountRef
from podpass.names.labels import LabelSelector


@dataclass(frozen=True, slots=True)
class Thing:
    """What every object of Kubernetes has.

    Attributes:
        name: Its name.
        uid: Tells it from a later one of the same name; that of `kube-system` tells one cluster from another.
        annotations: Of its metadata.
        labels: Of its metadata.
    """

    name: str
    uid: str
    annotations: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


def get_namespace(client: KubeClient, name: str) -> Thing | None:
    """Return a namespace; None where there is none."""
    return _found(client.find(Request("GET", f"/api/v1/namespaces/{name}", f"read the namespace {name}")))


def ensure_namespace(client: KubeClient, name: str, *, labels: Mapping[str, str] | None = None) -> bool:
    """Make sure that a namespace is there; True if it was made. One that is there is left as it is."""
    body = _new("Namespace", {"name": name, "labels": dict(labels or {})})
    return _ensure(client, "/api/v1/namespaces", f"/api/v1/namespaces/{name}", f"the namespace {name}", body)


def list_namespaces(client: KubeClient) -> dict[str, Thing]:
    """Return every namespace by its name."""
    return _by_name(client, "/api/v1/namespaces", "the namespaces")


def create_namespace(client: KubeClient, name: str, *, labels: Mapping[str, str]) -> bool:
    """Create a namespace; False where somebody was quicker."""
    return _create(client, "/api/v1/namespaces", f"the namespace {name}", _new("Namespace", {"name": name, "labels": dict(labels)}))


def delete_namespace(client: KubeClient, name: str, *, uid: str) -> bool:
    """Delete a namespace with everything in it, if it is still that one; False where there is none."""
    body: Json = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
    request = Request("DELETE", f"/api/v1/namespaces/{name}", f"delete the namespace {name}", body=body, is_by_uid=True)
    return client.find(request) is not None


def get_service_account(client: KubeClient, account: ServiceAccountRef) -> Thing | None:
    """Return a service account; None where there is none."""
    return _found(client.find(Request("GET", _account_path(account), f"read the service account {account}")))


def list_service_accounts(client: KubeClient, namespace: str) -> dict[str, Thing]:
    """Return the service accounts of a namespace by their name."""
    return _by_name(client, f"/api/v1/namespaces/{namespace}/serviceaccounts", f"the service accounts of the namespace {namespace}")


def select_service_accounts(
    client: KubeClient, labels: LabelSelector, namespace: str | None = None
) -> Iterator[tuple[ServiceAccountRef, Thing]]:
    """Return the service accounts with these labels, in one namespace or in all, page by page.

    A server that does not know the selector would send them all; what does not match is left out, and what is being deleted.
    """
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts" if namespace else "/api/v1/serviceaccounts"
    what = f"the service accounts of the namespace {namespace}" if namespace else "the service accounts of all namespaces"
    for item in list_objects(client, path, what, labels=str(labels)):
        thing = _found(item)
        if thing and labels.holds(thing.labels) and not item["metadata"].get("deletionTimestamp"):
            yield ServiceAccountRef(str(item["metadata"].get("namespace")), thing.name), thing


def select_namespaces(client: KubeClient, labels: LabelSelector) -> list[str]:
    """Return the names of the namespaces with these labels."""
    things = (_found(item) for item in list_objects(client, "/api/v1/namespaces", "the namespaces", labels=str(labels)))
    return sorted(thing.name for thing in things if thing and labels.holds(thing.labels))


def ensure_service_account(
    client: KubeClient,
    account: ServiceAccountRef,
    *,
    annotations: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
) -> bool:
    """Make sure that a service account is there; True if it was made. One that is there is left as it is."""
    texts = {"annotations": dict(annotations or {}), "labels": dict(labels or {})}
    body = _new("ServiceAccount", {"name": account.name, "namespace": account.namespace, **texts})
    collection = f"/api/v1/namespaces/{account.namespace}/serviceaccounts"
    return _ensure(client, collection, _account_path(account), f"the service account {account}", body)


def _account_path(account: ServiceAccountRef) -> str:
    return f"/api/v1/namespaces/{account.namespace}/serviceaccounts/{account.name}"


def _new(kind: str, metadata: dict[str, Any]) -> Json:
    return {"apiVersion": "v1", "kind": kind, "metadata": {key: value for key, value in metadata.items() if value}}


def _ensure(client: KubeClient, collection: str, path: str, words: str, body: Json) -> bool:
    return client.find(Request("GET", path, f"read {words}")) is None and _create(client, collection, words, body)


def _create(client: KubeClient, collection: str, words: str, body: Json) -> bool:
    try:
        client.call(Request("POST", collection, f"create {words}", body=body))
    except KubeRefusedError as error:
        if error.kind is FaultKind.ALREADY_EXISTS:
            return False
        raise
    return True


def _by_name(client: KubeClient, path: str, what: str) -> dict[str, Thing]:
    things = (_found(item) for item in list_objects(client, path, what))
    return {thing.name: thing for thing in things if thing}


def _found(value: Json | None) -> Thing | None:
    if value is None:
        return None
    metadata = value.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("uid"), str):
        raise UnexpectedAnswerError(
            "The cluster sent an object without a uid.", "", "Check that the context names a Kubernetes API server."
        )
    return Thing(str(metadata.get("name")), metadata["uid"], dict(metadata.get("annotations") or {}), dict(metadata.get("labels") or {}))
