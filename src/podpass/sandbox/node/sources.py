# SPDX-License-Identifier: Apache-2.0
"""What a pod's volumes and variables are filled from: config maps, secrets, the pod's own fields, and tokens for its service account."""

import base64
import json
import logging
import re
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any

from podpass.clock import Clock
from podpass.errors import NeighbourError
from podpass.sandbox.cluster_client import ClusterClient, Object, StatusError
from podpass.sandbox.node.atomic import Content, Payload
from podpass.sandbox.node.mounts import MountError
from podpass.sandbox.node.pod_network import ADDRESS

_DEFAULT_MODE = 0o644
# kubelet, pkg/kubelet/token/token_manager.go: a token is refreshed at 80 % of its life, at the latest after a day.
_REFRESH_AT, _OLDEST = 0.8, timedelta(hours=24)
_NOT_FOUND = 404
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']*)'\]")
_log = logging.getLogger(__name__)


def field(pod: Object, path: str, address: str) -> str:
    """Return what a `fieldRef` to `path` gives; `address` is the pod's.

    Raises:
        MountError: The downward API has no such field.
    """
    metadata, spec = pod["metadata"], pod["spec"]
    if subscript := _SUBSCRIPT.fullmatch(path):
        return str(metadata.get(subscript[1], {}).get(subscript[2], ""))
    if path in {"metadata.labels", "metadata.annotations"}:
        pairs = metadata.get(path.partition(".")[2], {})
        return "\n".join(f"{key}={json.dumps(pairs[key], ensure_ascii=False)}" for key in sorted(pairs))
    values = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
        **dict.fromkeys(("status.podIP", "status.podIPs"), address),
        **dict.fromkeys(("status.hostIP", "status.hostIPs"), ADDRESS),
    }
    if path not in values:
        raise MountError(f"The field {path!r} cannot be read.", "The downward API of this node agent has no such field.")
    return str(values[path])


class Token:
    """One token of a pod, renewed as kubelet renews it."""

    def __init__(self, request: Callable[[], Coroutine[Any, Any, Object]], clock: Clock) -> None:
        self._request = request
        self._clock = clock
        self._answer: Object | None = None

    async def get(self) -> str:
        """Return a token that is good for a while; ask for a new one when the old one's time comes.

        Raises:
            NeighbourError: There is none, or it has run out, and the API server gives no new one.
        """
        now = self._clock.now()
        if self._answer is None or now >= self._renewal(self._answer):
            try:
                self._answer = await self._request()
            except NeighbourError as error:
                if self._answer is None or now >= _moment(self._answer):
                    raise
                _log.warning("a token could not be renewed, the old one stays: %s", error)
        return str(self._answer["status"]["token"])

    @staticmethod
    def _renewal(answer: Object) -> datetime:
        life = timedelta(seconds=answer["spec"]["expirationSeconds"])
        issued = _moment(answer) - life
        return min(issued + life * _REFRESH_AT, issued + _OLDEST)


def _moment(answer: Object) -> datetime:
    return datetime.fromisoformat(answer["status"]["expirationTimestamp"])


class PodSources:
    """Reads for one pod, as its node."""

    def __init__(self, client: ClusterClient, pod: Object, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self.pod = pod
        self.address = ADDRESS
        self._tokens: dict[tuple[str, int], Token] = {}

    def now(self) -> datetime:
        """Return the present moment."""
        return self._clock.now()

    async def keys(self, kind: str, name: str, *, optional: bool) -> dict[str, bytes] | None:
        """Return the keys of the object of `kind` (configmap or secret); None when it is absent and may be.

        Raises:
            MountError: It is absent and may not be.
        """
        namespace = self.pod["metadata"]["namespace"]
        try:
            found = await self._client.get(f"/api/v1/namespaces/{namespace}/{kind}s/{name}")
        except StatusError as error:
            if error.status_code != _NOT_FOUND:
                raise
            if optional:
                return None
            raise MountError(f'{kind} "{name}" not found') from error
        plain = {key: value.encode() for key, value in (found.get("data") or {}).items()} if kind == "configmap" else {}
        coded = found.get("binaryData") if kind == "configmap" else found.get("data")
        return plain | {key: base64.b64decode(value) for key, value in (coded or {}).items()}

    async def token(self, audience: str, life_s: int) -> str:
        """Return a token of the pod's service account that is bound to the pod."""
        key = (audience, life_s)
        if key not in self._tokens:
            self._tokens[key] = Token(lambda: self._request_token(audience, life_s), self._clock)
        return await self._tokens[key].get()

    async def _request_token(self, audience: str, life_s: int) -> Object:
        metadata = self.pod["metadata"]
        account = self.pod["spec"].get("serviceAccountName", "default")
        bound = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
        return await self._client.post(
            f"/api/v1/namespaces/{metadata['namespace']}/serviceaccounts/{account}/token",
            {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenRequest",
                "spec": {"audiences": [audience] if audience else [], "expirationSeconds": life_s, "boundObjectRef": bound},
            },
        )

    async def payload(self, kind: str, source: Object, mode: int | None = None) -> Payload:
        """Return the files of one volume source; `mode` is that of a projected volume around it.

        Raises:
            MountError: An object or key is missing, or the source is of a kind that this node agent does not have.
        """
        mode = int(source.get("defaultMode") or mode or _DEFAULT_MODE)
        match kind:
            case "configMap" | "secret":
                return await self._from_keys(kind.lower(), source, mode)
            case "downwardAPI":
                return self._from_fields(source, mode)
            case "serviceAccountToken":
                token = await self.token(source.get("audience", ""), source.get("expirationSeconds", 3600))
                return {source["path"]: Content(token.encode(), mode)}
            case "projected":
                parts = [await self.payload(inner, value, mode) for part in source.get("sources", []) for inner, value in part.items()]
                return {path: content for part in parts for path, content in part.items()}
        raise MountError(f"a volume of type {kind} is not supported", "", "Use a real cluster: --kubeconfig.")

    async def _from_keys(self, kind: str, source: Object, mode: int) -> Payload:
        optional = bool(source.get("optional"))
        name = source.get("secretName") or source.get("name", "")
        found = await self.keys(kind, name, optional=optional)
        if found is None:
            return {}
        items = source.get("items") or [{"key": key, "path": key} for key in found]
        missing = [item["key"] for item in items if item["key"] not in found]
        if missing and not optional:
            raise MountError(f'{kind} "{name}" references non-existent key: {missing[0]}')
        return {item["path"]: Content(found[item["key"]], item.get("mode") or mode) for item in items if item["key"] in found}

    def _from_fields(self, source: Object, mode: int) -> Payload:
        files = {}
        for item in source.get("items", []):
            if "fieldRef" not in item:
                raise MountError(f"the downward API file {item['path']!r} is not supported", "Only fieldRef is.", "Use a real cluster.")
            files[item["path"]] = Content(field(self.pod, item["fieldRef"]["fieldPath"], self.address).encode(), item.get("mode") or mode)
        return files
