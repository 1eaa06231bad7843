# SPDX-License-Identifier: Apache-2.0
"""Config maps, with compare-and-swap: a replacement names the version that it replaces, and is refused when another one is current."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Self

from podpass.errors import UnexpectedAnswerError
from podpass.kube.client import Json, KubeClient, Request
from podpass.kube.lists import list_objects

_KEPT_IN_METADATA = ("ownerReferences", "finalizers")


@dataclass(frozen=True, slots=True)
class ConfigMap:
    """A config map.

    Attributes:
        namespace: Where it is.
        name: Its name.
        data: Key to text.
        annotations: Of its metadata.
        labels: Of its metadata.
        resource_version: Which version this is; empty for one that was not read.
        uid: Tells it from a later one of the same name.
        created_at: When, by the API server, which lets nobody change it; None for one that was not read.
        rest: What else the API server said of it (`binaryData`, `immutable`, owners); goes back with every replacement.
    """

    namespace: str
    name: str
    data: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    resource_version: str = ""
    uid: str = ""
    created_at: datetime | None = None
    rest: Json = field(default_factory=dict, repr=False)

    @classmethod
    def from_json(cls, value: Json) -> Self:
        """Read the API server's object."""
        metadata = value.get("metadata")
        if not isinstance(metadata, dict) or not metadata.get("name") or not metadata.get("resourceVersion"):
            raise UnexpectedAnswerError("The cluster sent a config map without a name or a resourceVersion.")
        kept = {key: metadata[key] for key in _KEPT_IN_METADATA if key in metadata}
        rest = {key: item for key, item in value.items() if key not in {"metadata", "data", "apiVersion", "kind"}}
        return cls(
            namespace=str(metadata.get("namespace", "")),
            name=str(metadata["name"]),
            data=dict(value.get("data") or {}),
            annotations=dict(metadata.get("annotations") or {}),
            labels=dict(metadata.get("labels") or {}),
            resource_version=str(metadata["resourceVersion"]),
            uid=str(metadata.get("uid", "")),
            created_at=_moment(metadata.get("creationTimestamp")),
            rest={**rest, "metadata": kept} if kept else rest,
        )

    def as_json(self) -> Json:
        """Return the object to send."""
        metadata: Json = {**self.rest.get("metadata", {}), "name": self.name, "namespace": self.namespace}
        for key, value in (("annotations", self.annotations), ("labels", self.labels)):
            if value:
                metadata[key] = dict(value)
        if self.resource_version:
            metadata |= {"resourceVersion": self.resource_version, "uid": self.uid}
        return {**self.rest, "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(self.data)}

    def with_data(self, data: Mapping[str, str]) -> Self:
        """Return it with other data, still the successor of the same version."""
        return replace(self, data=dict(data))

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def get_config_map(client: KubeClient, namespace: str, name: str) -> ConfigMap | None:
    """Return a config map; None where there is none, nor its namespace."""
    found = client.find(Request("GET", _path(namespace, name), f"read the config map {namespace}/{name}"))
    return ConfigMap.from_json(found) if found else None


def list_config_maps(client: KubeClient, namespace: str) -> dict[str, ConfigMap]:
    """Return the config maps of a namespace by their name."""
    found = list_objects(client, _collection(namespace), f"the config maps of the namespace {namespace}")
    return {config_map.name: config_map for config_map in map(ConfigMap.from_json, found)}


def create_config_map(client: KubeClient, config_map: ConfigMap) -> ConfigMap:
    """Create a config map and return it as it is now.

    Raises:
        KubeRefusedError: Among others `FaultKind.ALREADY_EXISTS`; `FaultKind.NOT_FOUND` where the namespace is missing.
    """
    body = replace(config_map, resource_version="").as_json()
    return ConfigMap.from_json(
        client.call(Request("POST", _collection(config_map.namespace), f"create the config map {config_map}", body=body))
    )


def replace_config_map(client: KubeClient, config_map: ConfigMap) -> ConfigMap:
    """Write a successor of the version that was read, and return it as it is now.

    Raises:
        KubeRefusedError: Among others `FaultKind.CONFLICT`: another version is current; read it and decide anew.
        ValueError: The config map was not read from the cluster, so there is nothing to compare with.
    """
    if not config_map.resource_version:
        message = f"the config map {config_map} was not read, so it cannot be replaced safely"
        raise ValueError(message)
    path = _path(config_map.namespace, config_map.name)
    return ConfigMap.from_json(client.call(Request("PUT", path, f"change the config map {config_map}", body=config_map.as_json())))


def delete_config_map(client: KubeClient, config_map: ConfigMap) -> bool:
    """Delete a config map if it is still the one that was read; False where it is gone.

    Raises:
        KubeRefusedError: Among others `FaultKind.CONFLICT`: it changed since, or another one has its name.
    """
    preconditions = {"uid": config_map.uid, "resourceVersion": config_map.resource_version}
    body: Json = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {key: text for key, text in preconditions.items() if text}}
    path = _path(config_map.namespace, config_map.name)
    request = Request("DELETE", path, f"delete the config map {config_map}", body=body, is_by_uid=bool(config_map.uid))
    return client.find(request) is not None


def _moment(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def _collection(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps"


def _path(namespace: str, name: str) -> str:
    return f"{_collection(namespace)}/{name}"
