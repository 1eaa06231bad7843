# SPDX-License-Identifier: Apache-2.0
"""The token of a request: one header, one credential (RFC 6750, 2.1; tokens in queries and forms are not read)."""

from collections.abc import Iterable
from typing import Final

from podpass.errors import MalformedTokenError, SeveralCredentialsError

Headers = Iterable[tuple[bytes, bytes]]

AUTHORIZATION: Final = b"authorization"
# Google (Cloud Run, service-to-service authentication): read instead of Authorization where it is present, so that the service can use that
# header for something else. [K]
SERVERLESS: Final = b"x-serverless-authorization"
_COMMA: Final = ord(",")
USUAL: Final = b"Bearer "


def read_token(headers: Headers, *, serverless_first: bool = False) -> bytes | None:
    """Return what stands behind the word Bearer, or None where there is no such credential.

    Args:
        headers: Names in lower case.
        serverless_first: Look into `X-Serverless-Authorization`, and only where that is absent into `Authorization`.

    Raises:
        SeveralCredentialsError: The header is there twice, or holds two credentials: servers join repeated headers with a comma.
        MalformedTokenError: Nothing stands behind the word.
    """
    wanted = header_of(headers, serverless_first=True) if serverless_first else AUTHORIZATION
    value = None
    for name, text in headers:
        if name == wanted:
            if value is not None:
                raise _several()
            value = text
    if value is None:
        return None
    if _COMMA in value and b"bearer" in value.lower():
        raise _several()
    # As nearly everybody writes it, in fewer steps than `behind_bearer`.
    token = value[len(USUAL) :].lstrip(b" ").rstrip(b" \t") if value.startswith(USUAL) else behind_bearer(value)
    if token == b"":
        raise MalformedTokenError(
            "The token cannot be read.", "Nothing stands behind the word Bearer.", "Send Authorization: Bearer TOKEN."
        )
    return token


def header_of(headers: Headers, *, serverless_first: bool) -> bytes:
    """Return the name of the header that is read."""
    return SERVERLESS if serverless_first and any(name == SERVERLESS for name, _ in headers) else AUTHORIZATION


def behind_bearer(value: bytes) -> bytes | None:
    """Return what stands behind the word Bearer, perhaps nothing; None where another word stands there."""
    scheme, _, token = value.strip(b" \t").partition(b" ")
    return token.strip(b" ") if scheme.lower() == b"bearer" else None


def _several() -> SeveralCredentialsError:
    return SeveralCredentialsError(
        "The request carries more than one credential.",
        "A handler, or a proxy on the way, could choose another one than the guard.",
        "Send one Authorization header with one token.",
    )
