# SPDX-License-Identifier: Apache-2.0
"""The token of a request: one header, one credential (RFC 6750, 2.1; tokens in queries and forms are not read)."""

from collections.abc import Iterable
from typing import Final

from podpass.errors import MalformedTokenError, SeveralCredentialsError

_AUTHORIZATION: Final = b"authorization"
# Google (Cloud Run, service-to-service authentication): read instead of Authorization where it is present, so that the service can use that
# header for something else. [K]
_SERVERLESS: Final = b"x-serverless-authorization"


def read_token(headers: Iterable[tuple[bytes, bytes]], *, serverless_first: bool = False) -> bytes | None:
    """Return what stands behind the word Bearer, or None where there is no such credential.

    Args:
        headers: Names in lower case.
        serverless_first: Look into `X-Serverless-Authorization`, and only where that is absent into `Authorization`.

    Raises:
        SeveralCredentialsError: The header is there twice, or holds two credentials: servers join repeated headers with a comma.
        MalformedTokenError: Nothing stands behind the word.
    """
    values = [value for name, value in headers if name == _SERVERLESS] if serverless_first else None
    if not values:
        values = [value for name, value in headers if name == _AUTHORIZATION]
        if not values:
            return None
    if len(values) > 1 or (b"," in values[0] and b"bearer" in values[0].lower()):
        raise SeveralCredentialsError(
            "The request carries more than one credential.",
            "A handler, or a proxy on the way, could choose another one than the guard.",
            "Send one Authorization header with one token.",
        )
    scheme, _, token = values[0].strip(b" \t").partition(b" ")
    if scheme.lower() != b"bearer":
        return None
    if not (token := token.strip(b" ")):
        raise MalformedTokenError(
            "The token cannot be read.", "Nothing stands behind the word Bearer.", "Send Authorization: Bearer TOKEN."
        )
    return token
