# SPDX-License-Identifier: Apache-2.0
"""Lists in pages, as Google's APIs give them."""

import base64
from collections.abc import Sequence

from podpass.sandbox.google.message import invalid
from podpass.sandbox.google.service import Call
from podpass.sandbox.store import Json


def page(call: Call, member: str, items: Sequence[Json], *, default: int, most: int) -> Json:
    """Answer with one page of a list whose items have names, in their order; an empty list is `{}`.

    Raises:
        Fault: A page token that this list did not give.
    """
    try:
        after = base64.urlsafe_b64decode(call.query.get("pageToken", "")).decode()
    except ValueError:
        raise invalid("Request contains an invalid argument.") from None
    rest = [item for item in items if item["name"] > after]
    shown = rest[: call.query.number("pageSize", default, most)]
    answer: Json = {member: shown} if shown else {}
    if len(rest) > len(shown):
        answer["nextPageToken"] = base64.urlsafe_b64encode(shown[-1]["name"].encode()).decode()
    return answer
