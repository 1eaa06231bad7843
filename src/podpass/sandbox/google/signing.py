# SPDX-License-Identifier: Apache-2.0
"""Google's own signing key of this universe: for ID tokens of service accounts, published where Google publishes its keys."""

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
        directory: Where to keep it; None forgets it at the end.
    """

    def __init__(self, directory: Path | None) -> None:
        self._path = directory / "google-signing.key" if directory else None

    @cached_property
    def _key(self) -> rsa.RSAPrivateKey:
        if self._path and self._path.exists():
            loaded = serialization.load_pem_private_key(self._path.read_bytes(), None)
            assert isinstance(loaded, rsa.RSAPrivateKey)
            return loaded
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        if self._path:
            pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
            write_private(self._path, pem)
        return key

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
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{encode(signature)}"

    def jwks(self) -> Json:
        """Return the public half as a JWKS."""
        return {"keys": [public_jwk(self.public_key, self.kid)]}

    @cached_property
    def certificate_pem(self) -> str:
        """The public half as a self-signed certificate, the form of `/oauth2/v1/certs`."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "federated-signon.system.gserviceaccount.com")])
        certificate = (
            x509.CertificateBuilder(name, name, self.public_key, x509.random_serial_number(), *_ALWAYS)
            .sign(self._key, hashes.SHA256())
        )  # fmt: skip
        return certificate.public_bytes(serialization.Encoding.PEM).decode()
