# SPDX-License-Identifier: Apache-2.0
"""Pages of names, and the folders that a delimiter makes of them."""

import base64
import binascii
from collections.abc import Iterable

from podpass.sandbox.google.message import Query
from podpass.sandbox.google.storage.refusals import refused

_MOST = 1000  # a page's limit, whatever is asked for [R]


def page(query: Query, names: Iterable[str]) -> tuple[frozenset[str], dict[str, str]]:
    """Choose the names of one page.

    Args:
        query: The request's `maxResults` and `pageToken`.
        names: All names in order, each once.

    Returns:
        The names of the page, and `nextPageToken` if more follow.
    """
    size, after = query.number("maxResults", _MOST, _MOST), _after(query.get("pageToken", ""))
    rest = [name for name in names if name > after]
    token = {"nextPageToken": base64.b64encode(rest[size - 1].encode()).decode()} if len(rest) > size else {}
    return frozenset(rest[:size]), token


def folded(names: Iterable[str], prefix: str, delimiter: str) -> list[str]:
    """Replace names that have the delimiter after the prefix by what leads up to it, each once."""
    if not delimiter:
        return list(names)
    seen: dict[str, None] = {}
    for name in names:
        head, found, _ = name[len(prefix) :].partition(delimiter)
        seen[prefix + head + found] = None
    return list(seen)


def _after(token: str) -> str:
    try:
        return base64.b64decode(token, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise refused("Invalid argument.") from None  # [K]
