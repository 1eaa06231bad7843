# SPDX-License-Identifier: Apache-2.0
"""podpass's credentials as google-auth uses them; with Google's libraries and a whole sandbox: tests/cross/test_google_credentials.py."""

import json
import logging
from collections.abc import Iterator
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import google.auth.credentials
import google.auth.transport.requests
import pytest
from google.auth.exceptions import RefreshError, TransportError

from google_desk import ACCOUNT, OUTAGES, PROVIDER, FakeSource, GoogleDesk, oauth_refusal
from loopback_server import LoopbackServer, Reply, Seen
from podpass.client.google_auth import Credentials, IdTokenCredentials
from podpass.clock import SystemClock
from podpass.errors import ConfigError, ExchangeRefusedError
from podpass.exchange.credential_config import credential_config
from podpass.exchange.schedule import TokenSchedule
from podpass.exchange.workload_tokens import WorkloadTokens
from podpass.names import GoogleServiceAccount

# google-auth is not typed, and leaves connections to the garbage collector.
transport: Any = google.auth.transport.requests
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

IMPATIENT = TokenSchedule(refused=timedelta(microseconds=1))


class Service:
    """An API that accepts some tokens."""

    def __init__(self) -> None:
        self.refused: set[str] = set()
        self.seen: list[str] = []

    def answer(self, seen: Seen) -> Reply:
        token = seen.headers["authorization"].removeprefix("Bearer ")
        self.seen.append(token)
        return Reply(401 if token in self.refused else 200)


@pytest.fixture
def desk() -> GoogleDesk:
    return GoogleDesk(SystemClock())


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def url(service: Service) -> Iterator[str]:
    with LoopbackServer(service.answer) as server:
        yield server.url


def tokens_of(desk: GoogleDesk, account: GoogleServiceAccount | None = ACCOUNT) -> WorkloadTokens:
    return WorkloadTokens(FakeSource(), desk.exchanger(account), schedule=IMPATIENT)


def test_a_request_carries_the_token_and_ten_cost_one_exchange(desk: GoogleDesk, service: Service, url: str) -> None:
    with transport.AuthorizedSession(Credentials(tokens_of(desk))) as session:
        for _ in range(10):
            session.get(url).raise_for_status()
    assert service.seen == ["ya29.account-2"] * 10
    assert desk.counts == {"token": 1, "generateAccessToken": 1}


def test_copies_for_other_scopes_share_the_exchange(desk: GoogleDesk, url: str) -> None:
    credentials = Credentials(tokens_of(desk))
    assert credentials.requires_scopes
    scoped = google.auth.credentials.with_scopes_if_required(credentials, ["scope-a"])
    assert not scoped.requires_scopes
    for each in (scoped, scoped.with_scopes(None, default_scopes=["scope-b"]), scoped.with_scopes(["scope-a"])):
        with transport.AuthorizedSession(each) as session:
            session.get(url).raise_for_status()
    assert [asked["scope"] for verb, asked in desk.asked if verb == "generateAccessToken"] == [["scope-a"], ["scope-b"]]
    assert desk.counts["token"] == 1


def test_after_a_401_another_token_is_fetched(desk: GoogleDesk, service: Service, url: str) -> None:
    service.refused.add("ya29.account-2")
    with transport.AuthorizedSession(Credentials(tokens_of(desk))) as session:
        assert session.get(url).status_code == 200
    assert service.seen == ["ya29.account-2", "ya29.account-3"]


def test_an_api_that_refuses_every_token_is_no_loop_of_exchanges(desk: GoogleDesk, service: Service, url: str) -> None:
    service.refused |= {f"ya29.account-{number}" for number in range(100)}
    tokens = WorkloadTokens(FakeSource(), desk.exchanger())
    with transport.AuthorizedSession(Credentials(tokens)) as session:
        assert {session.get(url).status_code for _ in range(10)} == {401}
    assert desk.counts == {"token": 1, "generateAccessToken": 1}


def test_in_an_outage_a_401_leaves_the_token_that_there_is(desk: GoogleDesk, service: Service, url: str) -> None:
    credentials = Credentials(tokens_of(desk))
    with transport.AuthorizedSession(credentials) as session:
        session.get(url).raise_for_status()
        desk.weather["*"] = OUTAGES["429 with Retry-After"]
        service.refused.add("ya29.account-2")
        assert session.get(url).status_code == 401
        service.refused.clear()
        assert session.get(url).status_code == 200


def test_the_quota_project_is_named(desk: GoogleDesk) -> None:
    credentials = Credentials(tokens_of(desk)).with_quota_project("payer")
    headers: dict[str, str] = {}
    credentials.before_request(None, "GET", "https://storage.googleapis.com/", headers)  # type: ignore[no-untyped-call] # google-auth is not typed
    assert headers == {"authorization": "Bearer ya29.account-2", "x-goog-user-project": "payer"}


def test_an_id_token_ends_when_it_says(desk: GoogleDesk) -> None:
    credentials = IdTokenCredentials(tokens_of(desk), "https://orders.example")
    assert not credentials.valid
    credentials.refresh(None)
    expiry = credentials.expiry
    assert credentials.valid
    assert expiry is not None
    assert abs(expiry.replace(tzinfo=UTC) - SystemClock().now() - timedelta(hours=1)) < timedelta(seconds=30)


def test_signing_is_the_account_s(desk: GoogleDesk) -> None:
    credentials = Credentials(tokens_of(desk))
    assert (credentials.sign_bytes(b"text"), credentials.signer.sign("text")) == (b"signed", b"signed")
    assert credentials.signer_email == credentials.service_account_email == ACCOUNT.email
    assert credentials.signer.key_id is None


def test_direct_access_cannot_sign_and_says_what_it_takes(desk: GoogleDesk) -> None:
    credentials = Credentials(tokens_of(desk, account=None))
    assert credentials.signer_email is None
    with pytest.raises(TransportError, match="A signature needs a Google service account, and none is configured"):
        credentials.sign_bytes(b"text")
    with pytest.raises(RefreshError, match="An ID token needs a Google service account, and none is configured"):
        IdTokenCredentials(credentials.tokens, "https://orders.example").refresh(None)


def test_a_refusal_is_a_refresh_error_with_all_three_sentences(desk: GoogleDesk) -> None:
    desk.weather["token"] = lambda: oauth_refusal("invalid_target", "The target service is invalid.")
    with pytest.raises(RefreshError) as caught:
        Credentials(tokens_of(desk)).refresh(None)
    assert isinstance(caught.value.__cause__, ExchangeRefusedError)
    assert str(caught.value) == str(caught.value.__cause__)
    assert not caught.value.retryable


def test_an_outage_is_worth_a_retry_to_google_s_libraries(desk: GoogleDesk) -> None:
    desk.weather["token"] = OUTAGES["429 with Retry-After"]
    with pytest.raises(RefreshError, match="Ask again in 2") as caught:
        Credentials(tokens_of(desk)).refresh(None)
    assert caught.value.retryable


def test_errors_of_google_s_libraries_can_name_the_credentials(desk: GoogleDesk) -> None:
    assert Credentials(tokens_of(desk)).get_cred_info() == {
        "credential_source": "file /token",
        "credential_type": "podpass workload credentials",
        "principal": ACCOUNT.email,
    }


def test_the_environment_names_the_file(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(credential_config(PROVIDER, token_path=str(tmp_path / "token"), service_account=ACCOUNT))
    environ = {"GOOGLE_APPLICATION_CREDENTIALS": str(config)}
    credentials = Credentials.from_env(environ=environ, quota_project_id="payer")
    assert (credentials.service_account_email, credentials.quota_project_id) == (ACCOUNT.email, "payer")
    assert IdTokenCredentials.from_env("https://orders.example", environ=environ).tokens.source == credentials.tokens.source
    with pytest.raises(RefreshError, match=r"There is no subject token: .*/token does not exist"):
        credentials.refresh(None)


def test_a_token_in_a_member_of_a_json_file_is_read(tmp_path: Path) -> None:
    content = json.loads(credential_config(PROVIDER, token_path=str(tmp_path / "token")))
    content["credential_source"]["format"] = {"type": "json", "subject_token_field_name": "id_token"}
    (tmp_path / "config.json").write_text(json.dumps(content))
    (tmp_path / "token").write_text('{"id_token": "eyJ.e30.c2ln"}')
    assert Credentials.from_file(tmp_path / "config.json").tokens.source.read().reveal() == "eyJ.e30.c2ln"


def test_without_a_file_the_cure_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="GOOGLE_APPLICATION_CREDENTIALS is not set"):
        Credentials.from_env(environ={})
    with pytest.raises(ConfigError, match=r"cannot be read\. No such file or directory\. Mount the ConfigMap"):
        Credentials.from_file(tmp_path / "none.json")


def test_another_universe_is_asked_only_where_the_caller_allows_it(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(credential_config(PROVIDER, token_path="/token").replace("googleapis.com/v1", "example.goog/v1"))
    file.write_text(file.read_text().replace('"universe_domain": "googleapis.com"', '"universe_domain": "example.goog"'))
    with pytest.raises(ConfigError, match=r"Its universe_domain is 'example\.goog', not 'googleapis\.com'"):
        Credentials.from_file(file)
    credentials = Credentials.from_file(file, universes=["example.goog"])
    assert credentials.universe_domain == "example.goog"
    assert credentials.tokens.exchanger._endpoints.token == "https://sts.example.goog/v1/token"


def test_invariant_4_no_token_is_in_a_repr_or_a_log(desk: GoogleDesk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    credentials = Credentials(tokens_of(desk))
    credentials.refresh(None)
    assert "ya29" not in f"{credentials!r} {credentials.tokens!r} {credentials.signer!r} {caplog.text}"
