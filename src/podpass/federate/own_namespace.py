# SPDX-License-Identifier: Apache-2.0
"""The namespace podpass-system: made when the first thing is kept in it, taken away with the last one."""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import chain
from typing import Final, TypeVar

from podpass.errors import NeighbourError, UnreachableError
from podpass.federate.receipt import NAMESPACE
from podpass.kube.client import KubeClient, Request
from podpass.kube.fault import FaultKind, KubeRefusedError
from podpass.kube.leases import GROUP as LEASES
from podpass.kube.objects import create_namespace, delete_namespace, get_namespace

T = TypeVar("T")

# On the namespace: podpass made it, and takes it away with the last receipt if nothing else has moved in.
MADE_BY: Final = {"podpass.dev/made-by": "apply"}
# A namespace that was deleted a moment ago takes no new objects until Kubernetes has emptied it.
TERMINATING: Final = timedelta(seconds=60)
_PAUSE_S: Final = 0.5
# What Kubernetes itself puts into a namespace.
_OWN: Final = {"configmaps": {"kube-root-ca.crt"}, "serviceaccounts": {"default"}}
# Kept of what has happened to the others; nobody misses them.
_TRACES: Final = frozenset({"events"})
# What is there most often; asked for first.
_COMMON: Final = ("/api/v1 configmaps", "/api/v1 secrets", "/api/v1 pods", f"/apis/{LEASES}/v1 leases")

Sleep = Callable[[float], None]


def create_in(client: KubeClient, create: Callable[[], T], sleep: Sleep = time.sleep) -> T:
    """Create a thing in the namespace, which is made where it is missing, and waited for where it is just going away."""
    give_up_s = time.monotonic() + TERMINATING.total_seconds()
    while True:
        try:
            return create()
        except KubeRefusedError as error:
            is_going = "being terminated" in error.fault.message
            if not (is_going or error.kind is FaultKind.NOT_FOUND) or time.monotonic() > give_up_s:
                raise
        if is_going or not create_namespace(client, NAMESPACE, labels=MADE_BY):
            sleep(_PAUSE_S)


def remove_if_empty(client: KubeClient, sleep: Sleep = time.sleep) -> None:
    """Delete the namespace where podpass made it and nothing else is in it; wait until it is gone.

    Raises:
        UnreachableError: An API gave no answer, so nobody knows what is in it. All else is done; call it again.
    """
    namespace = get_namespace(client, NAMESPACE)
    if namespace is None or not MADE_BY.items() <= namespace.labels.items() or _is_used(client):
        return
    delete_namespace(client, NAMESPACE, uid=namespace.uid)
    give_up_s = time.monotonic() + TERMINATING.total_seconds()
    while time.monotonic() < give_up_s and (left := get_namespace(client, NAMESPACE)) and left.uid == namespace.uid:
        sleep(_PAUSE_S)


def _is_used(client: KubeClient) -> bool:
    """Whether something is in the namespace besides what Kubernetes puts there itself; who may not look everywhere must not assume."""
    try:
        return any(_holds(client, *each.split()) for each in chain(_COMMON, _kinds(client)))
    except UnreachableError as error:  # which passes: to leave the namespace behind now would be to leave it for ever
        raise UnreachableError(
            f"All is taken away but the namespace {NAMESPACE}: it cannot be seen whether it is empty.",
            f"{error.what} {error.why}".strip(),
            "Run the command again. While an API of the cluster stays away (`kubectl get apiservices`), no namespace can be deleted.",
            code="neighbour.namespace-unseen",
        ) from error
    except NeighbourError:
        return True


def _kinds(client: KubeClient) -> Iterator[str]:
    """Return every kind of thing that can be in a namespace of this cluster, as the path of its group and its name."""
    groups = client.call(Request("GET", "/apis", "list the cluster's APIs")).get("groups") or []
    for path in ("/api/v1", *(f"/apis/{group['preferredVersion']['groupVersion']}" for group in groups)):
        for kind in client.call(Request("GET", path, f"list the kinds of {path}")).get("resources") or []:
            name = str(kind.get("name"))
            # What cannot be deleted is a view of something else.
            if kind.get("namespaced") and "/" not in name and name not in _TRACES and {"list", "delete"} <= set(kind.get("verbs") or ()):
                yield f"{path} {name}"


def _holds(client: KubeClient, group: str, plural: str) -> bool:
    own = _OWN.get(plural, set())
    path = f"{group}/namespaces/{NAMESPACE}/{plural}"
    query = {"limit": str(len(own) + 1)}
    answer = client.call(Request("GET", path, f"list the {plural} of the namespace {NAMESPACE}", query=query))
    return bool({str(item.get("metadata", {}).get("name")) for item in answer.get("items") or []} - own)
