# SPDX-License-Identifier: Apache-2.0
"""The operator's credentials: where they come from, and what is said when there are none, or old ones."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import google.auth.impersonated_credentials
import google.oauth2.credentials
import httpx2
import pytest

from podpass.errors import ConfigError, SourceUnavailableError, UnreachableError
from podpass.google.operator import SCOPE, Operator, find

Answer = Callable[[httpx2.Request], httpx2.Response]
SECRET = "1//refresh-token-of-the-operator"  # gitleaks:allow
USER = {
    "type": "authorized_user",
    "client_id": "id",
    "client_secret": "client-secret",
    "refresh_token": SECRET,
    "quota_project_id": "billed",
}


def http(answer: Answer) -> httpx2.Client:
    return httpx2.Client(transport=httpx2.MockTransport(answer))


def no_network(request: httpx2.Request) -> httpx2.Response:
    raise httpx2.ConnectError("no route to host", request=request)


def token_endpoint(request: httpx2.Request) -> httpx2.Response:
    assert request.url == "https://oauth2.googleapis.com/token"
    assert parse_qs(request.content.decode())["refresh_token"] == [SECRET]
    return httpx2.Response(200, json={"access_token": "ya29.fresh", "expires_in": 3599, "scope": SCOPE, "token_type": "Bearer"})


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without any credentials of Google."""
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT", "GOOGLE_CLOUD_QUOTA_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("PATH", "")


def credentials_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: dict[str, Any]) -> Path:
    file = tmp_path / "credentials.json"
    file.write_text(json.dumps(content))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    return file


def user(answer: Answer) -> Operator:
    credentials = google.oauth2.credentials.Credentials.from_authorized_user_info(USER)
    return Operator(credentials, http(answer))


def test_without_credentials_the_reader_learns_how_to_log_in() -> None:
    with pytest.raises(SourceUnavailableError) as caught:
        find(http(no_network))
    assert str(caught.value) == (
        "There are no Google credentials here. GOOGLE_APPLICATION_CREDENTIALS is not set, gcloud has no application default credentials, "
        "and this is no machine of Google's. Run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to a "
        "credential file."
    )
    assert caught.value.full_code == "credential.operator-none"


def test_a_named_file_that_is_missing_is_named_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")
    with pytest.raises(SourceUnavailableError) as caught:
        find(http(no_network))
    assert caught.value.what == "The Google credentials in /nowhere/key.json cannot be used."
    assert "was not found" in caught.value.why


def test_a_folder_in_place_of_the_file_is_told_with_who_named_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path))
    with pytest.raises(SourceUnavailableError, match=f"The Google credentials in {tmp_path} cannot be used. Is a directory. GOOGLE_APP"):
        find(http(no_network))


@pytest.mark.parametrize("content", [{}, {"type": "nonsense"}, {"type": "service_account", "client_email": "x"}])
def test_a_named_file_that_is_broken_is_told(content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = credentials_file(tmp_path, monkeypatch, content)
    with pytest.raises(SourceUnavailableError, match=f"The Google credentials in {file} cannot be used"):
        find(http(no_network))


def test_the_users_credentials_are_found_and_sign_with_their_quota_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials_file(tmp_path, monkeypatch, USER)
    operator = find(http(token_endpoint))
    assert operator.account == "the user logged in with gcloud"
    assert operator.universe == "googleapis.com"
    headers = operator.headers()
    assert headers["authorization"] == "Bearer ya29.fresh"
    assert headers["x-goog-user-project"] == "billed"


def test_credentials_of_another_universe_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials_file(tmp_path, monkeypatch, {**USER, "universe_domain": "universe.example"})
    with pytest.raises(ConfigError, match=r"The Google credentials belong to the universe 'universe\.example'"):
        find(http(no_network))


def test_a_user_without_a_quota_project_is_not_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "application_default_credentials.json").write_text(json.dumps({**USER, "quota_project_id": None}))
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "demo-project")
    assert find(http(no_network)).project == "demo-project"


def test_a_token_is_fetched_once_and_again_when_it_was_refused() -> None:
    asked: list[float] = []

    def answer(_: httpx2.Request) -> httpx2.Response:
        asked.append(time.monotonic())
        return httpx2.Response(200, json={"access_token": f"ya29.t{len(asked)}", "expires_in": 3599, "token_type": "Bearer"})

    operator = user(answer)
    first = operator.headers()
    assert operator.headers() == first
    operator.renew(first)
    second = operator.headers()
    assert second["authorization"] == "Bearer ya29.t2"
    operator.renew(first)
    assert operator.headers() == second
    assert len(asked) == 2


def oauth_error(code: str, **more: str) -> Answer:
    return lambda _: httpx2.Response(400, json={"error": code, **more})


def test_an_expired_login_is_told_with_its_cure() -> None:
    with pytest.raises(SourceUnavailableError) as caught:
        user(oauth_error("invalid_grant", error_description="Token has been expired or revoked.")).headers()
    assert str(caught.value) == (
        "The credentials of the user logged in with gcloud give no access token. invalid_grant: Token has been expired or revoked. "
        "Run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to a credential file."
    )
    assert caught.value.full_code == "credential.operator-expired"


def test_a_login_to_be_confirmed_is_told_apart() -> None:
    with pytest.raises(SourceUnavailableError) as caught:
        user(oauth_error("invalid_grant", error_description="reauth related error (invalid_rapt)", error_subtype="invalid_rapt")).headers()
    assert caught.value.full_code == "credential.operator-reauthentication"
    assert caught.value.next_step == "Run `gcloud auth application-default login`."


@pytest.mark.parametrize(
    ("reason", "cure"),
    [("IAM_PERMISSION_DENIED", "needs roles/iam.serviceAccountTokenCreator on it"), ("SERVICE_DISABLED", "Run `gcloud services enable")],
)
def test_a_login_that_may_not_act_as_the_account_is_told_google_s_reason(reason: str, cure: str) -> None:
    detail = {"reason": reason, "metadata": {"service": "iamcredentials.googleapis.com"}}
    error = {"code": 403, "status": "PERMISSION_DENIED", "message": f"Permission denied, {SECRET}", "details": [detail]}

    def answer(request: httpx2.Request) -> httpx2.Response:
        return token_endpoint(request) if request.url.host == "oauth2.googleapis.com" else httpx2.Response(403, json={"error": error})

    credentials = google.auth.impersonated_credentials.Credentials(
        google.oauth2.credentials.Credentials.from_authorized_user_info(USER), "operator@demo-project.iam.gserviceaccount.com", []
    )
    with pytest.raises(SourceUnavailableError) as caught:
        Operator(credentials, http(answer)).headers()
    assert caught.value.full_code == "credential.operator-impersonation"
    assert str(caught.value).startswith("The login may not act as operator@demo-project.iam.gserviceaccount.com. Permission denied, ….")
    assert cure in caught.value.next_step


def test_a_token_endpoint_that_is_silent_is_unreachable() -> None:
    with pytest.raises(UnreachableError, match=r"oauth2\.googleapis\.com gave no answer when asked to give the operator an access token"):
        user(no_network).headers()


def test_no_secret_is_in_repr_or_error() -> None:
    operator = user(oauth_error("invalid_grant", error_description=f"bad {SECRET}"))
    with pytest.raises(SourceUnavailableError) as caught:
        operator.headers()
    assert [text for text in (repr(operator), str(caught.value), repr(caught.value)) if SECRET in text or "client-secret" in text] == []
