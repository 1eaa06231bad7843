# SPDX-License-Identifier: Apache-2.0
"""What Google accepts as `jwksJson` of a provider, and what it answers to the rest."""

from typing import Any

from podpass.errors import KeySetError
from podpass.verify import strict_json
from podpass.verify.jwks import parse_jwk

# [R] Only these members; a series of measurements saw `x5c` accepted, the reference says it is not. [M]
_MEMBERS = frozenset({"kty", "alg", "use", "kid", "n", "e", "x", "y", "crv"})
_CURVES = ("P-256",)
_SYNTAX = "Input JWK is not in a valid json format"  # [R][M]
_CORRUPT = "Input jwks contains corrupted key material."  # [M] for OKP, [?] for numbers that are no key and RSA keys under 2048 bits
_TYPE = "Invalid JWKs. Only RSA, EC key types are supported."  # [M] for P-384 and P-521; what stands between its halves is not known [?]


def judge_jwks(jwks_json: str) -> str | None:
    """Return Google's text for the first thing wrong with a set of keys, or None."""
    try:
        entries = strict_json.parse_object(jwks_json.encode("utf-8", "surrogatepass")).get("keys")
    except ValueError:
        return _SYNTAX
    if not isinstance(entries, list) or not entries:
        return _SYNTAX  # [?] for an empty list
    return next(filter(None, map(_judge_key, entries)), None)


def _judge_key(entry: Any) -> str | None:  # noqa: ANN401 - whatever the JSON holds
    if not isinstance(entry, dict) or not _MEMBERS.issuperset(entry):
        return _SYNTAX
    if entry.get("kty") == "OKP":
        return _CORRUPT
    # Tuples, since a member may hold a list, which no set can be asked for.
    if entry.get("kty") not in ("RSA", "EC") or (entry["kty"] == "EC" and entry.get("crv") not in _CURVES):
        return _TYPE
    try:
        parse_jwk(entry)
    except KeySetError:
        return _CORRUPT
    return None
