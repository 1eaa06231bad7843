# SPDX-License-Identifier: Apache-2.0
"""google-auth, unmodified, through the proxy: a credential file as gcloud writes it, exchange, impersonation, and its errors."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import google.auth
import google.auth.identity_pool
import google.auth.impersonated_credentials
import google.auth.transport.requests
import google.oauth2.id_token
import pytest
from google.auth.exceptions import OAuthError, RefreshError

from podpass.sandbox.hosting import HostedSandbox
from podpass.verify import public_jwk
from token_forge import kubernetes_claims, rsa_signer

# Google's libraries leave connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

# google-auth is not typed.
identity_pool: Any = google.auth.identity_pool
impersonated_credentials: Any = google.auth.impersonated_credentials
transport: Any = google.auth.transport.requests
id_token: Any = google.oauth2.id_token
Session = Any

CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
PROJECT, NUMBER = "demo-project", "415104041262"
POOL = f"projects/{NUMBER}/locations/global/workloadIdentityPools/demo-pool"
AUDIENCE = f"//iam.googleapis.com/{POOL}/providers/demo-oidc"
ISSUER = "https://kubernetes.default.svc.cluster.local"
SUBJECT = "system:serviceaccount:default:demo"
EMAIL = f"demo-sa@{PROJECT}.iam.gserviceaccount.com"
IAM = f"https://iam.googleapis.com/v1/projects/{PROJECT}"
PROJECTS = f"https://cloudresourcemanager.googleapis.com/v1/projects/{PROJECT}"


@pytest.fixture(scope="module")
def operator(google_side: HostedSandbox) -> Iterator[Session]:
    """A session of the operator, by the default chain, with a federated project behind it."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in google_side.environment().items():
            patch.setenv(name, value)
        credentials, project = google.auth.default(scopes=[CLOUD_PLATFORM])
        assert project == PROJECT
        with transport.AuthorizedSession(credentials) as session:
            key = rsa_signer()
            jwks = json.dumps({"keys": [public_jwk(key.key.public_key(), key.kid)]})
            provider = {"attributeMapping": {"google.subject": "assertion.sub"}, "oidc": {"issuerUri": ISSUER, "jwksJson": jwks}}
            pools = f"{IAM}/locations/global/workloadIdentityPools"
            session.post(f"{pools}?workloadIdentityPoolId=demo-pool", json={}).raise_for_status()
            session.post(f"{pools}/demo-pool/providers?workloadIdentityPoolProviderId=demo-oidc", json=provider).raise_for_status()
            session.post(f"{IAM}/serviceAccounts", json={"accountId": "demo-sa"}).raise_for_status()
            time.sleep(google_side.settings.account_visibility.total_seconds())
            bind(
                session,
                f"{IAM}/serviceAccounts/{EMAIL}",
                "roles/iam.workloadIdentityUser",
                f"principal://iam.googleapis.com/{POOL}/subject/{SUBJECT}",
            )
            bind(session, f"{IAM}/serviceAccounts/{EMAIL}", "roles/iam.serviceAccountTokenCreator", "user:operator@example.com")
            bind(session, PROJECTS, "roles/browser", f"serviceAccount:{EMAIL}")
            time.sleep(google_side.settings.propagation.total_seconds())
            yield session


def bind(session: Session, url: str, role: str, member: str) -> None:
    policy = session.post(f"{url}:getIamPolicy").json()
    policy.setdefault("bindings", []).append({"role": role, "members": [member]})
    session.post(f"{url}:setIamPolicy", json={"policy": policy}).raise_for_status()


def subject_token(subject: str = SUBJECT) -> str:
    now = int(time.time())
    return rsa_signer().token(kubernetes_claims(iss=ISSUER, aud=[AUDIENCE], sub=subject, iat=now, nbf=now, exp=now + 3600))


def credential_file(folder: Path, token: str, *, impersonate: bool) -> str:
    """Write the two files that a pod would have."""
    (folder / "token").write_text(token)
    config: dict[str, object] = {
        "universe_domain": "googleapis.com",
        "type": "external_account",
        "audience": AUDIENCE,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": {"file": str(folder / "token")},
    }
    if impersonate:
        url = f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{EMAIL}:generateAccessToken"
        config["service_account_impersonation_url"] = url
    else:
        config["token_info_url"] = "https://sts.googleapis.com/v1/introspect"
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    return str(folder / "config.json")


@pytest.mark.usefixtures("operator")
def test_a_workload_acts_as_its_account(tmp_path: Path, google_side: HostedSandbox) -> None:
    file, before = credential_file(tmp_path, subject_token(), impersonate=True), len(google_side.requests())
    credentials = identity_pool.Credentials.from_file(file, scopes=[CLOUD_PLATFORM])
    # By the number in the audience, at the Resource Manager, as the account.
    assert credentials.get_project_id(transport.Request()) == PROJECT
    with transport.AuthorizedSession(credentials) as session:
        assert session.get(PROJECTS).json()["projectNumber"] == NUMBER
    asked = google_side.requests()[before:]
    assert {each["caller"] for each in asked if each["method"] == "cloudresourcemanager.projects.get"} == {EMAIL}


@pytest.mark.usefixtures("operator")
def test_a_workload_without_the_binding_sees_google_s_403(tmp_path: Path) -> None:
    file = credential_file(tmp_path, subject_token("system:serviceaccount:default:other"), impersonate=True)
    credentials = identity_pool.Credentials.from_file(file, scopes=[CLOUD_PLATFORM])
    with pytest.raises(RefreshError, match=r"iam\.serviceAccounts\.getAccessToken.{1,3} denied on resource"):
        credentials.refresh(transport.Request())


@pytest.mark.usefixtures("operator")
def test_a_workload_is_known_by_its_own_principal(tmp_path: Path) -> None:
    file = credential_file(tmp_path, subject_token(), impersonate=False)
    credentials = identity_pool.Credentials.from_file(file, scopes=[CLOUD_PLATFORM])
    with transport.AuthorizedSession(credentials) as session:
        assert session.get(PROJECTS).status_code == 403
    assert credentials.valid


@pytest.mark.usefixtures("operator")
def test_a_refused_subject_token_is_an_oauth_error(tmp_path: Path) -> None:
    file = credential_file(tmp_path, subject_token()[:-6] + "AAAAAA", impersonate=False)
    credentials = identity_pool.Credentials.from_file(file, scopes=[CLOUD_PLATFORM])
    with pytest.raises(OAuthError, match=r"Error code invalid_grant: Unable to verify the ID Token signature\."):
        credentials.refresh(transport.Request())


def test_an_id_token_of_an_account_verifies_as_google_s(operator: Session) -> None:
    request = transport.Request()
    target = impersonated_credentials.Credentials(operator.credentials, EMAIL, [CLOUD_PLATFORM])
    issued = impersonated_credentials.IDTokenCredentials(target, "https://orders.example", include_email=True)
    issued.refresh(request)
    claims = id_token.verify_oauth2_token(issued.token, request, "https://orders.example")
    assert claims["email"] == EMAIL
