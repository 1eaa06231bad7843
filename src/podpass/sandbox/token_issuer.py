# SPDX-License-Identifier: Apache-2.0
"""The API server's issuers and keys: the values of its `--service-account-*` flags, which only a restart changes."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from podpass.errors import ConfigError, WrongIssuerError
from podpass.names import Audience, Issuer
from podpass.sandbox.cluster import IssuerChange
from podpass.sandbox.settings import KeyType
from podpass.verify import KeySet, VerificationKey, VerifiedToken, Verifier, parse, public_jwk, thumbprint_kid
from podpass.verify.base64url import encode

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

DEFAULT_ISSUER: Final = "https://kubernetes.default.svc.cluster.local"  # kubeadm's
_LEEWAY: Final = timedelta(minutes=1)  # go-jose's jwt.DefaultLeeway, which kube-apiserver judges by
_P256_BYTES: Final = 32


def make_key(key_type: KeyType) -> PrivateKey:
    """Make a signing key; RSA with 4096 bits takes seconds."""
    if key_type == "p256":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=4096 if key_type == "rsa4096" else 2048)


@dataclass(frozen=True, slots=True)
class TokenIssuer:
    """What signs and accepts service-account tokens.

    Args:
        issuers: Accepted issuers; the first is the `iss` of new tokens. They are also the API server's own audiences, its default.
        keys: Accepted keys; the first signs.

    Raises:
        ConfigError: An issuer that no API server could have, or one that is Google's audience: a token meant for Google must not open
            the API server.
    """

    issuers: tuple[str, ...]
    keys: tuple[PrivateKey, ...]

    def __post_init__(self) -> None:
        for text in self.issuers:
            if Issuer.parse(text).host == "iam.googleapis.com":
                raise ConfigError(
                    f"The API server's issuer cannot be {text!r}.",
                    "The issuer is also the API server's own audience, and this one is an audience that pods ask tokens for Google with.",
                    "Choose an issuer of the cluster's own, such as the URL of its bucket.",
                    code="config.issuer",
                )

    def after(self, change: IssuerChange, new_key: PrivateKey | None) -> "TokenIssuer":
        """Return the issuer that the API server has after a restart with other flags.

        Args:
            change: The change.
            new_key: The key made for it, of the kind `new_key` or `announce_key`.

        Raises:
            ConfigError: It asks for an announced key, and none was announced.
        """
        if change.sign_with_announced and len(self.keys) == 1:
            raise ConfigError("No key was announced that could sign now.", "", "Announce one first.", code="config.issuer-change")
        # An announced key stands right behind the signing one.
        signing = self.keys[1] if change.sign_with_announced else self.keys[0]
        kept = tuple(key for key in self.keys if key is not signing) if change.keep_old_keys else ()
        issuers = change.issuers_after(self.issuers)
        if new_key is None:
            return TokenIssuer(issuers, (signing, *kept))
        if change.announce_key:
            return TokenIssuer(issuers, (signing, new_key, *kept))
        return TokenIssuer(issuers, (new_key, *((signing, *kept) if change.keep_old_keys else ())))

    def sign(self, claims: dict[str, Any]) -> str:
        """Make a token: claims in alphabetical order, a header of `alg` and `kid` alone, as kube-apiserver writes them."""
        key = self.keys[0]
        header = {"alg": "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256", "kid": thumbprint_kid(key.public_key())}
        parts = [
            encode(json.dumps(part, separators=(",", ":"), sort_keys=True).encode())
            for part in (header, {**claims, "iss": self.issuers[0]})
        ]
        signed = ".".join(parts).encode()
        if isinstance(key, rsa.RSAPrivateKey):
            signature = key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
        else:
            numbers = utils.decode_dss_signature(key.sign(signed, ec.ECDSA(hashes.SHA256())))
            signature = b"".join(number.to_bytes(_P256_BYTES, "big") for number in numbers)
        return f"{signed.decode()}.{encode(signature)}"

    def verify(self, token: str, audiences: tuple[str, ...], now: datetime) -> VerifiedToken:
        """Accept a token of one of the issuers that is meant for one of the audiences.

        Raises:
            TokenError: Refused.
        """
        claimed = parse(token).payload.members.get("iss")
        if claimed not in self.issuers:
            raise WrongIssuerError("The token comes from an issuer that the API server does not accept.")
        keys = KeySet.of(VerificationKey.of(key.public_key()) for key in self.keys)
        accepted = [Audience(audience) for audience in audiences]
        return Verifier(issuer=Issuer(claimed), audiences=accepted, keys=keys, skew=_LEEWAY).verify(token, now=now)

    def jwks(self) -> dict[str, Any]:
        """Return the document at /openid/v1/jwks."""
        return {"keys": [public_jwk(key.public_key(), thumbprint_kid(key.public_key())) for key in self.keys]}

    def discovery(self, server_url: str) -> dict[str, Any]:
        """Return the document at /.well-known/openid-configuration; its `jwks_uri` is at the API server, whatever the issuer says."""
        return {
            "issuer": self.issuers[0],
            "jwks_uri": f"{server_url}/openid/v1/jwks",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": sorted({jwk["alg"] for jwk in self.jwks()["keys"]}),
        }

    def to_json(self) -> dict[str, Any]:
        """Return what a restarted process needs to go on; it holds the private keys."""
        encoding = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return {"issuers": self.issuers, "keys": [key.private_bytes(*encoding).decode() for key in self.keys]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "TokenIssuer":
        """Read what `to_json` wrote."""
        keys = [serialization.load_pem_private_key(pem.encode(), None) for pem in value["keys"]]
        return cls(tuple(value["issuers"]), tuple(key for key in keys if isinstance(key, PrivateKey)))
