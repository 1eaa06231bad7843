# SPDX-License-Identifier: Apache-2.0
"""A config map of podpass's own in podpass-system, in one run's hands: what it writes is the successor of what it read or wrote last."""

from collections.abc import Mapping

from podpass.federate.records.own_namespace import create_in
from podpass.federate.records.receipt import NAMESPACE
from podpass.kube.client import KubeClient
from podpass.kube.config_maps import ConfigMap, create_config_map, delete_config_map, get_config_map, replace_config_map


class OwnConfigMap:
    """The config map.

    Attributes:
        known: As it was read or written last; None: there was none.
    """

    def __init__(self, client: KubeClient, name: str) -> None:
        self.known: ConfigMap | None = None
        self._client = client
        self._name = name

    def __str__(self) -> str:
        return f"config map {NAMESPACE}/{self._name}"

    def look(self) -> ConfigMap | None:
        """Return it as it is now, whatever is known of it."""
        return get_config_map(self._client, NAMESPACE, self._name)

    def read(self) -> ConfigMap | None:
        """Return it as it is now, and remember that."""
        self.known = self.look()
        return self.known

    def write(self, data: Mapping[str, str]) -> None:
        """Write a successor of what is known; the first one together with its namespace.

        Raises:
            KubeRefusedError: Among others CONFLICT, ALREADY_EXISTS or NOT_FOUND: somebody else wrote since, or took it away.
        """
        if self.known is None:
            new = ConfigMap(NAMESPACE, self._name, data)
            self.known = create_in(self._client, lambda: create_config_map(self._client, new))
        else:
            self.known = replace_config_map(self._client, self.known.with_data(data))

    def remove(self) -> None:
        """Delete what is known, where there is something.

        It goes before its namespace does: Kubernetes empties a namespace in its own time, and until then the next run would read, and rely
        on, what is about to vanish.
        """
        if self.known is not None:
            delete_config_map(self._client, self.known)
            self.known = None
