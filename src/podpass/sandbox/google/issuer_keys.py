# SPDX-License-Identifier: Apache-2.0
"""Keys of an issuer, as Google fetches them: discovery document, then `jwks_uri`. Only hosts of this universe can be reached from it."""

from collections.abc import Callable
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import msgspec

from podpass.clock import Clock
from podpass.errors import KeySetError, UnreachableError
from podpass.sandbox.google.message import Answer, Request
from podpass.verify import KeySet

Fetch = Callable[[Request], Answer]

_LIMIT_BYTES = 1 << 20


class IssuerKeys:
    """Fetch and keep the keys of issuers.

    Google keeps them for an unpublished time [M]; here each document is kept for its own `max-age` [?], so that a bucket
    whose objects lack `Cache-Control: max-age=0` shows what it does in life: a new key that is not seen for an hour.

    Args:
        clock: The present moment.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[str, tuple[datetime, bytes]] = {}

    def of(self, issuer: str, fetch: Fetch) -> KeySet:
        """Return an issuer's keys.

        Args:
            issuer: Its `iss`.
            fetch: Answers an anonymous request from inside the universe.

        Raises:
            UnreachableError: A document cannot be had, or is not what it should be.
            KeySetError: There is no usable key in the key set.
        """
        raw = self._document(issuer.removesuffix("/") + "/.well-known/openid-configuration", fetch)
        try:
            document = msgspec.json.decode(raw)
            published, jwks_uri = document["issuer"], document["jwks_uri"]
        except (msgspec.DecodeError, KeyError, TypeError):
            raise KeySetError(f"The discovery document of {issuer!r} is not one.") from None
        if published != issuer:
            raise KeySetError(f"The discovery document of {issuer!r} names the issuer {published!r}.")
        return KeySet.parse(self._document(str(jwks_uri), fetch))

    def _document(self, url: str, fetch: Fetch) -> bytes:
        now = self._clock.now()
        kept_until, body = self._kept.get(url, (now, b""))
        if now < kept_until:
            return body
        parts = urlsplit(url)
        if parts.scheme != "https" or parts.query or parts.fragment:
            raise UnreachableError(f"{url!r} is not a URL that Google would fetch keys from.")
        answer = fetch(Request("GET", parts.netloc.lower(), parts.path))
        if answer.status != 200 or len(answer.body) > _LIMIT_BYTES:  # noqa: PLR2004 - OK
            raise UnreachableError(f"{url!r} answers {answer.status}.")
        self._kept[url] = (now + _max_age(answer), answer.body)
        return answer.body


def _max_age(answer: Answer) -> timedelta:
    control = next((value for name, value in answer.headers.items() if name.lower() == "cache-control"), "")
    for directive in control.replace(" ", "").lower().split(","):
        name, _, value = directive.partition("=")
        if name in {"no-store", "no-cache", "private"}:
            return timedelta(0)
        if name == "max-age" and value.isdecimal():
            return timedelta(seconds=int(value))
    return timedelta(0)
