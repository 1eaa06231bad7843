# SPDX-License-Identifier: Apache-2.0
"""The verbs on resources: a request in, an answer out, over the life of objects in `objects`."""

import asyncio
import base64
import binascii
import importlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import httpx2
from starlette.responses import Response, StreamingResponse

from podpass.sandbox.kubernetes import managed, node_logs, schema
from podpass.sandbox.kubernetes.authentication import Authenticator
from podpass.sandbox.kubernetes.authorization import NODES, Action
from podpass.sandbox.kubernetes.discovery import kinds_in
from podpass.sandbox.kubernetes.kind import Json, Kind, timestamp
from podpass.sandbox.kubernetes.kinds import NAMESPACE, POD
from podpass.sandbox.kubernetes.objects import Objects, key_of
from podpass.sandbox.kubernetes.options import Deletion, Write
from podpass.sandbox.kubernetes.patch import json_patch, merge_patch, strategic_merge_patch
from podpass.sandbox.kubernetes.request import APPLY, ApiRequest, encoded, is_true, number
from podpass.sandbox.kubernetes.reviews import REVIEWS
from podpass.sandbox.kubernetes.schema import SchemaError
from podpass.sandbox.kubernetes.selectors import Test, field_test, label_test
from podpass.sandbox.kubernetes.status import (
    StatusError,
    conflict,
    expired,
    forbidden,
    invalid,
    invalid_value,
    no_such_path,
    not_served,
    required,
)
from podpass.sandbox.kubernetes.table import table
from podpass.sandbox.kubernetes.token_request import create_token
from podpass.sandbox.kubernetes.watch import WatchRequest, watch

_JSON_PATCH, _MERGE_PATCH = "application/json-patch+json", "application/merge-patch+json"
_STRATEGIC_PATCH = "application/strategic-merge-patch+json"
_STREAMS: Final = ("pods/attach", "pods/exec", "pods/portforward", "pods/proxy")  # no plain requests, so the models lack them
_WATCH_S: Final = 1800  # the real server's least, --min-request-timeout


def answer(value: Any, code: int = 200, *, kind: str = "application/json", headers: dict[str, str] | None = None) -> Response:  # noqa: ANN401 - JSON
    """Answer with JSON."""
    return Response(encoded(value), code, {"Cache-Control": "no-cache, private", **(headers or {})}, kind)


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
        self._stopped = stopped
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
            raise StatusError(405, "the server does not allow this method on the requested resource")
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
            raise StatusError(405, "the server does not allow this method on the requested resource")
        if kind in REVIEWS:
            return await self._review(kind, request)
        verbs: dict[str, Callable[[Kind, ApiRequest], Awaitable[Response]]] = {
            "get": self._get,
            "list": self._list,
            "watch": self._watch,
            "create": self._create,
            "update": self._update,
            "patch": self._patch,
            "delete": self._delete,
            "deletecollection": self._delete_collection,
        }
        return await verbs[action.verb](kind, request)

    def _home(self, kind: Kind, request: ApiRequest) -> str:
        return request.action.namespace if kind.namespaced else ""

    async def _get(self, kind: Kind, request: ApiRequest) -> Response:
        obj = self._objects.get(kind, self._home(kind, request), request.action.name)
        if request.wants("Table"):
            return answer(self._table(kind, [obj], {"resourceVersion": obj["metadata"]["resourceVersion"]}, request))
        return answer(obj)

    async def _list(self, kind: Kind, request: ApiRequest) -> Response:
        revision = self._objects.store.revision
        asked = number(request.query, "resourceVersion")
        if asked > revision:
            raise StatusError(504, f"Too large resource version: {asked}, current: {revision}")
        if request.query.get("resourceVersionMatch") == "Exact" and asked != revision:
            raise expired(asked, revision)
        test = _test(kind, request)
        items = [obj for obj in self._objects.select(kind, self._home(kind, request)) if test(obj)]
        items, metadata = _page(items, request, revision)
        if request.wants("Table"):
            return answer(self._table(kind, items, metadata, request))
        return answer(_listed(kind, items, metadata))

    def _table(self, kind: Kind, items: list[Json], metadata: Json, request: ApiRequest, *, headed: bool = True) -> Json:
        include = request.query.get("includeObject") or "Metadata"
        return table(kind, items, metadata, self._objects.clock.now(), include=include, headed=headed)

    async def _watch(self, kind: Kind, request: ApiRequest) -> Response:
        query = request.query
        initial = is_true(query, "sendInitialEvents")
        if initial and query.get("resourceVersionMatch") != "NotOlderThan":
            why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            raise invalid(
                "ListOptions", "meta.k8s.io", "", [invalid_value("resourceVersionMatch", query.get("resourceVersionMatch", ""), why)]
            )
        wanted = WatchRequest(
            kind,
            self._home(kind, request),
            _test(kind, request),
            number(query, "resourceVersion"),
            bookmarks=is_true(query, "allowWatchBookmarks"),
            initial=initial,
            timeout_s=number(query, "timeoutSeconds") or _WATCH_S,
        )
        events = watch(self._objects, wanted, self._stopped)
        return StreamingResponse(self._lines(kind, request, events), media_type="application/json")

    async def _lines(self, kind: Kind, request: ApiRequest, events: AsyncIterator[Json]) -> AsyncIterator[bytes]:
        headed = True
        async for event in events:
            if request.wants("Table") and event["type"] != "ERROR":
                obj = event["object"]
                rows = [] if event["type"] == "BOOKMARK" else [obj]
                metadata = {"resourceVersion": obj["metadata"]["resourceVersion"]}
                event["object"] = self._table(kind, rows, metadata, request, headed=headed)
                headed = False
            yield encoded(event)

    async def _create(self, kind: Kind, request: ApiRequest) -> Response:
        obj = self._objects.create(kind, self._home(kind, request), await request.body(), request.write())
        return answer(obj, 201)

    async def _update(self, kind: Kind, request: ApiRequest, part: str = "") -> Response:
        body, write, action = await request.body(), request.write(), request.action
        return answer(self._objects.change(kind, self._home(kind, request), action.name, lambda _: body, write, part))

    async def _patch(self, kind: Kind, request: ApiRequest, part: str = "") -> Response:
        body, write, action = await request.raw(), request.write(), request.action
        home, name = self._home(kind, request), action.name
        if request.media_type == APPLY:
            return self._apply(kind, request, body, write, part)
        edit = _edit(request.media_type, body)
        try:
            return answer(self._objects.change(kind, home, name, edit, write, part))
        except SchemaError as error:
            raise invalid("", "", "", [invalid_value("patch", body.decode(errors="replace"), str(error))]) from error

    def _apply(self, kind: Kind, request: ApiRequest, body: bytes, write: Write, part: str) -> Response:
        config, home, name = schema.parse(body), self._home(kind, request), request.action.name
        if not request.query.get("fieldManager"):
            raise invalid("PatchOptions", "meta.k8s.io", "", [required("fieldManager", "is required for apply patch")])
        if (config.get("metadata") or {}).get("managedFields"):
            raise StatusError(400, "metadata.managedFields must be nil")
        try:
            clean = schema.read(config, kind.model, "Strict").value
        except SchemaError as error:
            about = f"({(config.get('metadata') or {}).get('namespace', '')}/{name}; {kind.group}/{kind.version}, Kind={kind.name})"
            unknown = ", ".join(".{}: field not declared in schema".format(part.split('"')[1]) for part in error.strict)
            raise StatusError(500, f"failed to create typed patch object {about}: {unknown or error}") from error
        force = is_true(request.query, "force")

        def edit(live: Json) -> Json:
            return managed.apply(live, clean, write.manager, part, self._objects.now, force=force)

        if self._objects.find(kind, home, name) is None and not part:
            empty = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": {"name": name}}
            return answer(self._objects.create(kind, home, edit(empty), write), 201)
        return answer(self._objects.change(kind, home, name, edit, write, part))

    async def _delete(self, kind: Kind, request: ApiRequest) -> Response:
        deletion = Deletion.of(await request.options(), dry_run=request.dry_run)
        obj, gone = self._objects.delete(kind, self._home(kind, request), request.action.name, deletion)
        if not gone or kind in {POD, NAMESPACE}:
            return answer(obj)
        details = {"name": obj["metadata"]["name"], "kind": kind.plural, "uid": obj["metadata"]["uid"]}
        details |= {"group": kind.group} if kind.group else {}
        return answer({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})

    async def _delete_collection(self, kind: Kind, request: ApiRequest) -> Response:
        options, test, home = await request.options(), _test(kind, request), self._home(kind, request)
        deletion = Deletion.of(options, dry_run=request.dry_run)
        items = [obj for obj in self._objects.select(kind, home) if test(obj)]
        for obj in items:
            self._objects.delete(kind, obj["metadata"].get("namespace", ""), obj["metadata"]["name"], deletion)
        return answer(_listed(kind, items, {"resourceVersion": str(self._objects.store.revision)}))

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
            raise StatusError(405, "the server does not allow this method on the requested resource")
        match action.subresource, action.verb:
            case "token", _:
                return await self._token(request)
            case "log", _:
                return await node_logs.read(self._objects, action.namespace, action.name, request.query, self._to_nodes)
            case "binding", _:
                return await self._bind(request)
            case _, "get":
                return await self._get(kind, request)
            case part, "update":
                return await self._update(kind, request, part)
            case part, _:
                return await self._patch(kind, request, part)

    async def _token(self, request: ApiRequest) -> Response:
        body, action = await request.body(), request.action
        reference = (body.get("spec") or {}).get("boundObjectRef") or {}
        if NODES in request.user.groups and reference.get("kind") != "Pod":
            raise forbidden("serviceaccounts", "", action.name, "node requested token not bound to a pod")
        return answer(create_token(self._objects, self._authenticator.issuer, action.namespace, action.name, body), 201)

    async def _bind(self, request: ApiRequest) -> Response:
        target, action = (await request.body()).get("target") or {}, request.action
        if target.get("kind", "Node") != "Node" or not target.get("name"):
            raise invalid("Binding", "", action.name, [invalid_value("target.kind", target.get("kind", ""), "must be Node")])
        pod = self._objects.get(POD, action.namespace, action.name)
        if pod["spec"].get("nodeName"):
            why = f'pod {action.name} is already assigned to node "{pod["spec"]["nodeName"]}"'
            raise conflict("pods/binding", "", action.name, why)
        scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": timestamp(self._objects.clock.now())}
        pod["spec"]["nodeName"] = target["name"]
        pod["status"]["conditions"] = [*(pod["status"].get("conditions") or ()), scheduled]
        if not request.dry_run:
            self._objects.amend(POD, pod)
        return answer({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, 201)


def _listed(kind: Kind, items: list[Json], metadata: Json) -> Json:
    """Return a list; its kind says for all items what they are."""
    bare = [{name: value for name, value in item.items() if name not in {"kind", "apiVersion"}} for item in items]
    return {"kind": f"{kind.name}List", "apiVersion": kind.api_version, "metadata": metadata, "items": bare}


def _edit(media_type: str, body: bytes) -> Callable[[Json], Json]:
    """Return the change that a patch makes."""
    try:
        patch: Any = json.loads(body) if media_type == _JSON_PATCH else schema.parse(body)
    except ValueError as error:
        raise StatusError(400, f"error decoding patch: {error}") from error
    match media_type:
        case "application/json-patch+json":
            return lambda obj: json_patch(obj, patch)
        case "application/merge-patch+json":
            return lambda obj: dict(merge_patch(obj, patch))
        case "application/strategic-merge-patch+json":
            return lambda obj: strategic_merge_patch(obj, patch)
    accepted = f"{_JSON_PATCH}, {_MERGE_PATCH}, {_STRATEGIC_PATCH}, {APPLY}"
    raise StatusError(415, f"the body of the request was in an unknown format - accepted media types include: {accepted}")


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


def _test(kind: Kind, request: ApiRequest) -> Test:
    """Join the selectors of a request."""
    fields = field_test(request.query.get("fieldSelector", ""), ("metadata.name", "metadata.namespace", *kind.selectable))
    labels = label_test(request.query.get("labelSelector", ""))
    name = request.action.name  # a watch of one object by its path
    return lambda obj: (not name or obj["metadata"]["name"] == name) and labels(obj) and fields(obj)


def _page(items: list[Json], request: ApiRequest, revision: int) -> tuple[list[Json], Json]:
    """Cut a list into pages; the token says where the next one begins."""
    limit, token = number(request.query, "limit"), request.query.get("continue", "")
    if token:
        try:
            mark = json.loads(base64.urlsafe_b64decode(token))
            revision, start = int(mark["rv"]), str(mark["start"])
        except (binascii.Error, ValueError, KeyError, TypeError) as error:
            raise StatusError(400, "continue key is not valid") from error
        items = [obj for obj in items if key_of(obj) > start]
    metadata = {"resourceVersion": str(revision)}
    if limit and len(items) > limit:
        mark = {"rv": revision, "start": key_of(items[limit - 1])}
        metadata["continue"] = base64.urlsafe_b64encode(json.dumps(mark).encode()).decode()
        return items[:limit], {**metadata, "remainingItemCount": len(items) - limit}
    return items, metadata
