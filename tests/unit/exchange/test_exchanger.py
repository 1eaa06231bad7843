# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 - recorded texts and what the reader sees stand whole
"""The exchange: what is sent where, and what is said when it is refused. Invariants 4 and 5."""

import json
import logging
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import parse_qs

import httpx2
import pytest

from podpass.clock import SteppedClock
from podpass.errors import (
    ConfigError,
    ExchangeRefusedError,
    ExchangeUnavailableError,
    ImpersonationRefusedError,
    UnexpectedAnswerError,
    UnreachableError,
)
from podpass.exchange.credential_config import CredentialConfig
from podpass.exchange.endpoints import Endpoints
from podpass.exchange.exchanger import Exchanger
from podpass.exchange.tokens import Signature
from podpass.names import GoogleServiceAccount, PoolName, Secret
from token_forge import ec_signer

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
    assert (token.value.reveal(), token.expires_at) == (ISSUED, NOW + timedelta(minutes=30))
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
    assert (token.value.reveal(), token.expires_at) == (FEDERATED, NOW + timedelta(seconds=3599))
    assert parse_qs(world.asked[0].content.decode())["scope"] == ["https://www.googleapis.com/auth/cloud-platform"]
    assert len(world.asked) == 1


def test_a_token_that_is_about_to_end_has_no_expires_in() -> None:
    world = World(httpx2.Response(200, json={"access_token": FEDERATED}))
    assert world.exchanger(None).access_token(SUBJECT).expires_at == NOW + timedelta(seconds=1)


def test_a_credential_configuration_describes_an_exchanger() -> None:
    world = World()
    config = CredentialConfig(PROVIDER, "/token", service_account=ACCOUNT, lifetime=timedelta(minutes=10))
    http = httpx2.Client(transport=httpx2.MockTransport(world._answer))
    assert Exchanger.from_config(config, http=http).access_token(SUBJECT).value.reveal() == ISSUED
    assert json.loads(world.asked[1].content)["lifetime"] == "600s"


def test_an_account_s_id_token_is_asked_for_with_its_email() -> None:
    token = ec_signer("google").token({"iat": int(NOW.timestamp()), "exp": int(NOW.timestamp()) + 3600})
    world = World(iam=httpx2.Response(200, json={"token": token}))
    exchanger = world.exchanger()
    issued = exchanger.id_token(exchanger.federated_token(SUBJECT), "https://orders.example")
    assert (issued.value.reveal(), issued.expires_at) == (token, NOW + timedelta(hours=1))
    assert str(world.asked[1].url) == f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{ACCOUNT}:generateIdToken"
    assert world.asked[1].headers["authorization"] == f"Bearer {FEDERATED}"
    assert json.loads(world.asked[1].content) == {"audience": "https://orders.example", "includeEmail": True}


def test_a_signature_is_asked_for_in_base64() -> None:
    world = World(iam=httpx2.Response(200, json={"keyId": "key-1", "signedBlob": "/+8="}))
    exchanger = world.exchanger()
    assert exchanger.sign(exchanger.federated_token(SUBJECT), b"\xff\xef") == Signature("key-1", b"\xff\xef")
    assert str(world.asked[1].url).endswith(f"{ACCOUNT}:signBlob")
    assert json.loads(world.asked[1].content) == {"payload": "/+8="}


def test_connections_are_closed_by_whoever_made_them() -> None:
    http = httpx2.Client(transport=httpx2.MockTransport(World()._answer))
    with Exchanger(PROVIDER, http=http):
        pass
    assert not http.is_closed
    with Exchanger(PROVIDER) as exchanger:
        own = exchanger._http
        assert not own.is_closed
    assert own.is_closed


def test_another_universe_has_other_hosts() -> None:
    config = CredentialConfig(PROVIDER, "/token", service_account=ACCOUNT, universe="example.goog")
    exchanger = Exchanger.from_config(config)
    assert exchanger.universe == "example.goog"
    assert exchanger._endpoints == Endpoints("https://sts.example.goog", "https://iamcredentials.example.goog", "example.goog")


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


@pytest.mark.parametrize("url", ["http://sts.googleapis.com", "ftp://x", "//sts.googleapis.com", "http://127.0.0.1.example"])
def test_invariant_5_no_token_goes_to_an_origin_that_is_not_https(url: str) -> None:
    with pytest.raises(ConfigError, match="No token is sent to"):
        Exchanger(PROVIDER, endpoints=Endpoints(sts=url))


def test_loopback_may_be_plain() -> None:
    Exchanger(PROVIDER, endpoints=Endpoints("http://127.0.0.1:8080", "http://[::1]:8080")).close()


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
    "no OAuth error": (httpx2.Response(404, content=b"<html>"), None),
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


CLAIMS: dict[str, dict[str, object]] = {
    "no exp": {"iat": 1},
    "no iat": {"exp": 1},
    "text": {"iat": 1, "exp": "soon"},
    "true": {"iat": 1, "exp": True},
    "beyond all time": {"iat": 1, "exp": 1e300},
}


@pytest.mark.parametrize("claims", CLAIMS.values(), ids=CLAIMS)
def test_an_id_token_that_does_not_say_when_it_ends_is_none(claims: dict[str, object]) -> None:
    exchanger = World(iam=httpx2.Response(200, json={"token": ec_signer("google").token(claims)})).exchanger()
    with pytest.raises(UnexpectedAnswerError, match="has a token that does not say when it begins and ends"):
        exchanger.id_token(exchanger.federated_token(SUBJECT), "https://orders.example")


BAD_ACCOUNT_ANSWERS: dict[str, tuple[object, str]] = {
    "no ID token": ({}, "has no token"),
    "an ID token that is none": ({"token": "x"}, "has a token that does not say when it begins and ends"),
    "no signature": ({"keyId": "k"}, "has no signedBlob or no keyId"),
    "a signature that is no base64": ({"keyId": "k", "signedBlob": "%"}, "has no signedBlob or no keyId"),
    "a signature that is no text": ({"keyId": "k", "signedBlob": 5}, "has no signedBlob or no keyId"),
}


@pytest.mark.parametrize(("answer", "expected"), BAD_ACCOUNT_ANSWERS.values(), ids=BAD_ACCOUNT_ANSWERS)
def test_an_id_token_or_a_signature_that_is_none_is_told(answer: object, expected: str) -> None:
    exchanger = World(iam=httpx2.Response(200, json=answer)).exchanger()
    federated = exchanger.federated_token(SUBJECT)
    ask = partial(exchanger.sign, federated, b"x") if "signedBlob" in expected else partial(exchanger.id_token, federated, "a")
    with pytest.raises(UnexpectedAnswerError, match=expected):
        ask()


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_an_outage_accuses_nobody_and_says_how_long(status: int) -> None:
    answer = httpx2.Response(status, json={"error": {"code": status, "message": "Later."}}, headers={"retry-after": "7"})
    worlds = {"The security token service": World(answer), "IAM Credentials": World(iam=answer)}
    for who, world in worlds.items():
        with pytest.raises(ExchangeUnavailableError, match=f"{who} could not .* \\({status} [A-Z_]+\\)\\. Later\\.") as caught:
            world.exchanger().access_token(SUBJECT)
        assert (caught.value.retryable, caught.value.retry_after_s) == (True, 7.0)


def test_the_security_token_service_throttles_in_words_of_its_own() -> None:
    throttled = refused(429, "quota_exceeded", "The request was throttled due to rate limit: sts.googleapis.com/requests.")
    with pytest.raises(ExchangeUnavailableError, match=r"throttled due to rate limit: sts\.googleapis\.com/requests\."):
        World(throttled).exchanger().access_token(SUBJECT)


def test_no_answer_names_the_host() -> None:
    with pytest.raises(UnreachableError, match=r"sts\.googleapis\.com gave no answer when asked to exchange the subject token") as caught:
        World(httpx2.ConnectError("refused")).exchanger().access_token(SUBJECT)
    # What broke holds the request, with the token in its body.
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def test_without_an_account_there_is_nobody_to_act_as() -> None:
    exchanger = World().exchanger(None)
    with pytest.raises(ConfigError, match="Impersonation needs a Google service account, and none is configured"):
        exchanger.impersonated_token(exchanger.federated_token(SUBJECT))


def test_invariant_4_no_token_is_in_a_repr_an_error_or_a_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    echo = refused(400, "invalid_grant", f"Unable to parse {SUBJECT.reveal()} or {FEDERATED}.")
    name = refused(400, f"no {SUBJECT.reveal()} \x1b[2J" + "e" * 5000, "")
    service = {"reason": "SERVICE_DISABLED", "metadata": {"service": f"x; {FEDERATED}", "consumer": FEDERATED}}
    worlds = (
        World(),
        World(echo),
        World(name),
        World(httpx2.Response(503, json={"error": {"code": 503, "status": SUBJECT.reveal(), "message": "m"}})),
        World(iam=iam_refusal(403, "PERMISSION_DENIED", f"Bearer {FEDERATED}")),
        World(iam=iam_refusal(403, FEDERATED, "m")),
        World(iam=httpx2.Response(403, json={"error": {"code": 403, "status": "PERMISSION_DENIED", "details": [service]}})),
    )
    text = " ".join([*(_seen(world) for world in worlds), caplog.text])
    assert [secret for secret in (SUBJECT.reveal(), FEDERATED, ISSUED) if secret in text] == []
    assert "access token, 20 characters" in text
    assert "(400 no … \N{REPLACEMENT CHARACTER}[2Jee" in text
    assert "e" * 100 not in text
    assert "gcloud services enable the API`" in text


def _seen(world: World) -> str:
    try:
        return repr(world.exchanger().access_token(SUBJECT))
    except (ExchangeRefusedError, ExchangeUnavailableError, ImpersonationRefusedError) as error:
        return f"{error} {error!r} {error.__cause__!r}"
