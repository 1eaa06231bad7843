# SPDX-License-Identifier: Apache-2.0
"""Where the receipt lives: a config map in the namespace podpass-system of the cluster, replaced by compare-and-swap.

A turn keeps two runs from working at once. Should they do so all the same, the config map's resourceVersion finds them out: the second
one stops before its first act.
"""

from podpass.errors import DriftSincePlanError
from podpass.federate.records.own_config_map import OwnConfigMap
from podpass.federate.records.receipt import KEY, Receipt, config_map_name
from podpass.kube.client import KubeClient
from podpass.kube.fault import FaultKind, KubeRefusedError


class ReceiptStore:
    """The receipt of one federation in one cluster."""

    def __init__(self, client: KubeClient, federation: str) -> None:
        self._kept = OwnConfigMap(client, config_map_name(federation))

    def read(self) -> Receipt | None:
        """Return the receipt, and remember its version for the next `write`."""
        found = self._kept.read()
        return Receipt.from_text(found.data.get(KEY, ""), origin=f"The {self._kept}") if found else None

    def write(self, receipt: Receipt) -> None:
        """Write a successor of what was read.

        Raises:
            DriftSincePlanError: Somebody else wrote since.
            NeighbourError: The cluster refused, or gave no answer.
        """
        try:
            self._kept.write({KEY: receipt.to_text()})
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
        if self._kept.look() != self._kept.known:
            raise self._overtaken()

    def _overtaken(self) -> DriftSincePlanError:
        return DriftSincePlanError(
            "Another run has overtaken this one.",
            f"The receipt, the {self._kept}, is not the one that the plan was made with: somebody has applied or "
            "destroyed this federation since.",
            "Let the other run end, then look with `podpass plan` and run this command again.",
            code="plan.concurrent",
        )

    def _is_gone(self, error: KubeRefusedError) -> bool:
        """Whether the receipt that was read is not there any more: a `podpass destroy` has ended meanwhile."""
        return error.kind is FaultKind.NOT_FOUND and self._kept.known is not None

    def remove(self) -> None:
        """Delete the receipt."""
        self._kept.remove()
