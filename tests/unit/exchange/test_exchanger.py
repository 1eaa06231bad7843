# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 - recorded texts and what the reader sees stand whole
"""The exchange: what is sent where, and what is said when it is refused. Invariants 4 and 5."""

import json
import logging
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import httpx2
import pytest

from podpass.clock import SteppedClock
from podpass.errors import ConfigError, ExchangeRefusedError, ImpersonationRefusedError, UnexpectedAnswerError, UnreachableError
from podpass.exchange.credential_config import CredentialConfig
from podpass.exchange.exchanger import Exchanger
from podpass.names import GoogleServiceAccount, PoolName, Secret

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
PROVIDER = PoolName("123", "demo-pool").provider("demo-provider")
ACCOUNT = GoogleServiceAccount("wif-demo-sa@demo-project.iam.gserviceaccount.com")
SUBJECT = Secret("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln", "subject token")
FEDERATED, ISSUED = "ya29.federated-token", "ya29.c.account-token"
STS_ANSWER = {"access_token": FEDERATED, "token_type": "Bearer", "expires_in": 3599}
IAM_ANSWER = {"accessToken": ISSUED, "expireTime": "2026-11-01T13:00:00Z"}


class World:
    """The two services, with an answer each; keeps what was asked."""

    def __init__(self, sts: httpx2.Response | Exception | None = None, iam: httpx2.Response | Exception | None = None) -> None:
        self.answers = {
            "sts.googleapis.com": sts or httpx2.Response(200, json=STS_ANSWER),
            "iamcredentials.googleapis.com": iam or httpx2.Response(200, json=IAM_ANSWER),
        }
        self.asked: list[httpx2.Request] = []

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        answer = self.answers[request.url.host]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def exchanger(self, account: GoogleServiceAccount | None = ACCOUNT, **more: Any) -> Exchanger:  # noqa: ANN401 - Exchanger's own
        http = httpx2.Client(transport=httpx2.MockTransport(self._answer), follow_redirects=True)
        return Exchanger(PROVIDER, service_account=account, http=http, clock=SteppedClock(NOW), **more)


def refused(code: int, error: str, description: str) -> httpx2.Response:
    return httpx2.Response(code, json={"error": error, "error_description": description})


def test_a_subject_token_becomes_the_accounts_access_token_in_two_requests() -> None:
    world = World()
    token = world.exchanger(lifetime=timedelta(minutes=30)).access_token(SUBJECT)
    assert (token.value.reveal(), token.expires_at, token.principal) == (ISSUED, NOW + timedelta(hours=1), ACCOUNT.email)
    first, second = world.asked
    assert str(first.url) == "https://sts.googleapis.com/v1/token"
    assert "authorization" not in first.headers
    assert {key: values[0] for key, values in parse_qs(first.content.decode()).items()} == {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "audience": PROVIDER.audience,
        "scope": "https://www.googleapis.com/auth/iam",
        "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "subject_token": SUBJECT.reveal(),
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
    }
    assert str(second.url) == f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken"
    assert second.headers["authorization"] == f"Bearer {FEDERATED}"
    assert json.loads(second.content) == {"scope": ["https://www.googleapis.com/auth/cloud-platform"], "lifetime": "1800s"}
    assert SUBJECT.reveal().encode() not in second.content


def test_direct_access_ends_with_the_federated_token() -> None:
    world = World()
    token = world.exchanger(None).access_token(SUBJECT)
    assert (token.value.reveal(), token.expires_at, token.principal) == (FEDERATED, NOW + timedelta(seconds=3599), None)
    assert parse_qs(world.asked[0].content.decode())["scope"] == ["https://www.googleapis.com/auth/cloud-platform"]
    assert len(world.asked) == 1


def test_a_token_that_is_about_to_end_has_no_expires_in() -> None:
    world = World(httpx2.Response(200, json={"access_token": FEDERATED}))
    assert world.exchanger(None).access_token(SUBJECT).expires_at == NOW + timedelta(seconds=1)


def test_a_credential_configuration_describes_an_exchanger() -> None:
    world = World()
    config = CredentialConfig(PROVIDER, "/token", service_account=ACCOUNT, lifetime=timedelta(minutes=10))
    http = httpx2.Client(transport=httpx2.MockTransport(world._answer))
    assert Exchanger.from_config(config, http=http).access_token(SUBJECT).principal == ACCOUNT.email
    assert json.loads(world.asked[1].content)["lifetime"] == "600s"


REFUSALS = {
    "condition": (
        refused(400, "unauthorized_client", "The given credential is rejected by the attribute condition."),
        (
            "Google's security token service refused the subject token (400 unauthorized_client). The given credential is rejected by the "
            "attribute condition. Add the account to the workloads of the federation file and apply, or change the condition."
        ),
    ),
    "audience": (
        refused(400, "invalid_grant", "The audience in ID Token [x] does not match the expected audience."),
        (
            "Google's security token service refused the subject token (400 invalid_grant). The audience in ID Token [x] does not match the "
            f"expected audience. Ask for a token with the audience {PROVIDER.audience}; the provider's allowed audiences must admit it."
        ),
    ),
    "issuer": (
        refused(400, "invalid_grant", "The issuer in ID Token https://a does not match the expected one in config: https://b."),
        (
            "Google's security token service refused the subject token (400 invalid_grant). The issuer in ID Token https://a does not match the "
            "expected one in config: https://b. The cluster's issuer is not the provider's: run `podpass plan` to compare them."
        ),
    ),
    "signature": (
        refused(400, "invalid_grant", "Unable to verify the ID Token signature."),
        (
            "Google's security token service refused the subject token (400 invalid_grant). Unable to verify the ID Token signature. The "
            "provider's keys are not the cluster's: `podpass plan` shows the difference."
        ),
    ),
    "target": (
        refused(400, "invalid_target", 'The target service indicated by the "audience" parameters is invalid.'),
        (
            'Google\'s security token service refused the subject token (400 invalid_target). The target service indicated by the "audience" '
            f"parameters is invalid. Check that {PROVIDER} exists and is neither disabled nor deleted: run `podpass plan`."
        ),
    ),
    "another": (
        refused(400, "invalid_request", "Something new."),
        (
            "Google's security token service refused the subject token (400 invalid_request). Something new. Run `podpass doctor`; it walks "
            "every check of the exchange."
        ),
    ),
}


@pytest.mark.parametrize(("answer", "expected"), REFUSALS.values(), ids=REFUSALS)
def test_a_refused_subject_token_is_told_with_googles_words_and_the_cure(answer: httpx2.Response, expected: str) -> None:
    with pytest.raises(ExchangeRefusedError) as caught:
        World(answer).exchanger().access_token(SUBJECT)
    assert str(caught.value) == expected
    assert caught.value.full_code.startswith("credential.exchange-refused.")


def iam_refusal(code: int, status: str, message: str) -> httpx2.Response:
    return httpx2.Response(code, json={"error": {"code": code, "status": status, "message": message}})


IAM_REFUSALS = {
    "permission": (
        iam_refusal(403, "PERMISSION_DENIED", "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist)."),
        (
            "Google refused a token of the service account wif-demo-sa@demo-project.iam.gserviceaccount.com (403 PERMISSION_DENIED). Permission "
            "'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist). Grant the workload's principal "
            "roles/iam.workloadIdentityUser on it; a new grant takes minutes."
        ),
    ),
    "unknown": (
        iam_refusal(404, "NOT_FOUND", f"Not found; Gaia id not found for email {ACCOUNT}"),
        (
            "Google refused a token of the service account wif-demo-sa@demo-project.iam.gserviceaccount.com (404 NOT_FOUND). Not found; Gaia id "
            "not found for email wif-demo-sa@demo-project.iam.gserviceaccount.com. Check that the account exists; a new one takes a minute to be "
            "known."
        ),
    ),
}


@pytest.mark.parametrize(("answer", "expected"), IAM_REFUSALS.values(), ids=IAM_REFUSALS)
def test_a_refused_impersonation_is_told_with_googles_words_and_the_cure(answer: httpx2.Response, expected: str) -> None:
    with pytest.raises(ImpersonationRefusedError) as caught:
        World(iam=answer).exchanger().access_token(SUBJECT)
    assert str(caught.value) == expected


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_invariant_5_no_token_goes_along_a_redirect(code: int) -> None:
    moved = httpx2.Response(code, headers={"location": "https://elsewhere.example/v1/token"})
    for world in (World(moved), World(iam=moved)):
        with pytest.raises(UnexpectedAnswerError, match="It was not followed: the token in it is for this origin only"):
            world.exchanger().access_token(SUBJECT)
        assert {request.url.host for request in world.asked} <= {"sts.googleapis.com", "iamcredentials.googleapis.com"}


@pytest.mark.parametrize(
    "url", ["http://sts.googleapis.com/v1/token", "ftp://x", "//sts.googleapis.com/v1/token", "http://127.0.0.1.example/"]
)
def test_invariant_5_no_token_goes_to_an_origin_that_is_not_https(url: str) -> None:
    with pytest.raises(ConfigError, match="No token is sent to"):
        Exchanger(PROVIDER, token_url=url)


def test_loopback_may_be_plain() -> None:
    Exchanger(PROVIDER, token_url="http://127.0.0.1:8080/v1/token").close()


BAD_ANSWERS = {
    "no JSON": (httpx2.Response(200, content=b"<html>ya29.x"), None),
    "a list": (httpx2.Response(200, content=b"[]"), None),
    "no token": (httpx2.Response(200, json={"expires_in": 5}), None),
    "a strange time": (httpx2.Response(200, json={"access_token": "ya29.x", "expires_in": "soon"}), None),
    "no number": (httpx2.Response(200, content=b'{"access_token": "ya29.x", "expires_in": NaN}'), None),
    "no end": (httpx2.Response(200, content=b'{"access_token": "ya29.x", "expires_in": 1e300}'), None),
    "over already": (httpx2.Response(200, json={"access_token": "ya29.x", "expires_in": -5}), None),
    "true": (httpx2.Response(200, json={"access_token": "ya29.x", "expires_in": True}), None),
    "no header": (httpx2.Response(200, content=b'{"access_token": "ya29.x\\r\\n\\ud800", "expires_in": 5}'), None),
    "nested": (httpx2.Response(200, content=b"[" * 100_000), None),
    "a nested refusal": (httpx2.Response(400, content=b"[" * 100_000), None),
    "no OAuth error": (httpx2.Response(500, content=b"<html>"), None),
    "account: no JSON": (None, httpx2.Response(200, content=b"ya29.x")),
    "account: no token": (None, httpx2.Response(200, json={"expireTime": "2026-11-01T13:00:00Z"})),
    "account: a strange time": (None, httpx2.Response(200, json={"accessToken": "ya29.x", "expireTime": "soon"})),
    "account: before all time": (None, httpx2.Response(200, json={"accessToken": "ya29.x", "expireTime": "0001-01-01T00:00:00+14:00"})),
}


@pytest.mark.parametrize(("sts", "iam"), BAD_ANSWERS.values(), ids=BAD_ANSWERS)
def test_an_answer_outside_the_protocol_is_told_and_not_shown(sts: httpx2.Response | None, iam: httpx2.Response | None) -> None:
    with pytest.raises(UnexpectedAnswerError) as caught:
        World(sts, iam).exchanger().access_token(SUBJECT)
    assert "ya29" not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_no_answer_names_the_host() -> None:
    with pytest.raises(UnreachableError, match=r"sts\.googleapis\.com gave no answer when asked to exchange the subject token") as caught:
        World(httpx2.ConnectError("refused")).exchanger().access_token(SUBJECT)
    # What broke holds the request, with the token in its body.
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def test_without_an_account_there_is_nobody_to_act_as() -> None:
    exchanger = World().exchanger(None)
    with pytest.raises(ConfigError, match="There is no service account to act as"):
        exchanger.impersonated_token(exchanger.federated_token(SUBJECT))


def test_invariant_4_no_token_is_in_a_repr_an_error_or_a_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    echo = refused(400, "invalid_grant", f"Unable to parse {SUBJECT.reveal()} or {FEDERATED}.")
    worlds = (World(), World(echo), World(iam=iam_refusal(403, "PERMISSION_DENIED", f"Bearer {FEDERATED}")))
    text = " ".join([*(_seen(world) for world in worlds), caplog.text])
    assert [secret for secret in (SUBJECT.reveal(), FEDERATED, ISSUED) if secret in text] == []
    assert "access token, 20 characters" in text


def _seen(world: World) -> str:
    try:
        return repr(world.exchanger().access_token(SUBJECT))
    except (ExchangeRefusedError, ImpersonationRefusedError) as error:
        return f"{error} {error!r} {error.__cause__!r}"
