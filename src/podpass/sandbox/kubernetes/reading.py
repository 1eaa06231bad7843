# SPDX-License-Identifier: Apache-2.0
"""The verbs that read: get, list and watch, as objects or as the table that `kubectl get` prints."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Final

from starlette.responses import Response, StreamingResponse

from podpass.sandbox.kubernetes.answers import answer, listed
from podpass.sandbox.kubernetes.kind import Json, Kind
from podpass.sandbox.kubernetes.objects import Objects
from podpass.sandbox.kubernetes.paging import page
from podpass.sandbox.kubernetes.request import ApiRequest, encoded, is_true, number
from podpass.sandbox.kubernetes.status import StatusError, expired, invalid, invalid_value
from podpass.sandbox.kubernetes.table import table
from podpass.sandbox.kubernetes.watch import WatchRequest, watch

_WATCH_S: Final = 1800  # the real server's least, --min-request-timeout


class Reading:
    """Shows resources.

    Args:
        objects: The cluster.
        stopped: Set when watches shall end.
    """

    def __init__(self, objects: Objects, stopped: asyncio.Event) -> None:
        self._objects = objects
        self._stopped = stopped

    async def get(self, kind: Kind, request: ApiRequest) -> Response:
        """Show one object."""
        obj = self._objects.get(kind, request.home(kind), request.action.name)
        if request.wants("Table"):
            return answer(_table(kind, [obj], {"resourceVersion": obj["metadata"]["resourceVersion"]}, request, self._objects.clock.now()))
        return answer(obj)

    async def list(self, kind: Kind, request: ApiRequest) -> Response:
        """Show the objects that fit the selectors, a page of them."""
        revision = self._objects.store.revision
        asked = number(request.query, "resourceVersion")
        if asked > revision:
            raise StatusError(504, f"Too large resource version: {asked}, current: {revision}")
        if request.query.get("resourceVersionMatch") == "Exact" and asked != revision:
            raise expired(asked, revision)
        test = request.test(kind)
        items = [obj for obj in self._objects.select(kind, request.home(kind)) if test(obj)]
        items, metadata = page(items, request, revision)
        if request.wants("Table"):
            return answer(_table(kind, items, metadata, request, self._objects.clock.now()))
        return answer(listed(kind, items, metadata))

    async def watch(self, kind: Kind, request: ApiRequest) -> Response:
        """Show what happens to the objects that fit the selectors, as it happens."""
        query = request.query
        initial = is_true(query, "sendInitialEvents")
        if initial and query.get("resourceVersionMatch") != "NotOlderThan":
            why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            raise invalid(
                "ListOptions", "meta.k8s.io", "", [invalid_value("resourceVersionMatch", query.get("resourceVersionMatch", ""), why)]
            )
        wanted = WatchRequest(
            kind,
            request.home(kind),
            request.test(kind),
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
                event["object"] = _table(kind, rows, metadata, request, self._objects.clock.now(), headed=headed)
                headed = False
            yield encoded(event)


def _table(kind: Kind, items: list[Json], metadata: Json, request: ApiRequest, now: datetime, *, headed: bool = True) -> Json:
    include = request.query.get("includeObject") or "Metadata"
    return table(kind, items, metadata, now, include=include, headed=headed)
