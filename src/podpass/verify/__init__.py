# SPDX-License-Identifier: Apache-2.0
"""Judgement of tokens: no I/O, no clock of its own, single checks usable alone.

`Verifier` is the whole judgement; `compact`, `jwks`, `algorithms` and `claims` are its parts. What is accepted and what is refused stands
in docs/reference/verification.md.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from podpass.verify.claims import UnverifiedClaims
    from podpass.verify.compact import CompactToken, parse
    from podpass.verify.jwks import KeySet, VerificationKey, public_jwk, thumbprint_kid
    from podpass.verify.verifier import KeySource, VerifiedToken, Verifier

__all__ = [
    "CompactToken",
    "KeySet",
    "KeySource",
    "UnverifiedClaims",
    "VerificationKey",
    "VerifiedToken",
    "Verifier",
    "parse",
    "public_jwk",
    "thumbprint_kid",
]

# Who only takes tokens apart shall not pay for cryptography: 8 MB of memory in each pod with a metadata server.
_HOMES: Final = {
    "UnverifiedClaims": "claims",
    "CompactToken": "compact",
    "parse": "compact",
    "KeySet": "jwks",
    "VerificationKey": "jwks",
    "public_jwk": "jwks",
    "thumbprint_kid": "jwks",
    "KeySource": "verifier",
    "VerifiedToken": "verifier",
    "Verifier": "verifier",
}


def __getattr__(name: str) -> object:
    """Import a name when it is used for the first time (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found
