# SPDX-License-Identifier: Apache-2.0
"""The compact form of a signed token: three base64url parts and two dots, read strictly or not at all (ADR 0003).

Nothing here is trusted yet. What a header says is used for two things only: to look up a key by `kid` among those already known, and to be
compared with the one algorithm which that key has.

`parse` reads all of a token. A verifier takes an `Envelope` instead and reads no more of it than it has reason to: junk costs little.
"""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, final

import msgspec

from podpass.errors import MalformedTokenError
from podpass.verify import base64url
from podpass.verify.claims import UnverifiedClaims
from podpass.verify.strict_json import NEST, NESTING_LIMIT, TOO_DEEP, is_a_nest, read_object, reason_of

# A projected token is 1 to 2 KB; uvicorn and most proxies refuse header lines beyond 8 to 64 KiB.
TOKEN_LIMIT_BYTES = 16 * 1024
# Kubernetes' key ids have 43 characters. A kid is a dictionary key, nothing else, and is quoted in messages.
KID_LIMIT_CHARS = 256
# All tokens of one key have the same header, of some 80 bytes. Longer ones, and more of them, are read each time.
_KNOWN_HEADERS = 128
_KNOWN_HEADER_LIMIT_BYTES = 512

# `crit` names extensions that a reader must understand (RFC 7515, 4.1.11): we understand none, `b64` (RFC 7797) included. The others carry
# a key, or an address of one, chosen by whoever wrote the token. `x5t` is only a digest: it is not read, and so not refused.
_REFUSED_MEMBERS = frozenset({"crit", "b64", "jwk", "jku", "x5u", "x5c"})
# Kubernetes writes `aud`, `exp`, `iat`, `iss`, in this order.
_BEGINNING_BYTES = 512
_HOW_TO_SEND = "Send the token as it stands in its file, without white space, quotes or the word Bearer."


class _Issuer(msgspec.Struct):
    """What is read of a payload before its signature holds: msgspec skips the rest, which costs little however it is made."""

    iss: Any = None


_issuer_decoder = msgspec.json.Decoder(_Issuer)


class Header(msgspec.Struct, frozen=True):
    """The header of a token.

    Attributes:
        members: All of it, read-only.
        algorithm: Its `alg`; any non-empty string.
        kid: Its `kid`, if it has one.
        kind: Its `typ`, if it has one, in lower case.
    """

    members: Mapping[str, Any]
    algorithm: str
    kid: str | None
    kind: str | None


class CompactToken(msgspec.Struct, frozen=True):
    """A token taken apart, with nothing about it verified.

    Attributes:
        header: The decoded header.
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


@final
class Envelope:
    """A token whose header is read, and nothing else yet. Belongs to one thread.

    Attributes:
        header: Read strictly.

    Raises:
        MalformedTokenError: Over 16 KiB, not ASCII, not three parts; a signature that is cut off; a header that is not one (see `parse`).
    """

    __slots__ = ("_octets", "_payload", "_payload_text", "_signature_text", "header")

    def __init__(self, token: str | bytes) -> None:
        if len(token) > TOKEN_LIMIT_BYTES:
            raise _malformed(f"It has {len(token)} bytes; podpass reads {TOKEN_LIMIT_BYTES} at most.")
        try:
            self._octets = token if isinstance(token, bytes) else token.encode("ascii")
        except UnicodeEncodeError:
            raise _malformed("It holds characters outside ASCII.") from None
        parts = self._octets.split(b".", 3)
        if len(parts) != 3:  # noqa: PLR2004 - header, payload, signature
            count = self._octets.count(b".") + 1 if token else 0
            raise _malformed(f"It has {count} part{'' if count == 1 else 's'}; a signed token has three.")
        header_text, self._payload_text, self._signature_text = parts
        left_over = len(self._signature_text) % 4
        if left_over and self._signature_text[-1] not in base64url.LAST_CHARACTERS[left_over]:
            self.signature()  # says what is wrong; most tokens that were cut off end here
        # Only what was read without objection is remembered; a refusal is found anew each time.
        self.header = (_known_header if len(header_text) <= _KNOWN_HEADER_LIMIT_BYTES else _read_header)(header_text)
        self._payload: bytes | None = None

    @property
    def signing_input(self) -> bytes:
        """The bytes that the signature covers: both parts and the dot between them, as sent."""
        return self._octets[: -1 - len(self._signature_text)]

    def mentions(self, text: bytes) -> bool:
        """Tell whether a text stands at the beginning of the payload, whatever it says there: nothing is read.

        Raises:
            MalformedTokenError: Not canonical base64url.
        """
        try:
            octets = self._payload
            if octets is None:  # as `_decode_payload`, without a call: every token comes here
                self._payload = octets = base64url.decode(self._payload_text)
            return octets.find(text, 0, _BEGINNING_BYTES) >= 0
        except ValueError as error:
            raise _malformed(f"Its payload cannot be read: {error}.") from None

    def issuer(self) -> Any:  # noqa: ANN401 - whatever the token says
        """Return `iss` as the payload has it, for finding the keys; nothing else of the payload is read.

        Raises:
            MalformedTokenError: Not canonical base64url of a JSON object.
        """
        try:
            octets = self._payload or self._decode_payload()
            nest = octets.find(NEST)
            if nest >= 0 and is_a_nest(octets, nest):
                raise _malformed(f"Its payload cannot be read: {TOO_DEEP}.")
            return _issuer_decoder.decode(octets).iss
        except msgspec.ValidationError:
            raise _malformed("Its payload cannot be read: it is not a JSON object.") from None
        except (msgspec.DecodeError, RecursionError):
            raise _malformed("Its payload cannot be read: it is not JSON.") from None
        except UnicodeDecodeError:
            raise _malformed("Its payload cannot be read: it is not UTF-8.") from None
        except ValueError as error:
            raise _malformed(f"Its payload cannot be read: {error}.") from None

    def claims(self) -> UnverifiedClaims:
        """Read the payload.

        Raises:
            MalformedTokenError: Not canonical base64url of one JSON object in UTF-8 without duplicate members, nested 32 levels at most.
        """
        try:
            octets = self._payload or self._decode_payload()
            return UnverifiedClaims(read_object(octets), octets)
        except (ValueError, msgspec.DecodeError, RecursionError) as error:
            raise _malformed(f"Its payload cannot be read: {reason_of(error)}.") from None

    def _decode_payload(self) -> bytes:
        self._payload = octets = base64url.decode(self._payload_text)
        return octets

    def signature(self) -> bytes:
        """Decode the signature; it may be empty.

        Raises:
            MalformedTokenError: Not canonical base64url.
        """
        try:
            return base64url.decode(self._signature_text)
        except ValueError as error:
            raise _malformed(f"Its signature cannot be read: {error}.") from None


def parse(token: str | bytes) -> CompactToken:
    """Take a token apart.

    Raises:
        MalformedTokenError: Over 16 KiB; not ASCII; not three parts; a part that is not canonical base64url; a header or payload that is
            not one JSON object in UTF-8 without duplicate members, nested 32 levels at most; a header without `alg`, with a `kid` or
            `typ` of the wrong type or size, or with one of the members that podpass refuses.

    Source:
        RFC 7515, 3.1, 4 and 5.2.
    """
    envelope = Envelope(token)
    header = envelope.header
    claims = envelope.claims()
    return CompactToken(dict(header.members), header.algorithm, header.kid, claims, envelope.signing_input, envelope.signature())


def _read_header(text: bytes) -> Header:
    try:
        octets = base64url.decode(text)
        # Nobody's header has so many; this way a nest of them is not even decoded.
        if octets.count(b"{") + octets.count(b"[") > NESTING_LIMIT:
            raise _malformed(f"Its header has more than {NESTING_LIMIT} objects and lists.")
        header = read_object(octets)
    except (ValueError, msgspec.DecodeError, RecursionError) as error:
        raise _malformed(f"Its header cannot be read: {reason_of(error)}.") from None
    _check_header(header)
    kind = header.get("typ")
    return Header(MappingProxyType(header), header["alg"], header.get("kid"), None if kind is None else kind.lower())


_known_header = lru_cache(_KNOWN_HEADERS)(_read_header)


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
