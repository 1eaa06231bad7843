# SPDX-License-Identifier: Apache-2.0
"""Lists in pages, by `limit` and `continue`."""

import base64
import binascii
import json

from podpass.sandbox.kubernetes.kind import Json
from podpass.sandbox.kubernetes.objects import key_of
from podpass.sandbox.kubernetes.request import ApiRequest, number
from podpass.sandbox.kubernetes.status import StatusError


def page(items: list[Json], request: ApiRequest, revision: int) -> tuple[list[Json], Json]:
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
