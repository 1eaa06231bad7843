# SPDX-License-Identifier: Apache-2.0
"""Where a rotation's state lives: a config map in podpass-system, replaced by compare-and-swap, gone when the rotation has ended."""

from podpass.federate.own_namespace import create_in, remove_if_empty
from podpass.federate.receipt import NAMESPACE
from podpass.federate.rotation.rotation import Rotation
from podpass.kube.client import KubeClient
from podpass.kube.config_maps import ConfigMap, create_config_map, delete_config_map, get_config_map, replace_config_map

_KEY = "rotation.json"


class Ledger:
    """The rotation of one federation's cluster."""

    def __init__(self, client: KubeClient, federation: str) -> None:
        self._client = client
        self._name = f"rotation-{federation}"
        self._known: ConfigMap | None = None

    def read(self) -> Rotation | None:
        """Return the rotation that is under way; None: there is none."""
        self._known = get_config_map(self._client, NAMESPACE, self._name)
        if self._known is None:
            return None
        return Rotation.from_text(self._known.data.get(_KEY, ""), origin=f"The config map {NAMESPACE}/{self._name}")

    def write(self, rotation: Rotation) -> None:
        """Write the successor of what was read or written last."""
        data = {_KEY: rotation.to_text()}
        if self._known is None:
            new = ConfigMap(NAMESPACE, self._name, data)
            self._known = create_in(self._client, lambda: create_config_map(self._client, new))
        else:
            self._known = replace_config_map(self._client, self._known.with_data(data))

    def remove(self) -> None:
        """Delete it, and the namespace where podpass made it and nothing else is in it."""
        if self._known is not None:
            delete_config_map(self._client, self._known)
            self._known = None
        remove_if_empty(self._client)
