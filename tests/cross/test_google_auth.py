# SPDX-License-Identifier: Apache-2.0
"""The workload's way in by the unmodified google-auth: exchange, impersonation, ID tokens, and each refusal as it arrives there."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import google.auth
import pytest
from google.auth import identity_pool, impersonated_credentials
from google.auth.exceptions import OAuthError, RefreshError
from google.auth.transport.requests import AuthorizedSession, Request
from google.oauth2 import id_token

from cross.outside import ACCOUNT, NUMBER, POOL, PROJECT, PROVIDER, SUBJECT, Issuer
from podpass.sandbox.hosting import HostedSandbox

# Google's libraries leave connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
IAM, MANAGER, STORAGE = "https://iam.googleapis.com/v1", "https://cloudresourcemanager.googleapis.com/v1", "https://storage.googleapis.com"
BUCKETS = f"{STORAGE}/storage/v1/b?project={PROJECT}"
WORKLOAD = f"principal://iam.googleapis.com/{POOL}/subject/{SUBJECT}"
REFUSALS = [
    pytest.param({"audience": "https://kubernetes.default.svc"}, "invalid_grant", "The audience in ID Token", id="audience"),
    pytest.param({"iss": "https://issuer.example"}, "invalid_grant", "The issuer in ID Token https://issuer.example does not", id="issuer"),
    pytest.param({"exp": int(time.time()) - 3600}, "invalid_grant", "is stale to sign-in", id="expired"),
    pytest.param(
        {"subject": "system:serviceaccount:other:thing"}, "unauthorized_client", "rejected by the attribute condition", id="condition"
    ),
]


@pytest.fixture(scope="module")
def operator(logged_in: HostedSandbox) -> Iterator[AuthorizedSession]:
    """The operator by application-default credentials, as `gcloud auth application-default login` leaves them."""
    credentials, project = google_default()
    assert project == PROJECT == logged_in.settings.project_id
    with AuthorizedSession(credentials) as session:
        yield session


def google_default() -> tuple[Any, str | None]:
    found: tuple[Any, str | None] = google.auth.default(scopes=[SCOPE])
    return found


def call(session: AuthorizedSession, verb: str, url: str, body: object = None) -> Any:  # noqa: ANN401 - whatever JSON holds
    answer = session.request(verb, url, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def grant(session: AuthorizedSession, url: str, role: str, member: str) -> None:
    policy = call(session, "POST", f"{url}:getIamPolicy", {})
    policy.setdefault("bindings", []).append({"role": role, "members": [member]})
    call(session, "POST", f"{url}:setIamPolicy", {"policy": policy})


@pytest.fixture(scope="module")
def issuer(operator: AuthorizedSession) -> Issuer:
    """A federated issuer whose keys the provider holds itself; its account may list buckets, and nobody may impersonate it yet."""
    issuer = Issuer("https://issuer.example/cluster")
    call(
        operator,
        "POST",
        f"{IAM}/projects/{PROJECT}/locations/global/workloadIdentityPools?workloadIdentityPoolId=workload-identity-demo",
        {},
    )
    provider = {
        "attributeMapping": {"google.subject": "assertion.sub", "attribute.sub": "assertion.sub"},
        "attributeCondition": "assertion.sub.startsWith('system:serviceaccount:default:')",
        "oidc": {"issuerUri": issuer.url, "jwksJson": issuer.keys},
    }
    call(operator, "POST", f"{IAM}/{POOL}/providers?workloadIdentityPoolProviderId=wif-demo-oidc", provider)
    call(operator, "POST", f"{IAM}/projects/{PROJECT}/serviceAccounts", {"accountId": "wif-demo-sa"})
    grant(operator, f"{MANAGER}/projects/{PROJECT}", "roles/storage.admin", f"serviceAccount:{ACCOUNT}")
    return issuer


def workload(directory: Path, token: str, *, impersonate: bool = True, scopes: tuple[str, ...] = (SCOPE,)) -> identity_pool.Credentials:
    (directory / "token").write_text(token)
    config = {
        "type": "external_account",
        "audience": f"//iam.googleapis.com/{PROVIDER}",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": {"file": str(directory / "token")},
    }
    if impersonate:
        config["service_account_impersonation_url"] = (
            f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken"
        )
    credentials: identity_pool.Credentials = identity_pool.Credentials.from_info(config, scopes=list(scopes))
    return credentials


def refresh(credentials: Any) -> None:  # noqa: ANN401 - google-auth's classes have no types
    request = Request()
    try:
        credentials.refresh(request)
    finally:
        request.session.close()


def test_impersonation_is_refused_until_it_is_granted(
    logged_in: HostedSandbox, operator: AuthorizedSession, issuer: Issuer, tmp_path: Path
) -> None:
    credentials, before = workload(tmp_path, issuer.token()), len(logged_in.requests())
    with pytest.raises(RefreshError, match=r"iam\.serviceAccounts\.getAccessToken\S+ denied on resource \(or it may not exist\)"):
        refresh(credentials)
    everybody_of_that_name = f"principalSet://iam.googleapis.com/{POOL}/attribute.sub/{SUBJECT}"
    grant(operator, f"{IAM}/projects/{PROJECT}/serviceAccounts/{ACCOUNT}", "roles/iam.workloadIdentityUser", everybody_of_that_name)
    with AuthorizedSession(credentials) as session:
        assert call(session, "GET", BUCKETS) == {"kind": "storage#buckets"}
    listed = [entry["caller"] for entry in logged_in.requests()[before:] if entry["method"] == "storage.buckets.list"]
    assert listed == [ACCOUNT]


def test_a_workload_acts_as_itself_where_it_has_a_role(operator: AuthorizedSession, issuer: Issuer, tmp_path: Path) -> None:
    with AuthorizedSession(workload(tmp_path, issuer.token(), impersonate=False)) as session:
        denied = session.get(BUCKETS).json()["error"]
        assert denied["code"] == 403
        assert denied["message"].startswith(f"{WORKLOAD} does not have storage.buckets.list access to the Google Cloud project.")
        grant(operator, f"{MANAGER}/projects/{PROJECT}", "roles/storage.bucketViewer", WORKLOAD)
        assert session.get(BUCKETS).status_code == 200


def test_a_token_without_a_scope_for_it_does_not_reach_storage(issuer: Issuer, tmp_path: Path) -> None:
    narrow = workload(tmp_path, issuer.token(), impersonate=False, scopes=("https://www.googleapis.com/auth/iam",))
    with AuthorizedSession(narrow) as session:
        assert session.get(BUCKETS).json()["error"]["details"][0]["reason"] == "ACCESS_TOKEN_SCOPE_INSUFFICIENT"


@pytest.mark.parametrize(("claims", "code", "description"), REFUSALS)
def test_sts_refuses_in_google_s_words(issuer: Issuer, tmp_path: Path, claims: dict[str, Any], code: str, description: str) -> None:
    with pytest.raises(OAuthError, match=f"Error code {code}: .*{description}"):
        refresh(workload(tmp_path, issuer.token(**claims)))


def test_a_token_of_another_key_is_refused(issuer: Issuer, tmp_path: Path) -> None:
    with pytest.raises(OAuthError, match=r"Error code invalid_grant: Unable to verify the ID Token signature\."):
        refresh(workload(tmp_path, Issuer(issuer.url).token()))


def test_the_project_s_id_is_found_by_the_number_in_the_provider_s_name(
    operator: AuthorizedSession, issuer: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT")
    grant(operator, f"{MANAGER}/projects/{PROJECT}", "roles/browser", WORKLOAD)
    credentials = workload(tmp_path, issuer.token(), impersonate=False)
    request = Request()
    assert credentials.project_number == NUMBER
    assert credentials.get_project_id(request) == PROJECT
    request.session.close()


@pytest.mark.usefixtures("issuer")
def test_an_id_token_of_an_account_passes_google_s_own_verifier(operator: AuthorizedSession) -> None:
    oneself = "user:operator@example.com"
    grant(operator, f"{IAM}/projects/{PROJECT}/serviceAccounts/{ACCOUNT}", "roles/iam.serviceAccountTokenCreator", oneself)
    account = impersonated_credentials.Credentials(operator.credentials, ACCOUNT, [SCOPE])
    credentials = impersonated_credentials.IDTokenCredentials(account, target_audience="https://orders.example", include_email=True)
    refresh(credentials)
    request = Request()
    claims = id_token.verify_oauth2_token(credentials.token, request, "https://orders.example")
    request.session.close()
    assert (claims["iss"], claims["email"], claims["email_verified"]) == ("https://accounts.google.com", ACCOUNT, True)


def test_no_token_is_kept_in_the_request_log(logged_in: HostedSandbox, issuer: Issuer, tmp_path: Path) -> None:
    token = issuer.token()
    credentials = workload(tmp_path, token, impersonate=False)
    refresh(credentials)
    log = json.dumps(logged_in.requests())
    assert token not in log
    assert str(credentials.token) not in log
