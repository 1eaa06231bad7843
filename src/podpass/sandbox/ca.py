# SPDX-License-Identifier: Apache-2.0
"""The certificate authority of a sandbox. Its clients trust it alone; nothing else on the machine ever does."""

import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_AUTHORITY_LIFE = timedelta(days=3650)
_SERVER_LIFE = timedelta(days=365)
_EARLIER = timedelta(hours=1)  # clocks of containers and their hosts differ
# Regional hosts such as us-central1-run.googleapis.com are one label too, so that the wildcard covers them.
GOOGLE_NAMES = ("googleapis.com", "*.googleapis.com", "accounts.google.com")


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """A certificate with its key, both PEM."""

    certificate_pem: bytes
    key_pem: bytes

    def write(self, directory: Path, name: str) -> tuple[Path, Path]:
        """Write `NAME.crt` and `NAME.key`, the key for its owner alone; return both paths."""
        certificate, key = directory / f"{name}.crt", directory / f"{name}.key"
        certificate.write_bytes(self.certificate_pem)
        write_private(key, self.key_pem)
        return certificate, key

    def server_context(self, directory: Path, name: str) -> ssl.SSLContext:
        """Return a context that serves it; `ssl` reads certificates from files only, so they are written first."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*self.write(directory, name))
        return context


class AuthorityCA:
    """A P-256 authority that is kept in a directory: `ca.crt`, and `ca.key` for its owner alone.

    Args:
        directory: Where it is kept; one that is already there is used again.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / "ca.crt"
        key_path = directory / "ca.key"
        if not (self.path.exists() and key_path.exists()):
            key = ec.generate_private_key(ec.SECP256R1())
            write_private(key_path, _pem(key))
            self.path.write_bytes(_self_signed(key).public_bytes(serialization.Encoding.PEM))
        self.pem = self.path.read_bytes()
        self._certificate = x509.load_pem_x509_certificate(self.pem)
        loaded = serialization.load_pem_private_key(key_path.read_bytes(), None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        self._key = loaded

    def issue_server_certificate(self, names: Iterable[str]) -> ServerCertificate:
        """Issue a certificate for servers of these names or addresses, for a year."""
        return self._issue(tuple(names), ExtendedKeyUsageOID.SERVER_AUTH)

    def issue_client_certificate(self, name: str) -> ServerCertificate:
        """Issue a certificate by which a client proves that it is `name`, for a year; no server can use it."""
        return self._issue((name,), ExtendedKeyUsageOID.CLIENT_AUTH)

    def _issue(self, names: tuple[str, ...], purpose: x509.ObjectIdentifier) -> ServerCertificate:
        key = ec.generate_private_key(ec.SECP256R1())
        usage = x509.ExtendedKeyUsage([purpose])
        builder = _builder(names[0], self._certificate.subject, key.public_key(), _SERVER_LIFE)
        certificate = (
            builder.add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(usage, critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return ServerCertificate(certificate.public_bytes(serialization.Encoding.PEM), _pem(key))


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, from its first byte on."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_bytes(content)


def _self_signed(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = "podpass sandbox"
    return (
        _builder(name, _name(name), key.public_key(), _AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )


def _builder(common_name: str, issuer: x509.Name, key: ec.EllipticCurvePublicKey, life: timedelta) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(common_name))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
