# SPDX-License-Identifier: Apache-2.0
"""podpass's credentials in Google's own libraries, unmodified: calls, signed URLs, ID tokens, and what is said when they are refused."""

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import google.auth
import google.auth.transport.requests
import google.oauth2.id_token
import pytest
import requests
from google.auth.exceptions import RefreshError, TransportError
from google.cloud.storage import Client

from podpass.client.google_auth import Credentials, IdTokenCredentials
from podpass.exchange.credential_config import credential_config
from podpass.names import GoogleServiceAccount, PoolName
from podpass.sandbox.hosting import HostedSandbox
from podpass.verify import public_jwk
from token_forge import kubernetes_claims, rsa_signer

# Google's libraries leave connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

# google-auth is not typed.
transport: Any = google.auth.transport.requests
id_token: Any = google.oauth2.id_token

PROJECT, NUMBER = "demo-project", "415104041262"
PROVIDER = PoolName(NUMBER, "demo-pool").provider("demo-oidc")
ACCOUNT = GoogleServiceAccount(f"demo-sa@{PROJECT}.iam.gserviceaccount.com")
ISSUER = "https://kubernetes.default.svc.cluster.local"
IAM = f"https://iam.googleapis.com/v1/projects/{PROJECT}"
USER, CREATOR = "roles/iam.workloadIdentityUser", "roles/iam.serviceAccountTokenCreator"


@pytest.fixture(scope="module")
def federated(logged_in: HostedSandbox) -> HostedSandbox:
    """A project that trusts a cluster: one account may use demo-sa, another may also sign as it; demo-sa owns the storage."""
    credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    with transport.AuthorizedSession(credentials) as session:
        key = rsa_signer()
        jwks = json.dumps({"keys": [public_jwk(key.key.public_key(), key.kid)]})
        provider = {"attributeMapping": {"google.subject": "assertion.sub"}, "oidc": {"issuerUri": ISSUER, "jwksJson": jwks}}
        pools = f"{IAM}/locations/global/workloadIdentityPools"
        session.post(f"{pools}?workloadIdentityPoolId=demo-pool", json={}).raise_for_status()
        session.post(f"{pools}/demo-pool/providers?workloadIdentityPoolProviderId=demo-oidc", json=provider).raise_for_status()
        session.post(f"{IAM}/serviceAccounts", json={"accountId": "demo-sa"}).raise_for_status()
        policy = {"bindings": [{"role": USER, "members": [principal("user")]}, {"role": CREATOR, "members": [principal("signer")]}]}
        session.post(f"{IAM}/serviceAccounts/{ACCOUNT}:setIamPolicy", json={"policy": policy}).raise_for_status()
        projects = f"https://cloudresourcemanager.googleapis.com/v1/projects/{PROJECT}"
        policy = session.post(f"{projects}:getIamPolicy").json()
        policy["bindings"].append({"role": "roles/storage.admin", "members": [ACCOUNT.member]})
        session.post(f"{projects}:setIamPolicy", json={"policy": policy}).raise_for_status()
    return logged_in


def principal(name: str) -> str:
    pool = f"projects/{NUMBER}/locations/global/workloadIdentityPools/demo-pool"
    return f"principal://iam.googleapis.com/{pool}/subject/system:serviceaccount:default:{name}"


class Pod:
    """The files of a pod."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir()
        now = int(time.time())
        claims = kubernetes_claims(
            iss=ISSUER, aud=[PROVIDER.audience], sub=f"system:serviceaccount:default:{name}", iat=now, nbf=now, exp=now + 3600
        )
        (folder / "token").write_text(rsa_signer().token(claims))
        self.config = folder / "config.json"
        self.config.write_text(credential_config(PROVIDER, token_path=str(folder / "token"), service_account=ACCOUNT))


@pytest.fixture
def signer(tmp_path: Path) -> Iterator[Credentials]:
    credentials = Credentials.from_env(environ={"GOOGLE_APPLICATION_CREDENTIALS": str(Pod(tmp_path / "signer", "signer").config)})
    yield credentials
    credentials.tokens.close()


@pytest.fixture
def user(tmp_path: Path) -> Iterator[Credentials]:
    credentials = Credentials.from_file(Pod(tmp_path / "user", "user").config)
    yield credentials
    credentials.tokens.close()


def test_storage_is_used_as_the_account_and_several_clients_share_one_exchange(federated: HostedSandbox, user: Credentials) -> None:
    before = len(federated.requests())
    with Client(project=PROJECT, credentials=user) as one, Client(project=PROJECT, credentials=user) as other:
        bucket = one.create_bucket("shared-exchange")
        bucket.blob("note").upload_from_string(b"hello")
        assert [blob.name for blob in other.list_blobs("shared-exchange")] == ["note"]
        bucket.delete(force=True)
    seen = [(each["method"], each["caller"]) for each in federated.requests()[before:]]
    assert {caller for method, caller in seen if str(method).startswith("storage.")} == {ACCOUNT.email}
    asked = [method for method, _ in seen if not str(method).startswith("storage.")]
    assert asked == ["sts.token", "iamcredentials.projects.serviceAccounts.generateAccessToken"]


@pytest.mark.usefixtures("federated")
def test_a_signed_url_lets_a_stranger_read(signer: Credentials) -> None:
    with Client(project=PROJECT, credentials=signer) as client:
        bucket = client.create_bucket("signed")
        blob = bucket.blob("note with ü.txt")
        blob.upload_from_string(b"hello")
        url = blob.generate_signed_url(timedelta(minutes=5), version="v4")
        assert requests.get(url, timeout=60).content == b"hello"
        assert requests.get(url.replace("note", "other"), timeout=60).status_code == 403
        bucket.delete(force=True)


@pytest.mark.usefixtures("federated")
def test_who_may_not_sign_is_told_which_role_it_takes(user: Credentials) -> None:
    with Client(project=PROJECT, credentials=user) as client, pytest.raises(TransportError) as caught:
        client.bucket("any").blob("note").generate_signed_url(timedelta(minutes=5), version="v4")
    assert "Google refused a signature of the service account" in str(caught.value)
    assert f"Grant the workload's principal {CREATOR} on it" in str(caught.value)


@pytest.mark.usefixtures("federated")
def test_an_id_token_of_a_federated_workload_verifies_as_google_s(user: Credentials) -> None:
    credentials = IdTokenCredentials(user.tokens, "https://orders.example")
    request = transport.Request()
    credentials.refresh(request)
    claims = id_token.verify_oauth2_token(credentials.token, request, "https://orders.example")
    assert (claims["email"], claims["email_verified"]) == (ACCOUNT.email, True)
    assert credentials.with_target_audience("https://other.example").valid is False


@pytest.mark.usefixtures("federated")
def test_a_stranger_is_told_what_google_said_and_what_to_do(tmp_path: Path) -> None:
    credentials = Credentials.from_file(Pod(tmp_path / "stranger", "stranger").config)
    with Client(project=PROJECT, credentials=credentials) as client, pytest.raises(RefreshError) as caught:
        list(client.list_buckets())
    assert "Permission 'iam.serviceAccounts.getAccessToken' denied on resource" in str(caught.value)
    assert f"Grant the workload's principal {USER} on it" in str(caught.value)
    assert not caught.value.retryable
    credentials.tokens.close()
