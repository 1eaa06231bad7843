# SPDX-License-Identifier: Apache-2.0
import asyncio
from collections.abc import Callable
from typing import Any

from podpass.sandbox.kubernetes.garbage import CollectedObjects
from podpass.sandbox.kubernetes.kinds import CONFIG_MAP
from podpass.sandbox.kubernetes.options import Deletion, Write
from podpass.sandbox.kubernetes.selectors import label_test
from podpass.sandbox.kubernetes.watch import WatchRequest, watch

Json = dict[str, Any]


def put(objects: CollectedObjects, name: str, **labels: str) -> None:
    if objects.find(CONFIG_MAP, "default", name):
        objects.change(CONFIG_MAP, "default", name, lambda obj: {**obj, "metadata": {**obj["metadata"], "labels": labels}}, Write())
    else:
        objects.create(CONFIG_MAP, "default", {"metadata": {"name": name, "labels": labels}}, Write())


def watched(
    objects: CollectedObjects, act: Callable[[], None], *, selector: str = "", version: int = 0, initial: bool = False, namespace: str = ""
) -> list[tuple[str, str]]:
    """Watch, act, stop; return what was seen as pairs of type and name."""

    async def run() -> list[Json]:
        stopped = asyncio.Event()
        request = WatchRequest(CONFIG_MAP, namespace, label_test(selector), version, bookmarks=True, initial=initial, timeout_s=30)
        events: list[Json] = []

        async def collect() -> None:
            async for event in watch(objects, request, stopped):
                events.append(event)  # noqa: PERF401 - seen one by one

        task = asyncio.create_task(collect())
        await asyncio.sleep(0)
        act()
        for _ in range(50):
            await asyncio.sleep(0)
        stopped.set()
        await task
        return events

    return [(event["type"], event["object"].get("metadata", {}).get("name", "")) for event in asyncio.run(run())]


def test_without_version_what_is_there_comes_first(objects: CollectedObjects) -> None:
    put(objects, "a")
    assert watched(objects, lambda: put(objects, "b")) == [("ADDED", "a"), ("ADDED", "b")]


def test_from_a_version_everything_after_it_comes_once(objects: CollectedObjects) -> None:
    put(objects, "a")
    version = objects.store.revision
    put(objects, "b")
    put(objects, "a", x="1")
    objects.delete(CONFIG_MAP, "default", "b", Deletion())
    seen = watched(objects, lambda: put(objects, "c"), version=version)
    assert seen == [("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b"), ("ADDED", "c")]


def test_object_that_leaves_the_selection_is_deleted_for_the_watcher(objects: CollectedObjects) -> None:
    put(objects, "a", app="x")
    put(objects, "b")

    def act() -> None:
        put(objects, "b", app="x")
        put(objects, "a", app="y")
        put(objects, "a", app="z")
        objects.delete(CONFIG_MAP, "default", "a", Deletion())
        objects.delete(CONFIG_MAP, "default", "b", Deletion())

    assert watched(objects, act, selector="app=x") == [("ADDED", "a"), ("ADDED", "b"), ("DELETED", "a"), ("DELETED", "b")]


def test_watch_list_ends_with_a_bookmark_that_says_so(objects: CollectedObjects) -> None:
    put(objects, "a")
    assert watched(objects, lambda: put(objects, "b"), initial=True) == [("ADDED", "a"), ("BOOKMARK", ""), ("ADDED", "b")]


def test_other_namespaces_are_not_seen(objects: CollectedObjects) -> None:
    assert watched(objects, lambda: put(objects, "a"), namespace="def") == []


def test_version_older_than_the_log_is_gone(objects: CollectedObjects) -> None:
    put(objects, "a")
    version = objects.store.revision
    for number in range(5000):
        objects.store.put("other", "k", {"n": number})
    assert watched(objects, lambda: put(objects, "b"), version=version) == [("ERROR", "")]
