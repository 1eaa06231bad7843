# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 - recorded texts and what the reader sees stand whole
"""The credential configuration: written as gcloud writes it, read strictly. Invariant 5: nothing in a file leads a token elsewhere."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpass.errors import ConfigError
from podpass.exchange.credential_config import CredentialConfig, credential_config, read_credential_config
from podpass.names import GoogleServiceAccount, PoolName

PROVIDER = PoolName("415104041262", "workload-identity-demo").provider("wif-demo-oidc")
ACCOUNT = GoogleServiceAccount("wif-demo-sa@demo-project.iam.gserviceaccount.com")
PATH = "/var/run/secrets/tokens/gcp-ksa/token"
IMPERSONATION = f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken"
# What gcloud 528.0.0 writes for `create-cred-config PROVIDER --service-account=… --credential-source-file=…`, 2026-11-22.
RECORDED = """\
{
  "universe_domain": "googleapis.com",
  "type": "external_account",
  "audience": "//iam.googleapis.com/projects/415104041262/locations/global/workloadIdentityPools/workload-identity-demo/providers/wif-demo-oidc",
  "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
  "token_url": "https://sts.googleapis.com/v1/token",
  "credential_source": {
    "file": "/var/run/secrets/tokens/gcp-ksa/token"
  },
  "service_account_impersonation_url": "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/wif-demo-sa@demo-project.iam.gserviceaccount.com:generateAccessToken"
}"""


def test_the_file_is_written_byte_for_byte_as_gcloud_writes_it() -> None:
    assert credential_config(PROVIDER, token_path=PATH, service_account=ACCOUNT) == RECORDED


def test_direct_access_has_an_introspection_url_in_place_of_an_account() -> None:
    content = json.loads(credential_config(PROVIDER, token_path=PATH))
    assert list(content)[-1] == "token_info_url"
    assert "service_account_impersonation_url" not in content


@given(
    st.one_of(st.none(), st.just(ACCOUNT)),
    st.text(min_size=1, max_size=40),
    st.one_of(st.none(), st.integers(600, 43_200).map(lambda seconds: timedelta(seconds=seconds))),
)
def test_what_is_written_is_read_back(account: GoogleServiceAccount | None, path: str, lifetime: timedelta | None) -> None:
    lifetime = lifetime if account else None
    written = credential_config(PROVIDER, token_path=path, service_account=account, lifetime=lifetime)
    assert read_credential_config(written) == CredentialConfig(PROVIDER, path, None, account, lifetime)


def test_a_token_in_a_member_of_a_json_file_is_read() -> None:
    content = {
        **json.loads(RECORDED),
        "credential_source": {"file": PATH, "format": {"type": "json", "subject_token_field_name": "id_token"}},
    }
    assert read_credential_config(json.dumps(content)).token_field == "id_token"
    content["credential_source"]["format"] = {"type": "text"}
    assert read_credential_config(json.dumps(content)).token_field is None


Change = Callable[[dict[str, Any]], object]
HOSTILE: dict[str, tuple[Change, str]] = {
    "token_url elsewhere": (
        lambda file: file.update(token_url="https://sts.example/v1/token"),
        "Its token_url is 'https://sts.example/v1/token', not 'https://sts.googleapis.com/v1/token'.",
    ),
    "token_url, nearly": (
        lambda file: file.update(token_url="https://sts.googleapis.com.example/v1/token"),
        "Its token_url is 'https://sts.googleapis.com.example/v1/token', not 'https://sts.googleapis.com/v1/token'.",
    ),
    "token_url with a user": (
        lambda file: file.update(token_url="https://sts.googleapis.com@elsewhere.example/v1/token"),
        "Its token_url is 'https://sts.googleapis.com@elsewhere.example/v1/token', not 'https://sts.googleapis.com/v1/token'.",
    ),
    "token_url in plain": (
        lambda file: file.update(token_url="http://sts.googleapis.com/v1/token"),
        "Its token_url is 'http://sts.googleapis.com/v1/token', not 'https://sts.googleapis.com/v1/token'.",
    ),
    "another universe": (
        lambda file: file.update(universe_domain="example.com"),
        "Its universe_domain is 'example.com', not 'googleapis.com'.",
    ),
    "introspection elsewhere": (
        lambda file: file.update(token_info_url="https://example.com/"),
        "Its token_info_url is 'https://example.com/', not 'https://sts.googleapis.com/v1/introspect'.",
    ),
    "impersonation elsewhere": (
        lambda file: file.update(service_account_impersonation_url=IMPERSONATION.replace("googleapis.com", "example.com", 1)),
        f"Its service_account_impersonation_url is '{IMPERSONATION.replace('googleapis.com', 'example.com', 1)}'.",
    ),
    "impersonation with another method": (
        lambda file: file.update(service_account_impersonation_url=IMPERSONATION.replace("generateAccessToken", "signBlob")),
        f"Its service_account_impersonation_url is '{IMPERSONATION.replace('generateAccessToken', 'signBlob')}'.",
    ),
    "impersonation that is no text": (
        lambda file: file.update(service_account_impersonation_url=5),
        "Its service_account_impersonation_url is '5'.",
    ),
    "a command": (
        lambda file: file.update(credential_source={"executable": {"command": "/bin/sh -c id"}}),
        "Its token comes from 'executable'.",
    ),
    "a command beside a file": (
        lambda file: file["credential_source"].update(executable={"command": "/bin/sh -c id"}),
        "Its token comes from 'executable'.",
    ),
    "a URL": (lambda file: file.update(credential_source={"url": "http://169.254.169.254/"}), "Its token comes from 'url'."),
    "AWS": (lambda file: file.update(credential_source={"environment_id": "aws1"}), "Its token comes from 'environment_id'."),
    "a certificate": (lambda file: file.update(credential_source={"certificate": {}}), "Its token comes from 'certificate'."),
    "an unknown member of the source": (
        lambda file: file["credential_source"].update(headers={}),
        "Its credential_source holds 'headers', which podpass does not use.",
    ),
    "no file": (lambda file: file.update(credential_source={"file": ""}), "Its credential_source names no file."),
    "a source that is no object": (lambda file: file.update(credential_source="/token"), "Its credential_source is not an object."),
    "a format that is neither": (
        lambda file: file["credential_source"].update(format={"type": "xml"}),
        "The format in its credential_source is neither text nor json with subject_token_field_name.",
    ),
    "an unknown member": (lambda file: file.update(quota_project_id="x"), "It holds 'quota_project_id', which podpass does not use."),
    "a missing member": (lambda file: file.pop("token_url"), "It has no 'token_url'."),
    "another type": (lambda file: file.update(type="service_account"), "Its type is 'service_account'."),
    "another token type": (
        lambda file: file.update(subject_token_type="urn:ietf:params:oauth:token-type:saml2"),
        "Its subject_token_type is 'urn:ietf:params:oauth:token-type:saml2', not 'urn:ietf:params:oauth:token-type:jwt'.",
    ),
    "an audience that is no text": (lambda file: file.update(audience=["a"]), "Its 'audience' is not text."),
    "a lifetime too long": (
        lambda file: file.update(service_account_impersonation={"token_lifetime_seconds": 86_400}),
        "Its service_account_impersonation is not a lifetime of 600 to 43200 s for an account.",
    ),
    "a lifetime with company": (
        lambda file: file.update(service_account_impersonation={"token_lifetime_seconds": 600, "x": 1}),
        "Its service_account_impersonation is not a lifetime of 600 to 43200 s for an account.",
    ),
}


@pytest.mark.parametrize(("change", "expected"), HOSTILE.values(), ids=HOSTILE)
def test_invariant_5_a_file_that_could_lead_a_token_elsewhere_is_refused(change: Change, expected: str) -> None:
    content = json.loads(RECORDED)
    change(content)
    with pytest.raises(ConfigError) as caught:
        read_credential_config(json.dumps(content))
    assert caught.value.what == "This credential configuration is refused."
    assert caught.value.why == expected
    assert caught.value.full_code == "config.credential-config"


def test_an_audience_that_is_no_provider_is_refused() -> None:
    with pytest.raises(ConfigError, match="is not the name of a workload identity pool or provider"):
        read_credential_config(RECORDED.replace("//iam.googleapis.com/projects", "//iam.example/projects"))


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"\xff", "It is not JSON."),
        (b"{", "It is not JSON."),
        (b"[]", "It is not a JSON object."),
        (b"[" * 50_000, "It is not JSON."),
        (b" " * 65_537, "It has 65537 bytes; 65536 are read at most."),
        (RECORDED.replace("{", '{"token_url": "https://elsewhere.example",', 1).encode(), "A member is there twice."),
    ],
    ids=["not UTF-8", "not JSON", "a list", "deep", "large", "duplicate members"],
)
def test_what_is_no_such_file_is_refused(raw: bytes, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_credential_config(raw)
    assert caught.value.why == expected


def of_universe(domain: str) -> dict[str, Any]:
    """Return the file as gcloud 528 writes it for another universe: the audience stays, the hosts change."""
    content: dict[str, Any] = json.loads(RECORDED)
    for key in ("universe_domain", "token_url", "service_account_impersonation_url"):
        content[key] = content[key].replace("googleapis.com", domain)
    return content


def test_another_universe_is_read_where_the_caller_allows_it() -> None:
    config = read_credential_config(json.dumps(of_universe("example.goog")), universes=["googleapis.com", "example.goog"])
    assert (config.universe, config.service_account, config.provider) == ("example.goog", ACCOUNT, PROVIDER)


@pytest.mark.parametrize("key", ["token_url", "service_account_impersonation_url", "universe_domain"])
def test_invariant_5_every_address_is_of_the_one_universe(key: str) -> None:
    content = of_universe("example.goog") | {key: json.loads(RECORDED)[key]}
    with pytest.raises(ConfigError, match="Find out who wrote the file"):
        read_credential_config(json.dumps(content), universes=["googleapis.com", "example.goog"])


def test_a_universe_that_is_no_text_is_refused() -> None:
    with pytest.raises(ConfigError, match="Its 'universe_domain' is not text"):
        read_credential_config(json.dumps(json.loads(RECORDED) | {"universe_domain": ["googleapis.com"]}))


def test_a_file_cannot_allow_its_own_universe() -> None:
    with pytest.raises(ConfigError) as caught:
        read_credential_config(json.dumps(of_universe("example.goog")))
    assert caught.value.why == "Its universe_domain is 'example.goog', not 'googleapis.com'."
    assert caught.value.next_step == (
        "Who follows it hands its token to somebody else. Find out who wrote the file; allow another universe where the file is read."
    )
