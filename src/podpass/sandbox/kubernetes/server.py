# SPDX-License-Identifier: Apache-2.0
"""The API server as an ASGI application: who asks, whether they may, then resources or one of the documents."""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import httpx2
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from podpass.sandbox.kubernetes import discovery, openapi
from podpass.sandbox.kubernetes.answers import answer
from podpass.sandbox.kubernetes.authentication import ANONYMOUS, Authenticator, UnauthenticatedError, User
from podpass.sandbox.kubernetes.authorization import check
from podpass.sandbox.kubernetes.objects import Objects
from podpass.sandbox.kubernetes.request import ApiRequest, action_of
from podpass.sandbox.kubernetes.resources import Resources
from podpass.sandbox.kubernetes.status import StatusError, no_such_path, not_allowed, passing
from podpass.sandbox.weather.connection import meet
from podpass.sandbox.weather.faults import Act
from podpass.sandbox.weather.weather import Seen, Weather

_log = logging.getLogger(__name__)


class ApiServer:
    """Answers requests.

    Args:
        objects: The cluster.
        authenticator: Judges who asks.
        url: Its own address, for the documents that name it.
        stopped: Set when streams shall end.
        to_nodes: Asks nodes, as the API server.
        weather: What goes wrong.
    """

    def __init__(
        self,
        objects: Objects,
        authenticator: Authenticator,
        url: Callable[[], str],
        stopped: asyncio.Event,
        to_nodes: httpx2.AsyncClient,
        weather: Weather,
    ) -> None:
        self._objects = objects
        self._authenticator = authenticator
        self._resources = Resources(objects, authenticator, stopped, to_nodes)
        self._url = url
        self._weather = weather

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; whatever goes wrong becomes a Status."""
        http = Request(scope, receive)
        warnings: list[str] = []
        act = None if self._weather.is_calm else self._struck(http)
        if act:
            send = await meet(act, scope, receive, send)
        try:
            response = await self._answer(http, warnings, act)
        except StatusError as error:
            response = answer(error.body, error.code)
        except Exception:  # noqa: BLE001 - a server answers, whatever happens; the log has the rest
            _log.exception("%s %s", http.method, http.scope["path"])
            response = answer(StatusError(500, "Internal Server Error").body, 500)
        if act:
            response = response if act.body is None else PlainTextResponse(act.body, response.status_code)
            response.headers.update(act.headers)
        for warning in warnings:
            response.headers.append("Warning", f"299 - {json.dumps(warning)}")  # ASCII, quoted, without line ends
        await response(scope, receive, send)

    def _struck(self, http: Request) -> Act | None:
        """Return what the faults do to a request, if anything."""
        action = action_of(http.method, http.scope["path"], http.query_params)
        method = f"kubernetes.{action.target}.{action.verb}" if action.resource else ""
        rule = self._weather.strike(Seen(method, "kubernetes", http.scope["path"], lambda: self._caller(http)))
        return rule.then if rule else None

    def _caller(self, http: Request) -> str:
        try:
            return self._user(http).name
        except StatusError:
            return ANONYMOUS.name

    async def _answer(self, http: Request, warnings: list[str], act: Act | None) -> Response:
        if act and act.refusal:
            raise passing(act.refusal, act.message)
        user = self._user(http)
        action = action_of(http.method, http.scope["path"], http.query_params)
        check(self._objects, user, action)
        if action.resource:
            return await self._resources.serve(ApiRequest(http, user, action, warnings))
        if action.verb != "get":
            raise not_allowed()
        return self._document(http.scope["path"].rstrip("/"), http.headers.get("accept", ""))

    def _user(self, http: Request) -> User:
        header = http.headers.get("authorization", "")
        if not header:
            return ANONYMOUS
        scheme, _, token = header.partition(" ")
        try:
            return self._authenticator.authenticate(token.strip() if scheme.lower() == "bearer" else "")[0]
        except UnauthenticatedError:
            raise StatusError(401, "Unauthorized") from None

    def _document(self, path: str, accept: str) -> Response:
        if path in {"/healthz", "/livez", "/readyz"}:
            return PlainTextResponse("ok")
        issuer = self._authenticator.issuer
        published = {"Cache-Control": "public, max-age=3600"}
        if path == "/openid/v1/jwks":
            return answer(issuer.jwks(), kind="application/jwk-set+json", headers=published)
        if path == "/.well-known/openid-configuration":
            return answer(issuer.discovery(self._url()), headers=published)
        if path in {"/api", "/apis"}:
            for version in ("v2", "v2beta1"):
                if f"g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList" in accept:
                    kind = f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
                    return answer(discovery.aggregated(core=path == "/api", version=version), kind=kind)
        return answer(self._plain_document(path))

    def _plain_document(self, path: str) -> Any:  # noqa: ANN401 - JSON
        match path.strip("/").split("/"):
            case ["version"]:
                return discovery.version()
            case ["api"]:
                return discovery.api_versions(self._url().removeprefix("https://"))
            case ["api", "v1"]:
                return discovery.resources("")
            case ["apis"]:
                return discovery.api_groups()
            case ["apis", group] if group in discovery.GROUPS:
                return discovery.api_group(group)
            case ["apis", group, "v1"] if group in discovery.GROUPS:
                return discovery.resources(group)
            case ["openapi", "v2"]:
                raise StatusError(404, "the sandbox's API server has no /openapi/v2; kubectl 1.29 and later read /openapi/v3 instead")
            case ["openapi", "v3"]:
                return openapi.paths()
            case ["openapi", "v3", *name] if "/".join(name) in openapi.paths()["paths"]:
                return openapi.document("/".join(name))
        raise no_such_path()
