# SPDX-License-Identifier: Apache-2.0
"""What is known already of places and tokens, for the short way of `Guard.recognise`.

It takes for granted what the whole judgement (`decide`) has found out about the very same bytes: that a path has one reading, and which
rule decides about it; that a token is whole and its signature good. What can have changed since, or is another caller's, is judged each
time: when the token begins and ends, the generation of its keys, the rule's members and its condition.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, final

from podpass.policy import Rule

if TYPE_CHECKING:  # it brings the verifier, which a guard needs only when it has a policy
    from podpass.guard.authenticator import Result

# What is asked for most; a longer path or method is judged as well, but not remembered.
_PLACES: Final = 1024
_PLACE_LIMIT_BYTES: Final = 512

# Type of connection, method, path as sent, mount, path as the router sees it: as an ASGI server says them.
Place = tuple[str, str, bytes, str, str]


@final
class Familiar:
    """Places and tokens that were judged before, by one policy. For any number of threads; a race forgets a place.

    Attributes:
        places: The rule that decides about a place. No other question than who calls is open there: no header is to be changed, and no
            API server to be asked.
        results: What came of tokens, by their SHA-256; others put them in.
        empty: The SHA-256 of nothing, to be copied: between requests, OpenSSL makes a copy in less time than a new one.
    """

    __slots__ = ("empty", "places", "results")

    def __init__(self, results: "Mapping[bytes, Result]") -> None:
        from hashlib import sha256  # noqa: PLC0415 - OpenSSL's is a tenth of the guard's start

        self.empty = sha256()
        self.results = results
        self.places: dict[Place, Rule] = {}

    def note(self, method: str, raw_path: bytes, path: str, rule: Rule) -> None:
        """Remember which rule decides about a place of an application that is not mounted anywhere."""
        if len(raw_path) + len(method) > _PLACE_LIMIT_BYTES:
            return
        if len(self.places) >= _PLACES:
            self.places.clear()
        self.places["http", method, raw_path, "", path] = rule
