# SPDX-License-Identifier: Apache-2.0
"""Watches: the event log from a version on, seen through selectors, as a stream that ends when the server stops or the time is up."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

from podpass.sandbox.kubernetes.kind import Json, Kind
from podpass.sandbox.kubernetes.objects import Objects, key_of, read_back
from podpass.sandbox.kubernetes.status import StatusError, expired
from podpass.sandbox.store import CompactedError, Event

_BOOKMARK_S: Final = 60.0  # the real server sends one about each minute


@dataclass(frozen=True, slots=True)
class WatchRequest:
    """What to watch, and from where.

    Args:
        kind: The kind.
        namespace: Empty: all.
        test: The selectors, as one test of an object.
        version: The resourceVersion after which events are wanted; 0: what there is comes first, as ADDED.
        bookmarks: Whether to say, now and then, how far the stream has come.
        initial: Whether the objects that are there come first and a bookmark ends them (`sendInitialEvents`).
        timeout_s: When to end.
    """

    kind: Kind
    namespace: str
    test: Callable[[Json], bool]
    version: int
    bookmarks: bool
    initial: bool
    timeout_s: float


async def watch(objects: Objects, request: WatchRequest, stopped: asyncio.Event) -> AsyncIterator[Json]:
    """Yield watch events `{type, object}`; an event log that does not reach back is an ERROR with Status 410."""
    queue: asyncio.Queue[Event] = asyncio.Queue()
    deadline = asyncio.get_running_loop().time() + request.timeout_s
    lens = _Lens(request)
    with objects.store.listening(queue.put_nowait):
        try:
            start = list(lens.start(objects))
        except StatusError as error:
            yield {"type": "ERROR", "object": error.body}
            return
        for event in start:
            yield event
        seen = objects.store.revision
        while (left_s := deadline - asyncio.get_running_loop().time()) > 0 and not stopped.is_set():
            happened = await _next(queue, stopped, min(left_s, _BOOKMARK_S))
            if happened is None and request.bookmarks and not stopped.is_set():
                yield lens.bookmark(objects.store.revision)
            elif happened is not None and happened.record.revision > seen:
                shown = lens.show(happened)
                if shown:
                    yield shown


async def _next(queue: asyncio.Queue[Event], stopped: asyncio.Event, wait_s: float) -> Event | None:
    """Wait for an event, the end of the server, or the time."""
    waiters = [asyncio.ensure_future(queue.get()), asyncio.ensure_future(stopped.wait())]
    try:
        await asyncio.wait(waiters, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
        got: Any = waiters[0].result() if waiters[0].done() else None
        return got if isinstance(got, Event) else None
    finally:
        for waiter in waiters:
            waiter.cancel()


class _Lens:
    """Turns the store's events into those that one watcher sees.

    An object that stops to fit the selectors is DELETED for the watcher, one that begins to is ADDED; so the lens remembers what fitted.
    An object that was changed between the asked version and the start of the watch is taken to have fitted before.
    """

    def __init__(self, request: WatchRequest) -> None:
        self._request = request
        self._fitted: dict[str, bool] = {}

    def start(self, objects: Objects) -> list[Json]:
        request = self._request
        present = objects.select(request.kind, request.namespace)
        if request.version and not request.initial:
            try:
                missed = objects.store.since(request.version, request.kind.plural)
            except CompactedError:
                raise expired(request.version, objects.store.revision) from None
            for obj in present:
                if int(obj["metadata"]["resourceVersion"]) <= request.version:
                    self._fitted[key_of(obj)] = request.test(obj)
            return [event for event in map(self.show, missed) if event]
        events = []
        for obj in present:
            self._fitted[key_of(obj)] = request.test(obj)
            if self._fitted[key_of(obj)]:
                events.append({"type": "ADDED", "object": obj})
        if request.initial and request.bookmarks:
            events.append(self.bookmark(objects.store.revision, {"k8s.io/initial-events-end": "true"}))
        return events

    def show(self, event: Event) -> Json | None:
        record, request = event.record, self._request
        if record.kind != request.kind.plural or (request.namespace and not record.key.startswith(f"{request.namespace}/")):
            return None
        obj = read_back(record)
        fits = request.test(obj)
        if event.type == "DELETED":
            return {"type": "DELETED", "object": obj} if self._fitted.pop(record.key, fits) else None
        fitted = self._fitted.get(record.key, event.type == "MODIFIED")
        self._fitted[record.key] = fits
        if fits:
            return {"type": "MODIFIED" if fitted else "ADDED", "object": obj}
        return {"type": "DELETED", "object": obj} if fitted else None

    def bookmark(self, revision: int, annotations: dict[str, str] | None = None) -> Json:
        kind = self._request.kind
        metadata: dict[str, Any] = {"resourceVersion": str(revision), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = annotations
        return {"type": "BOOKMARK", "object": {"kind": kind.name, "apiVersion": kind.api_version, "metadata": metadata}}
