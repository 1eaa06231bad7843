# SPDX-License-Identifier: Apache-2.0
"""Config maps that hold a credential configuration under one key; other keys are their owners' business."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from podpass.federate.change import Action, Change
from podpass.federate.kinds.handler import appeared
from podpass.federate.marks import Mark
from podpass.federate.resource import ABSENT, JSON, Observed, Resource
from podpass.kube.client import KubeClient
from podpass.kube.config_maps import (
    ConfigMap,
    create_config_map,
    delete_config_map,
    get_config_map,
    list_config_maps,
    replace_config_map,
)
from podpass.kube.fault import FaultKind, KubeRefusedError


@dataclass(frozen=True, slots=True)
class ConfigMaps:
    """The config maps of one cluster."""

    client: KubeClient
    mark: Mark

    def read(self, identity: Mapping[str, JSON]) -> Observed:
        """Return a config map with the content of our key."""
        return _seen(self._find(identity), identity)

    def read_all(self, namespace: str, identities: Sequence[Mapping[str, JSON]]) -> list[Observed]:
        """Do as `read` for many of one namespace, with one list where the operator may list."""
        try:
            found = list_config_maps(self.client, namespace)
        except KubeRefusedError as error:
            if error.kind is not FaultKind.FORBIDDEN:
                raise
            return [self.read(identity) for identity in identities]
        return [_seen(found.get(str(identity["name"])), identity) for identity in identities]

    def make(self, change: Change, resource: Resource) -> str | None:
        """Create the config map, or set our key in it."""
        identity, content = change.identity, {str(change.identity["key"]): str(resource.body["content"])}
        if change.action is Action.CREATE:
            annotations = resource.at_birth["annotations"]
            try:
                return create_config_map(self.client, ConfigMap(identity["namespace"], identity["name"], content, annotations)).uid
            except KubeRefusedError as error:
                if error.kind is not FaultKind.ALREADY_EXISTS:
                    raise
                if not self.mark.signed(self.read(identity).mark):
                    raise appeared(change, error) from error
        found = self._find(identity)
        if found is None:
            return None
        if dict(found.data) != {**found.data, **content}:
            found = replace_config_map(self.client, found.with_data({**found.data, **content}))
        return found.uid

    def take_away(self, change: Change) -> None:
        """Delete the config map; where others have put something into it, only our key goes."""
        found = self._find(change.identity)
        if found is None:
            return
        others = {key: text for key, text in found.data.items() if key != change.identity["key"]}
        if others or found.rest.get("binaryData"):
            replace_config_map(self.client, found.with_data(others))
        else:
            delete_config_map(self.client, found)

    def _find(self, identity: Mapping[str, JSON]) -> ConfigMap | None:
        return get_config_map(self.client, str(identity["namespace"]), str(identity["name"]))


def _seen(found: ConfigMap | None, identity: Mapping[str, JSON]) -> Observed:
    if found is None:
        return ABSENT
    body = {"content": found.data[identity["key"]]} if identity["key"] in found.data else {}
    return Observed("present", body, Mark.in_annotations(found.annotations), found.uid)
