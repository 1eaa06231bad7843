# SPDX-License-Identifier: Apache-2.0
"""What a refused client is told: a status, a code, and nothing else. The reason stands in the log."""

from typing import Final

import msgspec

from podpass.guard.decide import BAD_REQUEST, FORBIDDEN, UNAUTHENTICATED, UNAVAILABLE, Deny

# RFC 6750, 3.1 names the first two; the others follow their form.
_ERRORS: Final = {
    BAD_REQUEST: "invalid_request",
    UNAUTHENTICATED: "invalid_token",
    FORBIDDEN: "forbidden",
    UNAVAILABLE: "temporarily_unavailable",
}


class Answer(msgspec.Struct, frozen=True):
    """An HTTP answer; header names are in lower case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @classmethod
    def of_json(cls, status: int, document: object, *more: tuple[str, str]) -> "Answer":
        """Make an answer that nobody may keep."""
        body = msgspec.json.encode(document)
        fixed = (("content-type", "application/json"), ("content-length", str(len(body))), ("cache-control", "no-store"))
        return cls(status, (*fixed, *more), body)


def refusal(deny: Deny) -> Answer:
    """Return the answer of a denial.

    Source:
        RFC 6750, 3: the challenge of a 401. The error code is there for a missing token as well: one answer for whoever is not known.
        RFC 9110, 10.2.3: Retry-After, in seconds.
    """
    error, more = _ERRORS[deny.status], []
    if deny.status == UNAUTHENTICATED:
        more.append(("www-authenticate", f'Bearer error="{error}", error_description="{deny.code}"'))
    if deny.retry_after_s is not None:
        more.append(("retry-after", str(deny.retry_after_s)))
    return Answer.of_json(deny.status, {"error": error, "code": deny.code}, *more)
