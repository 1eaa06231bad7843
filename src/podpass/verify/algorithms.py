# SPDX-License-Identifier: Apache-2.0
"""The signature algorithms, a row each. A key has exactly one of them; a token's header only has to agree (RFC 8725, 3.1).

There are no rows for symmetric algorithms, nor for `none`. Which rows are used is the caller's to say; unless told otherwise, the two that
Kubernetes and Google use. The order of rows matters for keys that do not say which they are for: they get the first row that fits.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from podpass.errors import ConfigError, KeySetError

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

# RFC 7518, 3.3: "A key of size 2048 bits or larger MUST be used". The upper bound keeps one signature check under a millisecond.
RSA_LEAST_BITS = 2048
RSA_MOST_BITS = 8192
# As Go's crypto/rsa: exponents in use are 3 and 65537, and a long one makes each check a hundred times as long.
RSA_MOST_EXPONENT = 2**31 - 1

# From here on DER writes a length in a byte of its own after 0x81 (X.690, 8.1.3); only P-521 comes so far.
_LONG_DER = 128

# Raises InvalidSignature, or returns nothing.
_Check = Callable[[Any, bytes, bytes], None]


class Algorithm(msgspec.Struct, frozen=True):
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
    if key.public_numbers().e > RSA_MOST_EXPONENT:
        return f"its exponent is over {RSA_MOST_EXPONENT}"
    return None


def _rsa(scheme: padding.PKCS1v15 | padding.PSS, digest: hashes.HashAlgorithm) -> _Check:
    def check(key: rsa.RSAPublicKey, signature: bytes, signed: bytes) -> None:
        # OpenSSL refuses a signature that is not exactly as long as the modulus.
        key.verify(signature, signed, scheme, digest)

    return check


def _pkcs1v15(digest: hashes.HashAlgorithm) -> _Check:
    return _rsa(padding.PKCS1v15(), digest)


def _pss(digest: hashes.HashAlgorithm) -> _Check:
    # RFC 7518, 3.5: MGF1 with the same digest, and a salt as long as its output; no other length is tried.
    return _rsa(padding.PSS(padding.MGF1(digest), digest.digest_size), digest)


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
        # As `encode_dss_signature` does by way of two Python integers, in half its time.
        numbers = _der_integer(signature[:number_bytes]) + _der_integer(signature[number_bytes:])
        key.verify((b"\x30%c%b" if len(numbers) < _LONG_DER else b"\x30\x81%c%b") % (len(numbers), numbers), signed, scheme)

    return check


def _der_integer(octets: bytes) -> bytes:
    """Write a number that is not negative as DER has it (X.690, 8.3): no zeros before it but one that keeps its first bit clear."""
    shortest = octets.lstrip(b"\0") or b"\0"
    if shortest[0] & 0x80:
        return b"\x02%c\0%b" % (len(shortest) + 1, shortest)
    return b"\x02%c%b" % (len(shortest), shortest)


def _ed25519_unfit(key: object) -> str | None:
    return None if isinstance(key, ed25519.Ed25519PublicKey) else "it is not an Ed25519 key"


def _ed25519(key: ed25519.Ed25519PublicKey, signature: bytes, signed: bytes) -> None:
    # RFC 8037, 3.1. OpenSSL refuses a signature of another length than 64 bytes, and an s that is not below the order.
    key.verify(signature, signed)


ALGORITHMS: Final = {
    row.name: row
    for row in (
        Algorithm("RS256", _rsa_unfit, _pkcs1v15(hashes.SHA256())),
        Algorithm("RS384", _rsa_unfit, _pkcs1v15(hashes.SHA384())),
        Algorithm("RS512", _rsa_unfit, _pkcs1v15(hashes.SHA512())),
        Algorithm("PS256", _rsa_unfit, _pss(hashes.SHA256())),
        Algorithm("PS384", _rsa_unfit, _pss(hashes.SHA384())),
        Algorithm("PS512", _rsa_unfit, _pss(hashes.SHA512())),
        Algorithm("ES256", _curve_unfit(ec.SECP256R1), _ecdsa(hashes.SHA256(), 32)),
        Algorithm("ES384", _curve_unfit(ec.SECP384R1), _ecdsa(hashes.SHA384(), 48)),
        Algorithm("ES512", _curve_unfit(ec.SECP521R1), _ecdsa(hashes.SHA512(), 66)),
        Algorithm("EdDSA", _ed25519_unfit, _ed25519),
    )
}
# Every issuer that podpass meets signs by one of these; what is not needed is not accepted.
DEFAULT_ALGORITHMS: Final = ("RS256", "ES256")


def rows(names: Iterable[str]) -> dict[str, Algorithm]:
    """Return the rows of these names, in the order of the table.

    Raises:
        ConfigError: A name that the table has not, or no name at all.
    """
    wanted = {names} if isinstance(names, str) else set(names)
    if wanted and wanted <= ALGORITHMS.keys():
        return {name: row for name, row in ALGORITHMS.items() if name in wanted}
    unknown = ", ".join(repr(name) for name in sorted(wanted - ALGORITHMS.keys(), key=str))
    raise ConfigError(
        f"podpass does not verify {unknown}." if unknown else "A verifier without an algorithm would refuse every token.",
        f"It has {', '.join(ALGORITHMS)}. A shared secret is never a key here: whoever could verify with it could sign with it.",
        "Name algorithms of these.",
        code="config.algorithm",
    )


def algorithm_of(public_key: object, names: Collection[str] = tuple(ALGORITHMS)) -> Algorithm:
    """Give a key the first algorithm that fits it: of all, RS256 to RSA, ES256, ES384 or ES512 to its curve, EdDSA to Ed25519.

    Raises:
        KeySetError: None of these fits.

    Source:
        Kubernetes gives its keys algorithms by the same rule, whatever the size of an RSA key (pkg/serviceaccount/openidmetadata.go).
    """
    reasons: dict[str, list[str]] = {}
    for row in rows(names).values():
        reason = row.unfit(public_key)
        if reason is None:
            return row
        reasons.setdefault(reason, []).append(row.name)
    why = "; ".join(f"{', '.join(shared)}: {reason}" for reason, shared in reasons.items()) + "."
    raise KeySetError("The key fits none of the algorithms that are accepted.", why, "Use an RSA key of 2048 bits, or a P-256 key.")
