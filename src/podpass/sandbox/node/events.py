# SPDX-License-Identifier: Apache-2.0
"""Events on pods: what `kubectl describe` shows of their life."""

import logging

from podpass.clock import Clock
from podpass.errors import NeighbourError
from podpass.sandbox.cluster_client import ClusterClient, Object
from podpass.sandbox.node.status import rfc3339

_log = logging.getLogger(__name__)


class Events:
    """Writes the events of one pod; the same event twice in a row is written once."""

    def __init__(self, client: ClusterClient, pod: Object, node: str, clock: Clock) -> None:
        self._client = client
        self._pod = pod
        self._node = node
        self._clock = clock
        self._last: dict[str, str] = {}
        self._number = 0

    async def tell(self, reason: str, message: str, *, warning: bool = False, container: str = "") -> None:
        """Write an event. That it cannot be written is no reason for anything to fail."""
        if self._last.get(reason + container) == message:
            return
        self._last[reason + container] = message
        event = self._event(reason, message, "Warning" if warning else "Normal", container)
        try:
            await self._client.post(f"/api/v1/namespaces/{self._pod['metadata']['namespace']}/events", event)
        except NeighbourError as error:
            _log.debug("the event %s was not written: %s", reason, error)

    def _event(self, reason: str, message: str, kind: str, container: str) -> Object:
        now, metadata = self._clock.now(), self._pod["metadata"]
        self._number += 1
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{metadata['name']}.{int(now.timestamp() * 1e6):x}{self._number:02x}",
                "namespace": metadata["namespace"],
            },
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
                **({"fieldPath": f"spec.containers{{{container}}}"} if container else {}),
            },
            "reason": reason,
            "message": message,
            "type": kind,
            "source": {"component": "kubelet", "host": self._node},
            "reportingComponent": "kubelet",
            "reportingInstance": self._node,
            "firstTimestamp": rfc3339(now),
            "lastTimestamp": rfc3339(now),
            "count": 1,
        }
