# SPDX-License-Identifier: Apache-2.0
"""Where the receipt lives: a config map in the namespace podpass-system of the cluster, replaced by compare-and-swap.

Two runs at once are found out by the config map's resourceVersion: the second one stops before its first act.
"""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from podpass.errors import DriftSincePlanError
from podpass.federate.receipt import KEY, NAMESPACE, Receipt, config_map_name
from podpass.kube.client import KubeClient, Request
from podpass.kube.config_maps import ConfigMap, create_config_map, delete_config_map, get_config_map, replace_config_map
from podpass.kube.fault import FaultKind, KubeRefusedError
from podpass.kube.objects import delete_namespace, ensure_namespace, get_namespace

# On the namespace: podpass made it, and takes it away with the last receipt if nothing else has moved in.
MADE_BY: Final = {"podpass.dev/made-by": "apply"}
# A namespace that was deleted a moment ago takes no new objects until Kubernetes has emptied it.
TERMINATING: Final = timedelta(seconds=60)
_PAUSE_S: Final = 0.5
# What moves into a namespace; Kubernetes' own are named.
_CONTENTS: Final = {
    "configmaps": {"kube-root-ca.crt"},
    "serviceaccounts": {"default"},
    "secrets": set[str](),
    "pods": set[str](),
}


class ReceiptStore:
    """The receipt of one federation in one cluster."""

    def __init__(self, client: KubeClient, federation: str, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._client = client
        self._name = config_map_name(federation)
        self._known: ConfigMap | None = None
        self._sleep = sleep

    def read(self) -> Receipt | None:
        """Return the receipt, and remember its version for the next `write`."""
        self._known = get_config_map(self._client, NAMESPACE, self._name)
        if self._known is None:
            return None
        return Receipt.from_text(self._known.data.get(KEY, ""), origin=f"The config map {NAMESPACE}/{self._name}")

    def write(self, receipt: Receipt) -> None:
        """Write a successor of what was read.

        Raises:
            DriftSincePlanError: Somebody else wrote since.
            NeighbourError: The cluster refused, or gave no answer.
        """
        data = {KEY: receipt.to_text()}
        try:
            if self._known is None:
                self._known = self._create(ConfigMap(NAMESPACE, self._name, data))
            else:
                self._known = replace_config_map(self._client, self._known.with_data(data))
        except KubeRefusedError as error:
            if error.kind not in {FaultKind.CONFLICT, FaultKind.ALREADY_EXISTS}:
                raise
            raise DriftSincePlanError(
                "Another run has changed the receipt of this federation.",
                f"The config map {NAMESPACE}/{self._name} is not the one that the plan was made with.",
                "Let the other run end, then run this command again.",
                code="plan.concurrent",
            ) from error

    def remove(self) -> None:
        """Delete the receipt, then its namespace where podpass made that and nothing else is in it; wait until both are gone.

        The receipt goes by itself first: Kubernetes empties a namespace in its own time, and until then the next run would read, and
        rely on, a receipt that is about to vanish.
        """
        if self._known is not None:
            delete_config_map(self._client, self._known)
            self._known = None
        namespace = get_namespace(self._client, NAMESPACE)
        if namespace is None or not MADE_BY.items() <= namespace.labels.items() or self._is_used():
            return
        delete_namespace(self._client, NAMESPACE, uid=namespace.uid)
        give_up_s = time.monotonic() + TERMINATING.total_seconds()
        while time.monotonic() < give_up_s and (left := get_namespace(self._client, NAMESPACE)) and left.uid == namespace.uid:
            self._sleep(_PAUSE_S)

    def _create(self, config_map: ConfigMap) -> ConfigMap:
        give_up_s = time.monotonic() + TERMINATING.total_seconds()
        while True:
            try:
                ensure_namespace(self._client, NAMESPACE, labels=MADE_BY)
                return create_config_map(self._client, config_map)
            except KubeRefusedError as error:
                going = error.kind is FaultKind.NOT_FOUND or "being terminated" in error.fault.message
                if not going or time.monotonic() > give_up_s:
                    raise
            self._sleep(_PAUSE_S)

    def _is_used(self) -> bool:
        """Whether something is in the namespace besides what Kubernetes puts there itself."""
        for plural, own in _CONTENTS.items():
            path = f"/api/v1/namespaces/{NAMESPACE}/{plural}"
            try:
                answer = self._client.call(Request("GET", path, f"list the {plural} of the namespace {NAMESPACE}"))
            except KubeRefusedError:  # who may not look must not assume
                return True
            names = {str(item.get("metadata", {}).get("name")) for item in answer.get("items") or []}
            if names - own:
                return True
        return False
