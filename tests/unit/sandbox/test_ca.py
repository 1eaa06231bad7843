# SPDX-License-Identifier: Apache-2.0
import ssl
import stat
from pathlib import Path

from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from podpass.sandbox.ca import GOOGLE_NAMES, AuthorityCA


def test_certificates_verify_under_the_strict_profile_of_the_web(tmp_path: Path) -> None:
    authority = AuthorityCA(tmp_path)
    issued = authority.issue_server_certificate(GOOGLE_NAMES)
    leaf = x509.load_pem_x509_certificate(issued.certificate_pem)
    roots = Store([x509.load_pem_x509_certificate(authority.pem)])
    for host in ("iam.googleapis.com", "us-central1-run.googleapis.com", "accounts.google.com"):
        PolicyBuilder().store(roots).build_server_verifier(x509.DNSName(host)).verify(leaf, [])


def test_addresses_are_addresses(tmp_path: Path) -> None:
    issued = AuthorityCA(tmp_path).issue_server_certificate(["127.0.0.1", "kubernetes.default.svc"])
    names = x509.load_pem_x509_certificate(issued.certificate_pem).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    assert names.get_values_for_type(x509.DNSName) == ["kubernetes.default.svc"]


def test_an_authority_is_kept_and_its_keys_are_its_owner_s_alone(tmp_path: Path) -> None:
    first = AuthorityCA(tmp_path)
    assert AuthorityCA(tmp_path).pem == first.pem
    context = first.issue_server_certificate(["localhost"]).server_context(tmp_path, "server")
    assert isinstance(context, ssl.SSLContext)
    for key in tmp_path.glob("*.key"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600, key
    assert {each.name for each in tmp_path.glob("*.key")} == {"ca.key", "server.key"}
