# SPDX-License-Identifier: Apache-2.0
"""Judgement of tokens: no I/O, no clock of its own, single checks usable alone.

`Verifier` is the whole judgement; `compact`, `jwks`, `algorithms` and `claims` are its parts. What is accepted and what is refused stands
in docs/reference/verification.md.
"""

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
