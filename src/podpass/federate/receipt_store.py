# SPDX-License-Identifier: Apache-2.0
"""Where the receipt lives: a config map in the namespace podpass-system of the cluster, replaced by compare-and-swap.

`turn.py` keeps two runs from working at once. Should they do so all the same, the config map's resourceVersion finds them out: the second
one stops before its first act.
"""

from podpass.errors import DriftSincePlanError
from podpass.federate.own_namespace import create_in
from podpass.federate.receipt import KEY, NAMESPACE, Receipt, config_map_name
from podpass.kube.client import KubeClient
from podpass.kube.config_maps import ConfigMap, create_config_map, delete_config_map, get_config_map, replace_config_map
from podpass.kube.fault import FaultKind, KubeRefusedError


class ReceiptStore:
    """The receipt of one federation in one cluster."""

    def __init__(self, client: KubeClient, federation: str) -> None:
        self._client = client
        self._name = config_map_name(federation)
        self._known: ConfigMap | None = None

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
                new = ConfigMap(NAMESPACE, self._name, data)
                self._known = create_in(self._client, lambda: create_config_map(self._client, new))
            else:
                self._known = replace_config_map(self._client, self._known.with_data(data))
        except KubeRefusedError as error:
            if error.kind not in {FaultKind.CONFLICT, FaultKind.ALREADY_EXISTS} and not self._is_gone(error):
                raise
            raise self._overtaken() from error

    def check(self) -> None:
        """Refuse to go on where the receipt is another one than was read; for changes of which the receipt says nothing new.

        Raises:
            DriftSincePlanError: Somebody else wrote since, or took it away.
            NeighbourError: The cluster refused, or gave no answer.
        """
        if get_config_map(self._client, NAMESPACE, self._name) != self._known:
            raise self._overtaken()

    def _overtaken(self) -> DriftSincePlanError:
        return DriftSincePlanError(
            "Another run has overtaken this one.",
            f"The receipt, the config map {NAMESPACE}/{self._name}, is not the one that the plan was made with: somebody has applied or "
            "destroyed this federation since.",
            "Let the other run end, then look with `podpass plan` and run this command again.",
            code="plan.concurrent",
        )

    def _is_gone(self, error: KubeRefusedError) -> bool:
        """Whether the receipt that was read is not there any more: a `podpass destroy` has ended meanwhile."""
        return error.kind is FaultKind.NOT_FOUND and self._known is not None

    def remove(self) -> None:
        """Delete the receipt.

        It goes before its namespace does: Kubernetes empties a namespace in its own time, and until then the next run would read, and rely
        on, a receipt that is about to vanish.
        """
        if self._known is not None:
            delete_config_map(self._client, self._known)
            self._known = None
