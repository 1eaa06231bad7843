# SPDX-License-Identifier: Apache-2.0
"""Google's own libraries with signatures of the sandbox: signed URLs, ID tokens checked and used, public keys of an account."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request as Asked
from urllib.request import build_opener

import google.auth
import pytest
from google.auth import impersonated_credentials
from google.auth.crypt import verify_signature
from google.auth.transport.requests import Request
from google.cloud.storage import Client
from google.oauth2 import id_token

from podpass.sandbox.hosting import HostedSandbox

# Google's libraries leave connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

EMAIL = "signer@demo-project.iam.gserviceaccount.com"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"


@pytest.fixture(scope="module")
def credentials(logged_in: HostedSandbox) -> Iterator[impersonated_credentials.Credentials]:
    """Credentials of an account that the operator acts as, made by google-auth."""
    source, _ = google.auth.default(scopes=[SCOPE])
    source.refresh(Request())
    own = {"Authorization": f"Bearer {source.token}", "Content-Type": "application/json"}
    accounts = "https://iam.googleapis.com/v1/projects/demo-project/serviceAccounts"
    post(accounts, b'{"accountId": "signer"}', own)
    role = b'"roles/iam.serviceAccountTokenCreator"'
    policy = b'{"policy": {"bindings": [{"role": %s, "members": ["user:operator@example.com"]}]}}' % role
    post(f"{accounts}/{EMAIL}:setIamPolicy", policy, own)
    yield impersonated_credentials.Credentials(source, EMAIL, [SCOPE])
    del logged_in


def open_url(asked: str | Asked) -> Any:  # noqa: ANN401 - urllib's own word for it
    """Ask by the proxy that is named now; `urlopen` keeps the one that was named when it was used first."""
    return build_opener().open(asked)


def post(url: str, body: bytes, headers: dict[str, str]) -> None:
    with open_url(Asked(url, body, headers)) as answer:
        answer.read()


def test_a_url_that_google_cloud_storage_signs_is_good_for_whoever_holds_it(credentials: impersonated_credentials.Credentials) -> None:
    with Client(project="demo-project") as client:
        bucket = client.create_bucket("signed")
        bucket.blob("a file.txt").upload_from_string("content")
        policy = bucket.get_iam_policy()
        policy.bindings.append({"role": "roles/storage.objectViewer", "members": {f"serviceAccount:{EMAIL}"}})
        bucket.set_iam_policy(policy)
        url = bucket.blob("a file.txt").generate_signed_url(expiration=60, version="v4", credentials=credentials)
    with open_url(url) as answer:
        assert answer.read() == b"content"
    with pytest.raises(HTTPError) as caught, open_url(url.replace("Expires=60", "Expires=61")):
        pass
    assert caught.value.code == 403
    caught.value.close()


def test_an_id_token_holds_before_google_auth_s_own_check(credentials: impersonated_credentials.Credentials) -> None:
    minted = impersonated_credentials.IDTokenCredentials(credentials, target_audience="https://service.example", include_email=True)
    minted.refresh(Request())
    claims = id_token.verify_oauth2_token(minted.token, Request(), "https://service.example")
    assert (claims["iss"], claims["email"]) == ("https://accounts.google.com", EMAIL)
    with pytest.raises(ValueError, match="wrong audience"):
        id_token.verify_oauth2_token(minted.token, Request(), "https://other.example")


def test_bytes_that_the_account_signs_hold_before_its_published_certificate(credentials: impersonated_credentials.Credentials) -> None:
    signature = credentials.sign_bytes(b"some bytes")
    with open_url(f"https://www.googleapis.com/service_accounts/v1/metadata/x509/{EMAIL}") as answer:
        (certificate,) = json.load(answer).values()
    assert verify_signature(b"some bytes", signature, certificate)
    assert not verify_signature(b"other bytes", signature, certificate)
