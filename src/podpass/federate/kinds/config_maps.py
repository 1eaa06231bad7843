# SPDX-License-Identifier: Apache-2.0
"""Config maps with a credential configuration under one key, and at times a list of providers; other keys are their owners' business."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from podpass.exchange.provider_list import SUFFIX
from podpass.federate.kinds.handler import appeared
from podpass.federate.model.change import Action, Change
from podpass.federate.model.marks import Mark
from podpass.federate.model.resource import ABSENT, JSON, Observed, Resource
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
        """Create the config map, or set our keys in it."""
        identity, content, gone = change.identity, _data(change.identity, resource.body), _gone(change.identity, resource.body)
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
        data = {key: text for key, text in {**found.data, **content}.items() if key not in gone}
        if dict(found.data) != data:
            found = replace_config_map(self.client, found.with_data(data))
        return found.uid

    def take_away(self, change: Change) -> None:
        """Delete the config map; where others have put something into it, only our keys go."""
        found = self._find(change.identity)
        if found is None:
            return
        others = {key: text for key, text in found.data.items() if key not in _keys(change.identity).values()}
        if others or found.rest.get("binaryData"):
            replace_config_map(self.client, found.with_data(others))
        else:
            delete_config_map(self.client, found)

    def _find(self, identity: Mapping[str, JSON]) -> ConfigMap | None:
        return get_config_map(self.client, str(identity["namespace"]), str(identity["name"]))


def _seen(found: ConfigMap | None, identity: Mapping[str, JSON]) -> Observed:
    if found is None:
        return ABSENT
    body = {field: found.data[key] for field, key in _keys(identity).items() if key in found.data}
    return Observed("present", body, Mark.in_annotations(found.annotations), found.uid)


def _keys(identity: Mapping[str, JSON]) -> dict[str, str]:
    """Return which field of a resource's body lies under which key."""
    key = str(identity["key"])
    return {"content": key, "providers": key + SUFFIX}


def _data(identity: Mapping[str, JSON], body: Mapping[str, JSON]) -> dict[str, str]:
    return {key: str(body[field]) for field, key in _keys(identity).items() if body.get(field)}


def _gone(identity: Mapping[str, JSON], body: Mapping[str, JSON]) -> frozenset[str]:
    """Return the keys whose content is asked to be none."""
    return frozenset(key for field, key in _keys(identity).items() if field in body and not body[field])
