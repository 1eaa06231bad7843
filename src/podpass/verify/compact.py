# SPDX-License-Identifier: Apache-2.0
"""The compact form of a signed token: three base64url parts and two dots, read strictly or not at all (ADR 0003).

Nothing here is trusted yet. What a header says is used for two things only: to look up a key by `kid` among those already known, and to be
compared with the one algorithm which that key has.
"""

from typing import Any

import msgspec

from podpass.errors import MalformedTokenError
from podpass.verify import base64url, strict_json
from podpass.verify.claims import UnverifiedClaims

# A projected token is 1 to 2 KB; uvicorn and most proxies refuse header lines beyond 8 to 64 KiB.
TOKEN_LIMIT_BYTES = 16 * 1024
# Kubernetes' key ids have 43 characters. A kid is a dictionary key, nothing else, and is quoted in messages.
KID_LIMIT_CHARS = 256

# `crit` names extensions that a reader must understand (RFC 7515, 4.1.11): we understand none, `b64` (RFC 7797) included. The others carry
# a key, or an address of one, chosen by whoever wrote the token. `x5t` is only a digest: it is not read, and so not refused.
_REFUSED_MEMBERS = frozenset({"crit", "b64", "jwk", "jku", "x5u", "x5c"})
_HOW_TO_SEND = "Send the token as it stands in its file, without white space, quotes or the word Bearer."


class CompactToken(msgspec.Struct, frozen=True):
    """A token taken apart, with nothing about it verified.

    Attributes:
        header: The decoded header. Not to be changed.
        algorithm: Its `alg`; any non-empty string.
        kid: Its `kid`, if it has one.
        payload: The claims.
        signing_input: The bytes that the signature covers: both parts and the dot between them, as sent.
        signature: The decoded signature; may be empty.
    """

    header: dict[str, Any]
    algorithm: str
    kid: str | None
    payload: UnverifiedClaims
    signing_input: bytes
    signature: bytes

    def __repr__(self) -> str:
        return f"<unverified token, {len(self.signing_input)} bytes, alg {self.algorithm!r}, kid {self.kid!r}>"


def parse(token: str | bytes) -> CompactToken:
    """Take a token apart.

    Raises:
        MalformedTokenError: Over 16 KiB; not ASCII; not three parts; a part that is not canonical base64url; a header or payload that is
            not one JSON object in UTF-8 without duplicate members, nested 32 levels at most; a header without `alg`, with a `kid` or
            `typ` of the wrong type or size, or with one of the members that podpass refuses.

    Source:
        RFC 7515, 3.1, 4 and 5.2.
    """
    octets = _octets(token)
    if octets.count(b".") != 2:  # noqa: PLR2004 - header, payload, signature
        parts = octets.count(b".") + 1 if octets else 0
        raise _malformed(f"It has {parts} part{'' if parts == 1 else 's'}; a signed token has three.")
    signing_input, _, signature_text = octets.rpartition(b".")
    header_text, _, payload_text = signing_input.partition(b".")
    header = _object(header_text, "header")
    _check_header(header)
    payload_octets = _decoded(payload_text, "payload")
    try:
        members = strict_json.parse_object(payload_octets)
    except ValueError as error:
        raise _malformed(f"Its payload cannot be read: {error}.") from None
    return CompactToken(
        header,
        header["alg"],
        header.get("kid"),
        UnverifiedClaims(members, payload_octets),
        signing_input,
        _decoded(signature_text, "signature"),
    )


def _octets(token: str | bytes) -> bytes:
    if len(token) > TOKEN_LIMIT_BYTES:
        raise _malformed(f"It has {len(token)} bytes; podpass reads {TOKEN_LIMIT_BYTES} at most.")
    if isinstance(token, bytes):
        return token
    try:
        return token.encode("ascii")
    except UnicodeEncodeError:
        raise _malformed("It holds characters outside ASCII.") from None


def _decoded(text: bytes, part: str) -> bytes:
    try:
        return base64url.decode(text)
    except ValueError as error:
        raise _malformed(f"Its {part} cannot be read: {error}.") from None


def _object(text: bytes, part: str) -> dict[str, Any]:
    try:
        return strict_json.parse_object(base64url.decode(text))
    except ValueError as error:
        raise _malformed(f"Its {part} cannot be read: {error}.") from None


def _check_header(header: dict[str, Any]) -> None:
    if not _REFUSED_MEMBERS.isdisjoint(header):
        names = ", ".join(sorted(_REFUSED_MEMBERS.intersection(header)))
        raise _malformed(f"Its header has the member {names}; podpass takes no keys from a token and knows no extensions.")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or not algorithm:
        raise _malformed("Its header has no `alg` that is a string.")
    if "typ" in header and not isinstance(header["typ"], str):
        raise _malformed("Its header has a `typ` that is not a string.")
    if "kid" not in header:
        return
    kid = header["kid"]
    if not isinstance(kid, str) or not 0 < len(kid) <= KID_LIMIT_CHARS:
        raise _malformed(f"Its header has a `kid` that is not a string of 1 to {KID_LIMIT_CHARS} characters.")


def _malformed(why: str) -> MalformedTokenError:
    return MalformedTokenError("The token cannot be read.", why, _HOW_TO_SEND)
