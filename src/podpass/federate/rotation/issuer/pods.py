# SPDX-License-Identifier: Apache-2.0
"""The pods of a federation's workloads, as far as a move of the issuer concerns them. Pure but for `read`."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Self

from podpass.config.federation import Workload
from podpass.exchange.provider_list import SUFFIX
from podpass.kube.client import Json, KubeClient
from podpass.kube.fault import FaultKind, KubeRefusedError
from podpass.kube.lists import list_objects
from podpass.names import ServiceAccountRef

_ENDED: Final = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that runs, or may.

    Attributes:
        name: `namespace/name`.
        account: Its Kubernetes account.
        started_at: When it was created.
        audiences: Whom its projected tokens are for.
        mounts: What it mounts of config maps: the name, and whether a list beside the configuration reaches the container.
    """

    name: str
    account: ServiceAccountRef
    started_at: datetime
    audiences: frozenset[str]
    mounts: tuple[tuple[str, bool], ...]

    @classmethod
    def of(cls, value: Json) -> Self:
        """Read the API server's object."""
        metadata, spec = value["metadata"], value["spec"]
        namespace = str(metadata["namespace"])
        volumes = spec.get("volumes") or []
        tokens = (source.get("serviceAccountToken") or {} for volume in volumes for source in _sources(volume))
        return cls(
            name=f"{namespace}/{metadata['name']}",
            account=ServiceAccountRef(namespace, str(spec.get("serviceAccountName") or "default")),
            started_at=datetime.fromisoformat(metadata["creationTimestamp"]),
            audiences=frozenset(str(token["audience"]) for token in tokens if token.get("audience")),
            mounts=tuple(_mounts(spec, volumes)),
        )


def read(cluster: KubeClient, workloads: Iterable[Workload]) -> list[Pod] | None:
    """Return the pods of the workloads' accounts that have not ended; None where the operator may not look."""
    meant = tuple(workloads)
    accounts = {workload.service_account for workload in meant}
    wholes = {workload.service_account.namespace for workload in meant if workload.is_namespace}
    found: list[Json] = []
    try:
        for namespace in sorted({account.namespace for account in accounts}):
            found += list_objects(cluster, f"/api/v1/namespaces/{namespace}/pods", f"the pods of the namespace {namespace}")
    except KubeRefusedError as error:
        if error.kind is not FaultKind.FORBIDDEN:
            raise
        return None
    alive = (Pod.of(one) for one in found if (one.get("status") or {}).get("phase") not in _ENDED)
    return [pod for pod in alive if pod.account in accounts or pod.account.namespace in wholes]


def asking_for(pods: Iterable[Pod], audiences: Collection[str]) -> list[str]:
    """Return the pods whose tokens are for one of these audiences."""
    return [pod.name for pod in pods if pod.audiences & set(audiences)]


def out_of_reach(pods: Iterable[Pod], workloads: Iterable[Workload]) -> list[str]:
    """Return the pods that mount a credential configuration so that the list of providers beside it does not reach them."""
    config_maps = {one.service_account: one.credentials.config_map for one in workloads if one.credentials}
    return [pod.name for pod in pods if (config_maps.get(pod.account), False) in pod.mounts]


def first_renewal(workload: Workload) -> timedelta:
    """Return after how long kubelet renews a pod's token: 80 % of its life, or 24 h (pkg/kubelet/token/token_manager.go)."""
    return min(workload.token.expiration * 0.8, timedelta(hours=24))


def _sources(volume: Json) -> list[Json]:
    return list((volume.get("projected") or {}).get("sources") or [])


def _mounts(spec: Json, volumes: list[Json]) -> Iterator[tuple[str, bool]]:
    for volume in volumes:
        for config_map in (volume.get("configMap"), *(source.get("configMap") for source in _sources(volume))):
            if config_map and config_map.get("name"):
                yield str(config_map["name"]), _shows_all(config_map) and not _is_pinned(spec, volume)


def _shows_all(config_map: dict[str, Any]) -> bool:
    items = config_map.get("items")
    return not items or any(str(item.get("key")).endswith(SUFFIX) for item in items)


def _is_pinned(spec: Json, volume: Json) -> bool:
    """Whether a container mounts a single file of a volume, which kubelet never changes."""
    containers = [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]
    mounts = (mount for container in containers for mount in container.get("volumeMounts") or [] if mount.get("name") == volume.get("name"))
    return any(mount.get("subPath") or mount.get("subPathExpr") for mount in mounts)
