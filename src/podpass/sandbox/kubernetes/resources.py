# SPDX-License-Identifier: Apache-2.0
"""Requests for resources: which verb of which kind, of an object, a subresource or a review."""

import asyncio
import importlib
from collections.abc import Awaitable, Callable
from typing import Final

import httpx2
from starlette.responses import Response

from podpass.sandbox.kubernetes import node_logs, schema
from podpass.sandbox.kubernetes.answers import answer
from podpass.sandbox.kubernetes.authentication import Authenticator
from podpass.sandbox.kubernetes.authorization import NODES, Action
from podpass.sandbox.kubernetes.binding import bind
from podpass.sandbox.kubernetes.discovery import kinds_in
from podpass.sandbox.kubernetes.kind import Kind
from podpass.sandbox.kubernetes.objects import Objects
from podpass.sandbox.kubernetes.reading import Reading
from podpass.sandbox.kubernetes.request import ApiRequest
from podpass.sandbox.kubernetes.reviews import REVIEWS
from podpass.sandbox.kubernetes.schema import SchemaError
from podpass.sandbox.kubernetes.status import StatusError, forbidden, invalid, no_such_path, not_allowed, not_served
from podpass.sandbox.kubernetes.token_request import create_token
from podpass.sandbox.kubernetes.writing import Writing

_STREAMS: Final = ("pods/attach", "pods/exec", "pods/portforward", "pods/proxy")  # no plain requests, so the models lack them


class Resources:
    """Serves resources.

    Args:
        objects: The cluster.
        authenticator: For tokens under review, and the keys that new ones are signed with.
        stopped: Set when watches shall end.
    """

    def __init__(self, objects: Objects, authenticator: Authenticator, stopped: asyncio.Event, to_nodes: httpx2.AsyncClient) -> None:
        self._objects = objects
        self._authenticator = authenticator
        self._reading = Reading(objects, stopped)
        self._writing = Writing(objects)
        self._to_nodes = to_nodes

    async def serve(self, request: ApiRequest) -> Response:
        """Answer a request whose user may make it.

        Raises:
            StatusError: It cannot be answered otherwise.
        """
        action = request.action
        kind = next((kind for kind in kinds_in(action.group) if kind.plural == action.resource), None)
        if kind is None:
            raise _absent(action)
        if kind.namespaced and action.name and not action.namespace:
            raise no_such_path()
        if action.verb == "create" and (bool(action.name) is not bool(action.subresource) or (kind.namespaced and not action.namespace)):
            raise not_allowed()
        try:
            return await self._serve_kind(kind, request)
        except SchemaError as error:
            message = f'{kind.name} in version "{kind.version}" cannot be handled as a {kind.name}: {error}'
            raise StatusError(400, message) from error

    async def _serve_kind(self, kind: Kind, request: ApiRequest) -> Response:
        action = request.action
        if action.subresource:
            return await self._subresource(kind, request)
        if action.verb not in kind.verbs:
            raise not_allowed()
        if kind in REVIEWS:
            return await self._review(kind, request)
        verbs: dict[str, Callable[[Kind, ApiRequest], Awaitable[Response]]] = {
            "get": self._reading.get,
            "list": self._reading.list,
            "watch": self._reading.watch,
            "create": self._writing.create,
            "update": self._writing.update,
            "patch": self._writing.patch,
            "delete": self._writing.delete,
            "deletecollection": self._writing.delete_collection,
        }
        return await verbs[action.verb](kind, request)

    async def _review(self, kind: Kind, request: ApiRequest) -> Response:
        write = request.write()
        review = schema.read(await request.body(), kind.model, write.directive)
        if review.causes:
            raise invalid(kind.name, kind.group, "", review.causes)
        status = REVIEWS[kind](review.value, request.user, self._authenticator)
        head = {"kind": kind.name, "apiVersion": kind.api_version, "metadata": {}}
        return answer({**review.value, **head, "status": status}, 201)

    async def _subresource(self, kind: Kind, request: ApiRequest) -> Response:
        action = request.action
        verbs = next((verbs for name, _, verbs in kind.subresources if name == action.subresource), None)
        if verbs is None:
            raise _absent(action)
        if action.verb not in verbs:
            raise not_allowed()
        match action.subresource, action.verb:
            case "token", _:
                return await self._token(request)
            case "log", _:
                return await node_logs.read(self._objects, action.namespace, action.name, request.query, self._to_nodes)
            case "binding", _:
                return await bind(self._objects, request)
            case _, "get":
                return await self._reading.get(kind, request)
            case part, "update":
                return await self._writing.update(kind, request, part)
            case part, _:
                return await self._writing.patch(kind, request, part)

    async def _token(self, request: ApiRequest) -> Response:
        body, action = await request.body(), request.action
        reference = (body.get("spec") or {}).get("boundObjectRef") or {}
        if NODES in request.user.groups and reference.get("kind") != "Pod":
            raise forbidden("serviceaccounts", "", action.name, "node requested token not bound to a pod")
        return answer(create_token(self._objects, self._authenticator.issuer, action.namespace, action.name, body), 201)


def _absent(action: Action) -> StatusError:
    """Answer 501 for what real clusters have, by the tables of lightkube-models, and 404 for what they have not either."""
    try:
        group = (action.group or "core").removesuffix(".k8s.io").replace(".", "_")
        module = importlib.import_module(f"lightkube.resources.{group}_v1")
    except ModuleNotFoundError:
        return no_such_path()
    known = [(info.plural, info.action or "") for row in vars(module).values() if (info := getattr(row, "_api_info", None))]
    there = (action.resource, action.subresource) in known or action.target in _STREAMS
    return not_served(f"{action.verb} {action.target}") if there else no_such_path()
