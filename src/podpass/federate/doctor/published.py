# SPDX-License-Identifier: Apache-2.0
"""An issuer's documents as a stranger sees them: over https, without credentials, without redirects."""

import json
from typing import Any, Final

import httpx2

from podpass.errors import UnexpectedAnswerError, UnreachableError
from podpass.google.rest import unreachable
from podpass.names import Issuer
from podpass.verify import KeySet

LIMIT_BYTES: Final = 256 * 1024


def published_keys(http: httpx2.Client, issuer: Issuer) -> KeySet:
    """Return the keys that an issuer publishes, found as Google finds them.

    Raises:
        UnreachableError: No answer.
        UnexpectedAnswerError: Not an issuer's documents, or those of another issuer.
        KeySetError: No usable key.
    """
    document = _read(http, issuer.discovery_url)
    if document.get("issuer") != issuer.url:
        raise UnexpectedAnswerError(
            f"The discovery document at {issuer.discovery_url} is another issuer's.",
            f"It says {document.get('issuer')!r}; {issuer.url!r} is wanted, byte for byte.",
            "Publish the document again: run `podpass apply`.",
        )
    keys = document.get("jwks_uri")
    if not isinstance(keys, str) or not keys.startswith("https://"):
        raise UnexpectedAnswerError(f"The discovery document at {issuer.discovery_url} names no https address of its keys.")
    return KeySet.parse(json.dumps(_read(http, keys)))


def _read(http: httpx2.Client, url: str) -> dict[str, Any]:
    try:
        response = http.get(url, follow_redirects=False)
    except httpx2.RequestError as error:
        raise unreachable(httpx2.URL(url).host, f"show {url}", error) from error
    if response.status_code == httpx2.codes.NOT_FOUND:
        raise UnreachableError(
            f"There is nothing at {url} (404).",
            "Google looks for the issuer's keys there.",
            "Publish it: `podpass apply` does so for a bucket that it keeps.",
        )
    if not response.is_success:
        raise UnreachableError(
            f"{url} cannot be read by everybody ({response.status_code}).",
            "Google reads it without credentials.",
            "Make it readable: podpass does so for a bucket that it makes (run `podpass plan`).",
        )
    try:
        value = json.loads(response.content) if len(response.content) <= LIMIT_BYTES else None
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise UnexpectedAnswerError(f"What is at {url} is not a JSON object of at most {LIMIT_BYTES} bytes.")
    return value
