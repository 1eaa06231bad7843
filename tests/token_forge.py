# SPDX-License-Identifier: Apache-2.0
"""Makes tokens, good ones and ones with a fault, with nothing of podpass in between: what judges tokens must not also make them."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
NOW_S = int(NOW.timestamp())
ISSUER = "https://oidc.example/cluster-a"
AUDIENCE = "orders-api"
SUBJECT = "system:serviceaccount:shop:checkout"

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def b64url(data: bytes) -> str:
    """Encode as base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def compact_json(value: object) -> bytes:
    """Write JSON as Go and most issuers do: no white space."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def kubernetes_claims(**changed: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    """Return the claims of a projected token; a claim changed to None is left out."""
    claims = {
        "aud": [AUDIENCE],
        "exp": NOW_S + 3600,
        "iat": NOW_S,
        "iss": ISSUER,
        "jti": "0a6f3f5e-5c3c-4c56-9d3b-0f8f8d1d8f11",
        "kubernetes.io": {
            "namespace": "shop",
            "node": {"name": "node-1", "uid": "b1f3cf0e-6a62-4c3f-8ae4-6b1b4c9d3f01"},
            "pod": {"name": "checkout-6f7c", "uid": "9d0c1f65-1f2e-4a2c-93c3-35c6c5d0a002"},
            "serviceaccount": {"name": "checkout", "uid": "5a1b9f3d-52a4-4a62-a1cf-1f0f31c0b003"},
        },
        "nbf": NOW_S,
        "sub": SUBJECT,
    }
    claims.update(changed)
    return {name: value for name, value in claims.items() if value is not None}


_DIGESTS: dict[str, hashes.HashAlgorithm] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
_CURVES: dict[str, type[ec.EllipticCurve]] = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}


@dataclass(frozen=True)
class Signer:
    """A signing key with the id under which its public half is published; an RSA key signs RS256 unless it is told otherwise."""

    kid: str
    key: PrivateKey
    told: str | None = None

    @property
    def algorithm(self) -> str:
        if self.told is not None:
            return self.told
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return "EdDSA"
        if isinstance(self.key, rsa.RSAPrivateKey):
            return "RS256"
        return {256: "ES256", 384: "ES384", 521: "ES512"}[self.key.curve.key_size]

    def sign(self, signed: bytes) -> bytes:
        """Sign as JWS does: PKCS #1 v1.5 or PSS, r and s side by side, or Ed25519."""
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return self.key.sign(signed)
        digest = _DIGESTS[self.algorithm[2:]]
        if isinstance(self.key, rsa.RSAPrivateKey):
            pss = padding.PSS(padding.MGF1(digest), digest.digest_size)
            return self.key.sign(signed, pss if self.algorithm.startswith("PS") else padding.PKCS1v15(), digest)
        r, s = decode_dss_signature(self.key.sign(signed, ec.ECDSA(digest)))
        size = (self.key.curve.key_size + 7) // 8
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    def token(self, claims: Mapping[str, Any] | None = None, header: Mapping[str, Any] | None = None) -> str:
        """Make a token of claims; the header is Kubernetes' unless given."""
        return self.raw_token(
            compact_json({"alg": self.algorithm, "kid": self.kid} if header is None else header),
            compact_json(kubernetes_claims() if claims is None else claims),
        )

    def raw_token(self, header: bytes, payload: bytes) -> str:
        """Sign any two byte strings."""
        signing_input = f"{b64url(header)}.{b64url(payload)}"
        return f"{signing_input}.{b64url(self.sign(signing_input.encode()))}"


@cache
def rsa_signer(kid: str = "rsa-1", bits: int = 2048) -> Signer:
    """Make an RSA key, once for each id."""
    return Signer(kid, rsa.generate_private_key(public_exponent=65537, key_size=bits))


@cache
def ec_signer(kid: str = "ec-1") -> Signer:
    """Make a P-256 key, once for each id."""
    return Signer(kid, ec.generate_private_key(ec.SECP256R1()))


@cache
def signer(algorithm: str, kid: str | None = None) -> Signer:
    """Make a key for an algorithm, once for each id."""
    kid = algorithm.lower() if kid is None else kid
    if algorithm == "EdDSA":
        return Signer(kid, ed25519.Ed25519PrivateKey.generate(), algorithm)
    if algorithm in _CURVES:
        return Signer(kid, ec.generate_private_key(_CURVES[algorithm]()), algorithm)
    return Signer(kid, rsa_signer(kid).key, algorithm)
