# SPDX-License-Identifier: Apache-2.0
"""Signing keys of this universe: Google's own, for ID tokens, and the one that Google manages for each service account."""

from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from podpass.sandbox.ca import write_private
from podpass.sandbox.store import Json
from podpass.verify import public_jwk, thumbprint_kid
from podpass.verify.base64url import encode

_ALWAYS = (datetime(2020, 1, 1, tzinfo=UTC), datetime(2049, 12, 31, tzinfo=UTC))


class SigningKey:
    """An RSA key that is made when it is first needed.

    Args:
        path: The file to keep it in; None forgets it at the end.
        holder: Whose it is, as its certificate says.
    """

    def __init__(self, path: Path | None, holder: str = "federated-signon.system.gserviceaccount.com") -> None:
        self._path, self._holder = path, holder
        self._former: dict[str, tuple[rsa.RSAPublicKey, str]] = {}

    @cached_property
    def _key(self) -> rsa.RSAPrivateKey:
        if self._path and self._path.exists():
            loaded = serialization.load_pem_private_key(self._path.read_bytes(), None)
            assert isinstance(loaded, rsa.RSAPrivateKey)
            return loaded
        return self._new()

    def _new(self) -> rsa.RSAPrivateKey:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        if self._path:
            pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
            write_private(self._path, pem)
        return key

    def rotate(self, *, keep: bool) -> None:
        """Sign with a new key from now on; `keep`: go on publishing the one so far, until the sandbox ends."""
        self._former = {self.kid: (self.public_key, self._certificate_pem)} if keep else {}
        for name in ("kid", "_certificate_pem"):
            self.__dict__.pop(name, None)
        self._key = self._new()

    @property
    def public_key(self) -> rsa.RSAPublicKey:
        """The public half."""
        return self._key.public_key()

    @cached_property
    def kid(self) -> str:
        """The key's id."""
        return thumbprint_kid(self.public_key)

    def sign(self, claims: Json) -> str:
        """Make a JWT, RS256."""
        header = {"alg": "RS256", "kid": self.kid, "typ": "JWT"}
        signed = f"{encode(msgspec.json.encode(header))}.{encode(msgspec.json.encode(claims))}"
        return f"{signed}.{encode(self.sign_bytes(signed.encode()))}"

    def sign_bytes(self, payload: bytes) -> bytes:
        """Return the RSA signature (PKCS #1 v1.5, SHA-256) of a payload."""
        return self._key.sign(payload, padding.PKCS1v15(), hashes.SHA256())

    def jwks(self) -> Json:
        """Return what is published as a JWKS."""
        return {"keys": [public_jwk(self.public_key, self.kid), *(public_jwk(key, kid) for kid, (key, _) in self._former.items())]}

    def certificates(self) -> Json:
        """Return what is published as self-signed certificates by id, the form of `/oauth2/v1/certs`."""
        return {self.kid: self._certificate_pem, **{kid: pem for kid, (_, pem) in self._former.items()}}

    @cached_property
    def _certificate_pem(self) -> str:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self._holder)])
        certificate = (
            x509.CertificateBuilder(name, name, self.public_key, x509.random_serial_number(), *_ALWAYS)
            .sign(self._key, hashes.SHA256())
        )  # fmt: skip
        return certificate.public_bytes(serialization.Encoding.PEM).decode()
