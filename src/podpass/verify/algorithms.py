# SPDX-License-Identifier: Apache-2.0
"""The signature algorithms, a row each. A key has exactly one of them; a token's header only has to agree (RFC 8725, 3.1).

A new algorithm is a new row. The order of rows matters for keys that do not say which they are for: they get the first row that fits.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from podpass.errors import KeySetError

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey

# RFC 7518, 3.3: "A key of size 2048 bits or larger MUST be used". The upper bound keeps one signature check under a millisecond.
RSA_LEAST_BITS = 2048
RSA_MOST_BITS = 8192

# Raises InvalidSignature, or returns nothing.
_Check = Callable[[Any, bytes, bytes], None]


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One row of the table.

    Attributes:
        name: The `alg` value of headers and keys.
        unfit: Says why a public key cannot have this algorithm, or None when it can.
        check: Takes public key, signature, signed bytes; raises `InvalidSignature`.
    """

    name: str
    unfit: Callable[[object], str | None]
    check: _Check


def _rsa_unfit(key: object) -> str | None:
    if not isinstance(key, rsa.RSAPublicKey):
        return "it is not an RSA key"
    if not RSA_LEAST_BITS <= key.key_size <= RSA_MOST_BITS:
        return f"its modulus has {key.key_size} bits; {RSA_LEAST_BITS} to {RSA_MOST_BITS} are accepted"
    return None


def _pkcs1v15(digest: hashes.HashAlgorithm) -> _Check:
    scheme = padding.PKCS1v15()

    def check(key: rsa.RSAPublicKey, signature: bytes, signed: bytes) -> None:
        # OpenSSL refuses a signature that is not exactly as long as the modulus.
        key.verify(signature, signed, scheme, digest)

    return check


def _curve_unfit(curve: type[ec.EllipticCurve]) -> Callable[[object], str | None]:
    def unfit(key: object) -> str | None:
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, curve):
            return f"it is not a key on the curve {curve.name}"
        return None

    return unfit


def _ecdsa(digest: hashes.HashAlgorithm, number_bytes: int) -> _Check:
    scheme = ec.ECDSA(digest)

    def check(key: ec.EllipticCurvePublicKey, signature: bytes, signed: bytes) -> None:
        # RFC 7518, 3.4: r and s, each as long as the curve's order, big-endian, side by side; never DER.
        if len(signature) != 2 * number_bytes:
            raise InvalidSignature
        r, s = int.from_bytes(signature[:number_bytes]), int.from_bytes(signature[number_bytes:])
        key.verify(encode_dss_signature(r, s), signed, scheme)

    return check


ALGORITHMS = {
    row.name: row
    for row in (
        Algorithm("RS256", _rsa_unfit, _pkcs1v15(hashes.SHA256())),
        Algorithm("ES256", _curve_unfit(ec.SECP256R1), _ecdsa(hashes.SHA256(), 32)),
    )
}


def algorithm_of(public_key: object) -> Algorithm:
    """Give a key the first algorithm that fits it: RS256 to RSA, ES256 to P-256.

    Raises:
        KeySetError: None fits.

    Source:
        Kubernetes gives its keys algorithms by the same rule, whatever the size of an RSA key (pkg/serviceaccount/openidmetadata.go).
    """
    for row in ALGORITHMS.values():
        if row.unfit(public_key) is None:
            return row
    reasons = "; ".join(f"{row.name}: {row.unfit(public_key)}" for row in ALGORITHMS.values())
    raise KeySetError(
        "The key fits none of the algorithms that podpass verifies.", f"{reasons}.", "Use an RSA key of 2048 bits, or a P-256 key."
    )
