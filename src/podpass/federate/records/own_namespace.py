# SPDX-License-Identifier: Apache-2.0
"""The namespace podpass-system: made when the first thing is kept in it, taken away with the last one."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeVar

from podpass.errors import NeighbourError, UnreachableError
from podpass.federate.records.receipt import NAMESPACE
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
_CORE: Final = "/api/v1"
_COMMON: Final = (f"{_CORE} configmaps", f"{_CORE} secrets", f"{_CORE} pods", f"/apis/{LEASES}/v1 leases")

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


def remove_if_empty(client: KubeClient, sleep: Sleep = time.sleep) -> tuple[str, ...]:
    """Delete the namespace where podpass made it and nothing else is in it; wait until it is gone.

    Returns:
        The APIs of the cluster that gave no answer, as GROUP/VERSION: for their sake it stays, though nothing was seen in it. An aggregated
        API may be dead for good, and while it is, Kubernetes could not empty the namespace either.

    Raises:
        UnreachableError: The API server itself gave no answer. All else is done; call it again.
    """
    namespace = get_namespace(client, NAMESPACE)
    if namespace is None or not MADE_BY.items() <= namespace.labels.items():
        return ()
    sight = _look(client)
    if sight.is_used or sight.unseen:
        return () if sight.is_used else sight.unseen
    delete_namespace(client, NAMESPACE, uid=namespace.uid)
    give_up_s = time.monotonic() + TERMINATING.total_seconds()
    while time.monotonic() < give_up_s and (left := get_namespace(client, NAMESPACE)) and left.uid == namespace.uid:
        sleep(_PAUSE_S)
    return ()


@dataclass(frozen=True, slots=True)
class _Sight:
    """What was seen in the namespace.

    Attributes:
        is_used: Something is there besides what Kubernetes puts there itself, or the operator may not look.
        unseen: The APIs that gave no answer.
    """

    is_used: bool
    unseen: tuple[str, ...] = ()


def _look(client: KubeClient) -> _Sight:
    """Look for everything that can be in a namespace; who may not look everywhere must not assume."""
    try:
        if any(_holds(client, *each.split()) for each in _COMMON):
            return _Sight(is_used=True)
        unseen = []
        for path in _groups(client):
            try:
                if any(_holds(client, path, plural) for plural in _kinds(client, path)):
                    return _Sight(is_used=True)
            except UnreachableError as error:
                if path == _CORE or error.full_code == "neighbour.cluster-unreachable":
                    raise
                unseen.append(path.removeprefix("/apis/"))
        return _Sight(is_used=False, unseen=tuple(unseen))
    except UnreachableError as error:  # which passes: to leave the namespace behind now would be to leave it for ever
        raise UnreachableError(
            f"All is taken away but the namespace {NAMESPACE}: it cannot be seen whether it is empty.",
            f"{error.what} {error.why}".strip(),
            "Run the command again.",
            code="neighbour.namespace-unseen",
        ) from error
    except NeighbourError:
        return _Sight(is_used=True)


def _groups(client: KubeClient) -> tuple[str, ...]:
    """Return the paths of the cluster's APIs."""
    groups = client.call(Request("GET", "/apis", "list the cluster's APIs")).get("groups") or []
    return (_CORE, *(f"/apis/{group['preferredVersion']['groupVersion']}" for group in groups))


def _kinds(client: KubeClient, path: str) -> Iterator[str]:
    """Return every kind of thing of an API that can be in a namespace."""
    for kind in client.call(Request("GET", path, f"list the kinds of {path}")).get("resources") or []:
        name = str(kind.get("name"))
        # What cannot be deleted is a view of something else.
        if kind.get("namespaced") and "/" not in name and name not in _TRACES and {"list", "delete"} <= set(kind.get("verbs") or ()):
            yield name


def _holds(client: KubeClient, group: str, plural: str) -> bool:
    own = _OWN.get(plural, set())
    path = f"{group}/namespaces/{NAMESPACE}/{plural}"
    query = {"limit": str(len(own) + 1)}
    answer = client.call(Request("GET", path, f"list the {plural} of the namespace {NAMESPACE}", query=query))
    return bool({str(item.get("metadata", {}).get("name")) for item in answer.get("items") or []} - own)
