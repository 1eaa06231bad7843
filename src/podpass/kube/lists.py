# SPDX-License-Identifier: Apache-2.0
"""Lists: many objects for one request, page by page."""

from collections.abc import Iterator
from typing import Final

from podpass.errors import UnexpectedAnswerError
from podpass.kube.client import AnswerTooLargeError, Json, KubeClient, Request

# From so many things of one kind in one namespace on, one list costs less than a request for each.
MANY: Final = 4
# kubectl's own page, and smaller ones for things so large that a page of them is more than podpass reads: one has 1.5 MiB at most.
_PAGES: Final = (500, 50, 5)
_PAGES_AT_MOST: Final = 1000


def list_objects(client: KubeClient, path: str, what: str, *, labels: str = "", fields: str = "") -> Iterator[Json]:
    """Return the objects of a collection.

    Args:
        client: The cluster.
        path: The collection's: `/api/v1/namespaces/default/configmaps`.
        what: What they are, for errors: `the config maps of the namespace default`.
        labels: A label selector; empty: all of them.
        fields: A field selector; empty: all of them.

    Raises:
        KubeRefusedError: Among others `FaultKind.FORBIDDEN`: who may read each may not therefore list all; 410: the list grew too old.
    """
    asked, after = {name: text for name, text in (("labelSelector", labels), ("fieldSelector", fields)) if text}, ""
    sizes = list(_PAGES)
    for _ in range(_PAGES_AT_MOST):
        query = {"limit": str(sizes[0]), **asked, **({"continue": after} if after else {})}
        try:
            answer = client.call(Request("GET", path, f"list {what}", query=query))
        except AnswerTooLargeError:
            if not sizes[1:]:
                raise
            sizes = sizes[1:]
            continue
        items = answer.get("items") or []
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise UnexpectedAnswerError(f"The cluster's list of {what} is no list of objects.")
        yield from items
        after = str((answer.get("metadata") or {}).get("continue") or "")
        if not after:
            return
    raise UnexpectedAnswerError(f"The cluster's list of {what} does not end.", f"{_PAGES_AT_MOST} pages were read.")
