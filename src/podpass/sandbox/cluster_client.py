# SPDX-License-Identifier: Apache-2.0
"""A Kubernetes client for the sandbox's own parts (node agent, job controller): an API server is all they know of each other.

It goes straight to loopback, trusts the kubeconfig's certificate only, and reads no proxy or certificate from the environment.
"""

import asyncio
import base64
import logging
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

import httpx2
import msgspec

from podpass.errors import ConfigError, NeighbourError, RefusedError, UnexpectedAnswerError, UnreachableError
from podpass.sandbox.cluster import Kubeconfig
from podpass.sandbox.steady_client import SteadyClient

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
Object = dict[str, Any]
"""A Kubernetes object as JSON."""

# The server ends a watch after this time; hearing nothing for longer means that the connection is dead.
_WATCH_S = 240
_GONE = 410
_log = logging.getLogger(__name__)


class StatusError(RefusedError):
    """The API server answered with a Status."""

    def __init__(self, method: str, path: str, status_code: int, status: Mapping[str, Any]) -> None:
        self.status_code = status_code
        self.reason = str(status.get("reason", ""))
        self.message = str(status.get("message", ""))
        super().__init__(f"{method} {path} was answered with {status_code} {self.reason}.".replace(" .", "."), self.message)


class ClusterClient:
    """Requests as one user of one cluster; use it as an async context manager."""

    def __init__(self, kubeconfig: Kubeconfig, *, agent: str) -> None:
        cluster, user = kubeconfig["clusters"][0]["cluster"], kubeconfig["users"][0]["user"]
        if "token" not in user:
            raise ConfigError("The kubeconfig has no token.", "The sandbox's own parts prove who they are with one.")
        self.url = str(cluster["server"])
        trust = ssl.create_default_context(cadata=authority_of(kubeconfig))
        self._http = SteadyClient(
            base_url=self.url,
            verify=trust,
            trust_env=False,
            headers={"Authorization": f"Bearer {user['token']}", "User-Agent": agent},
            timeout=httpx2.Timeout(10, read=30, pool=None),
            limits=httpx2.Limits(max_connections=None),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._http.aclose()

    async def is_ready(self) -> bool:
        """Ask whether the API server is ready to serve."""
        try:
            return (await self._http.get("/readyz", timeout=1)).is_success
        except httpx2.HTTPError:
            return False

    async def get(self, path: str, **query: str) -> Object:
        """Read an object, or a list of them."""
        return await self._send("GET", path, query)

    async def text(self, path: str, **query: str) -> str:
        """Read what is not JSON, such as a pod's log."""
        async with _wrapped("GET", path):
            answer = await self._http.get(path, params=query)
        if answer.is_error:
            _read("GET", path, answer.status_code, answer.content)
        return answer.text

    async def post(self, path: str, body: Object) -> Object:
        """Create an object, or call a subresource."""
        return await self._send("POST", path, {}, body)

    async def put(self, path: str, body: Object) -> Object:
        """Replace an object."""
        return await self._send("PUT", path, {}, body)

    async def patch(self, path: str, body: Object, kind: str = MERGE_PATCH) -> Object:
        """Change parts of an object."""
        return await self._send("PATCH", path, {}, body, kind)

    async def delete(self, path: str, options: Object | None = None) -> Object:
        """Delete an object; `options` is the DeleteOptions."""
        return await self._send("DELETE", path, {}, options)

    async def _send(self, method: str, path: str, query: Mapping[str, str], body: Object | None = None, kind: str = JSON) -> Object:
        content = None if body is None else msgspec.json.encode(body)
        headers = {} if content is None else {"Content-Type": kind}
        async with _wrapped(method, path):
            answer = await self._http.request(method, path, params=dict(query), content=content, headers=headers)
        return _read(method, path, answer.status_code, answer.content)

    async def watch(self, path: str, version: str, **query: str) -> AsyncIterator[Object]:
        """Yield watch events after `version` until the server ends the watch.

        Raises:
            StatusError: The server refuses; 410 when `version` is too old, be it as an answer or as an event.
            UnreachableError: The connection is lost.
        """
        parameters = {"watch": "true", "resourceVersion": version, "allowWatchBookmarks": "true", "timeoutSeconds": str(_WATCH_S), **query}
        timeout = httpx2.Timeout(10, read=_WATCH_S + 30, pool=None)
        async with _wrapped("GET", path), self._http.stream("GET", path, params=parameters, timeout=timeout) as answer:
            if answer.is_error:
                _read("GET", path, answer.status_code, await answer.aread())
            async for line in answer.aiter_lines():
                event = _decode("GET", path, line.encode())
                if event["type"] == "ERROR":
                    raise StatusError("GET", path, int(event["object"].get("code", _GONE)), event["object"])
                yield event

    async def follow(self, path: str, **query: str) -> AsyncIterator[Object]:
        """Yield every change at `path` for ever, taking up the thread after any interruption.

        At first, and after a gap that the server's event log does not span, all objects come as ADDED events between one of the type
        RESTARTED and one of the type LISTED: whoever keeps a copy forgets what was not named between the two.
        """
        version = ""
        while True:
            try:
                if not version:
                    listed = await self.get(path, **query)
                    yield {"type": "RESTARTED"}
                    for item in listed["items"]:
                        yield {"type": "ADDED", "object": item}
                    version = listed["metadata"]["resourceVersion"]
                    yield {"type": "LISTED"}
                async for event in self.watch(path, version, **query):
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        yield event
            except NeighbourError as error:
                _log.debug("watch of %s: %s", path, error)
                if isinstance(error, StatusError) and error.status_code == _GONE:
                    version = ""
                    continue
                await asyncio.sleep(0.5)


def authority_of(kubeconfig: Kubeconfig) -> str:
    """Return the certificate of the cluster's authority, PEM."""
    return base64.b64decode(kubeconfig["clusters"][0]["cluster"]["certificate-authority-data"]).decode()


@asynccontextmanager
async def _wrapped(method: str, path: str) -> AsyncIterator[None]:
    try:
        yield
    except httpx2.HTTPError as error:
        raise UnreachableError(f"{method} {path} got no answer from the API server.", f"{type(error).__name__}: {error}") from error


def _decode(method: str, path: str, content: bytes) -> Object:
    try:
        return msgspec.json.decode(content, type=Object)
    except msgspec.DecodeError as error:
        raise UnexpectedAnswerError(f"{method} {path} was not answered with a JSON object.", str(error)) from error


def _read(method: str, path: str, status_code: int, content: bytes) -> Object:
    if status_code < httpx2.codes.BAD_REQUEST:
        return _decode(method, path, content)
    try:
        status = _decode(method, path, content)
    except UnexpectedAnswerError:
        status = {"message": content[:200].decode(errors="replace")}
    raise StatusError(method, path, status_code, status)
