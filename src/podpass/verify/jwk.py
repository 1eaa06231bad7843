# SPDX-License-Identifier: Apache-2.0
"""One published key: read strictly, and written as Kubernetes writes it."""

import hashlib
from collections.abc import Collection
from typing import Any, Final, Self

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from podpass.errors import BadSignatureError, KeySetError, UnsupportedAlgorithmError
from podpass.names.quoting import quoted
from podpass.verify import base64url
from podpass.verify.algorithms import ALGORITHMS, DEFAULT_ALGORITHMS, Algorithm, PublicKey, algorithm_of, rows
from podpass.verify.compact import KID_LIMIT_CHARS, CompactToken

# RFC 7518, 6.3.2 and 6.4: members of private and of symmetric keys. A set that publishes one of them has given its key away.
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
# RFC 7518, 6.2.1.1, with the bytes of a coordinate.
_CURVES: Final[dict[str, tuple[ec.EllipticCurve, int]]] = {
    "P-256": (ec.SECP256R1(), 32),
    "P-384": (ec.SECP384R1(), 48),
    "P-521": (ec.SECP521R1(), 66),
}
# RFC 8037, 2.
_ED25519: Final = "Ed25519"
_ED25519_BYTES = 32


class VerificationKey(msgspec.Struct, frozen=True):
    """A public key, its id, and the one algorithm it verifies."""

    kid: str
    algorithm: Algorithm
    public_key: PublicKey

    @classmethod
    def of(cls, public_key: PublicKey, kid: str | None = None, algorithm: str | None = None) -> Self:
        """Take a public key as Kubernetes would publish it; without `kid`, under Kubernetes' own.

        Raises:
            KeySetError: No algorithm fits the key, or not the one that is named.
        """
        row = algorithm_of(public_key, tuple(ALGORITHMS) if algorithm is None else (algorithm,))
        return cls(thumbprint_kid(public_key) if kid is None else kid, row, public_key)

    def check(self, token: CompactToken) -> None:
        """Refuse a token that this key has not signed.

        Raises:
            UnsupportedAlgorithmError: The header names another algorithm than the key's.
            BadSignatureError: The signature does not hold.
        """
        self.check_algorithm(token.algorithm)
        self.check_signature(token.signature, token.signing_input)

    def check_algorithm(self, named: str) -> None:
        """Refuse a header that names another algorithm than the key's.

        Raises:
            UnsupportedAlgorithmError: It does.
        """
        if named != self.algorithm.name:
            raise UnsupportedAlgorithmError(
                f"The token says it is signed by {quoted(named)}, but its key {quoted(self.kid)} is for {self.algorithm.name}.",
                "The algorithm belongs to the key; a token cannot choose it.",
                "Get a new token from the issuer. If all its tokens say so, its published keys are wrong.",
            )

    def check_signature(self, signature: bytes, signed: bytes) -> None:
        """Refuse a signature that this key has not made over these bytes, by its own algorithm.

        Raises:
            BadSignatureError: The signature does not hold.
        """
        try:
            self.algorithm.check(self.public_key, signature, signed)
        except InvalidSignature:
            raise BadSignatureError(
                f"The signature is not one of key {quoted(self.kid)} over this token.",
                "The token was changed after it was signed, or another key with the same id signed it.",
                "Compare the issuer's published keys with those of the cluster: `kubectl get --raw /openid/v1/jwks`.",
            ) from None


def thumbprint_kid(public_key: PublicKey) -> str:
    """Return the id that Kubernetes gives a key: unpadded base64url of SHA-256 over its SubjectPublicKeyInfo in DER."""
    return base64url.encode(hashlib.sha256(public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest())


def public_jwk(public_key: PublicKey, kid: str, algorithm: str | None = None) -> dict[str, str]:
    """Write one key as kube-apiserver publishes it, members in the same order.

    Raises:
        KeySetError: No algorithm fits the key.
    """
    jwk = {"use": "sig", "kty": "RSA", "kid": kid}
    algorithm = algorithm_of(public_key).name if algorithm is None else algorithm
    if isinstance(public_key, rsa.RSAPublicKey):
        numbers = public_key.public_numbers()
        return {**jwk, "alg": algorithm, "n": _number(numbers.n), "e": _number(numbers.e)}
    if isinstance(public_key, ed25519.Ed25519PublicKey):
        return {**jwk, "kty": "OKP", "crv": _ED25519, "alg": algorithm, "x": base64url.encode(public_key.public_bytes_raw())}
    point = public_key.public_numbers()
    curve, size = next((name, size) for name, (curve, size) in _CURVES.items() if curve.name == public_key.curve.name)
    return {**jwk, "kty": "EC", "crv": curve, "alg": algorithm, "x": _number(point.x, size), "y": _number(point.y, size)}


def parse_jwk(entry: object, *, algorithms: Collection[str] = DEFAULT_ALGORITHMS) -> VerificationKey:
    """Read one key of a set.

    Args:
        entry: Whatever the JSON holds.
        algorithms: For which of them keys are wanted.

    Raises:
        KeySetError: It cannot verify signatures here; its `why` says for which reason.
        ConfigError: An algorithm that podpass has not.
    """
    accepted = rows(algorithms)
    if not isinstance(entry, dict):
        raise _unusable("it is not a JSON object")
    kid = entry.get("kid")
    if not isinstance(kid, str) or not 0 < len(kid) <= KID_LIMIT_CHARS:
        raise _unusable(f"it has no `kid` that is a string of 1 to {KID_LIMIT_CHARS} characters")
    _check_purpose(entry)
    public_key = _public_key(entry)
    named = entry.get("alg")
    if named is None:
        try:
            return VerificationKey(kid, algorithm_of(public_key, algorithms), public_key)
        except KeySetError as error:
            raise _unusable(error.why.rstrip(".")) from None
    algorithm = accepted.get(named) if isinstance(named, str) else None
    if algorithm is None:
        raise _unusable(f"its alg is not one of {', '.join(accepted)}")
    reason = algorithm.unfit(public_key)
    if reason is not None:
        raise _unusable(f"its alg is {algorithm.name}, but {reason}")
    return VerificationKey(kid, algorithm, public_key)


def _check_purpose(entry: dict[str, Any]) -> None:
    if not _PRIVATE_MEMBERS.isdisjoint(entry):
        raise _unusable("it holds private members: whoever can read this set can sign with it")
    if entry.get("use", "sig") != "sig":
        raise _unusable("its `use` is not sig")
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise _unusable("its `key_ops` do not allow verify")


def _public_key(entry: dict[str, Any]) -> PublicKey:
    kind, name = entry.get("kty"), entry.get("crv")
    try:
        if kind == "RSA":
            return rsa.RSAPublicNumbers(_integer(entry, "e"), _integer(entry, "n")).public_key()
        if kind == "EC" and isinstance(name, str) and name in _CURVES:
            curve, size = _CURVES[name]
            return ec.EllipticCurvePublicNumbers(_integer(entry, "x", size), _integer(entry, "y", size), curve).public_key()
        if kind == "OKP" and name == _ED25519:
            return ed25519.Ed25519PublicKey.from_public_bytes(_octets(entry, "x", _ED25519_BYTES))
    except ValueError as error:
        raise _unusable(f"its numbers are no key: {error}") from None
    raise _unusable("it is neither an RSA key, nor an EC key on P-256, P-384 or P-521, nor an Ed25519 key")


def _integer(entry: dict[str, Any], name: str, length_bytes: int | None = None) -> int:
    return int.from_bytes(_octets(entry, name, length_bytes))


def _octets(entry: dict[str, Any], name: str, length_bytes: int | None = None) -> bytes:
    text = entry.get(name)
    if not isinstance(text, str) or not text:
        raise ValueError(f"`{name}` is missing")
    try:
        octets = base64url.decode(text.encode("ascii"))
    except ValueError:
        raise ValueError(f"`{name}` is not base64url") from None
    # RFC 7518, 6.2.1.2: a coordinate is as long as the curve's field, leading zeros included.
    if length_bytes is not None and len(octets) != length_bytes:
        raise ValueError(f"`{name}` has {len(octets)} bytes, not {length_bytes}")
    return octets


def _number(value: int, length_bytes: int | None = None) -> str:
    return base64url.encode(value.to_bytes(length_bytes or (value.bit_length() + 7) // 8))


def _unusable(why: str) -> KeySetError:
    return KeySetError("The key cannot be used.", f"{why}.")
