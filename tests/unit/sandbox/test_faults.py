# SPDX-License-Identifier: Apache-2.0
"""What clients see of faults: the answers, the connections, and what the log says of them."""

import json
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest

from conftest import StartSandbox
from podpass.sandbox.hosting import HostedSandbox

BUCKETS = "https://storage.googleapis.com/storage/v1/b?project=demo-project"
TOKEN = "https://sts.googleapis.com/v1/token"
POOLS = "https://iam.googleapis.com/v1/projects/demo-project/locations/global/workloadIdentityPools"
# CPython tells a reset under TLS as an end of the stream.
CUT = (httpx2.ReadError, httpx2.RemoteProtocolError)


def faults(*rules: dict[str, Any], **google: Any) -> str:  # noqa: ANN401 - JSON
    spec = {"rules": rules, **({"google": google} if google else {})}
    return json.dumps({"apiVersion": "podpass.dev/v1alpha1", "kind": "Faults", "metadata": {"name": "test"}, "spec": spec})


@pytest.fixture
def weathered(google_side: HostedSandbox) -> Iterator[HostedSandbox]:
    """Google's side, whose faults end with the test."""
    yield google_side
    google_side.clear_faults()


@contextmanager
def client_of(side: HostedSandbox) -> Iterator[httpx2.Client]:
    environment = side.environment()
    token = side.universe.identities.user_token("operator@example.com", [])
    verify = ssl.create_default_context(cafile=environment["SSL_CERT_FILE"])
    with httpx2.Client(headers={"authorization": f"Bearer {token}"}, timeout=30, verify=verify, proxy=environment["HTTPS_PROXY"]) as client:
        yield client


def test_an_error_comes_in_the_form_of_the_api_that_was_asked(weathered: HostedSandbox) -> None:
    weathered.change_faults(faults({"then": {"error": 429, "retryAfter": 7}}))
    with client_of(weathered) as client:
        pools, buckets, exchange = client.get(POOLS), client.get(BUCKETS), client.post(TOKEN)
    words = "Resource has been exhausted (e.g. check quota)."
    assert pools.json() == exchange.json() == {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": words}}
    assert buckets.json()["error"]["errors"] == [{"message": words, "domain": "global", "reason": "rateLimitExceeded"}]
    assert {answer.headers["retry-after"] for answer in (pools, buckets, exchange)} == {"7"}


def test_a_request_that_is_refused_or_reset_was_not_acted_on_and_one_whose_answer_is_lost_was(weathered: HostedSandbox) -> None:
    create = {"method": "storage.buckets.insert"}
    weathered.change_faults(
        faults(
            {"name": "away", "match": create, "when": {"times": 1}, "then": {"error": 503}},
            {"name": "gone", "match": create, "when": {"times": 1}, "then": {"connection": "reset"}},
            {"name": "lost", "match": create, "when": {"times": 1}, "then": {"connection": "answer-lost"}},
        )
    )
    bucket = {"name": "once-only"}
    before = len(weathered.requests())
    with client_of(weathered) as client:
        assert client.post(BUCKETS, json=bucket).status_code == 503
        with pytest.raises(CUT):
            client.post(BUCKETS, json=bucket)
        assert client.get(BUCKETS).json().get("items") is None
        with pytest.raises(CUT):
            client.post(BUCKETS, json=bucket)
        assert client.post(BUCKETS, json=bucket).status_code == 409
    log = [(entry["status"], entry.get("fault")) for entry in weathered.requests()[before:]]
    assert log == [(503, "away"), (503, "gone"), (200, None), (200, "lost"), (409, None)]
    assert [rule["struck"] for rule in weathered.faults()["rules"]] == [1, 1, 1]


def test_a_truncated_body_ends_before_its_time(weathered: HostedSandbox) -> None:
    weathered.change_faults(faults({"then": {"connection": "body-truncated"}}))
    with (
        client_of(weathered) as client,
        pytest.raises(httpx2.RemoteProtocolError, match="complete message body"),
    ):
        client.get(BUCKETS)


def test_slow_answers_take_their_time(weathered: HostedSandbox) -> None:
    weathered.change_faults(faults({"when": {"nth": 1}, "then": {"delayMs": 150}}, {"when": {"nth": 1}, "then": {"bodyMs": 150}}))
    spent = []
    with client_of(weathered) as client:
        client.get("https://iam.googleapis.com/unheard-of")  # the connection stands
        for _ in range(2):
            began = time.monotonic()
            assert client.get(BUCKETS).status_code == 200
            spent.append(time.monotonic() - began)
    weathered.change_faults(faults({"then": {"bodyMs": 2000}}))
    with client_of(weathered) as client, pytest.raises(httpx2.ReadTimeout):
        client.get(BUCKETS, timeout=httpx2.Timeout(30, read=0.1))
    assert spent[0] >= 0.13


def test_a_body_can_be_replaced(weathered: HostedSandbox) -> None:
    weathered.change_faults(faults({"then": {"error": 502, "body": "<html>Bad Gateway</html>"}}))
    with client_of(weathered) as client:
        answer = client.get(BUCKETS)
    assert (answer.status_code, answer.text) == (502, "<html>Bad Gateway</html>")


def test_rules_tell_callers_apart(weathered: HostedSandbox) -> None:
    weathered.change_faults(faults({"match": {"caller": "operator@*"}, "then": {"error": 503}}))
    with client_of(weathered) as client:
        assert client.get(POOLS).status_code == 503
        assert client.get(POOLS, headers={"authorization": "Bearer nonsense"}).status_code == 401


def test_an_api_that_was_switched_off_can_be_switched_on_by_the_user_or_by_fair_weather(weathered: HostedSandbox) -> None:
    enable = "https://serviceusage.googleapis.com/v1/projects/demo-project/services/storage.googleapis.com:enable"
    with client_of(weathered) as client:
        for cure in (lambda: client.post(enable), weathered.clear_faults):
            weathered.change_faults(faults(disabledApis=["storage.googleapis.com"]))
            refused = client.get(BUCKETS)
            assert refused.status_code == 403
            assert refused.json()["error"]["details"][0]["reason"] == "SERVICE_DISABLED"
            cure()
            assert client.get(BUCKETS).status_code == 200


def test_an_organization_policy_admits_some_issuers_only(weathered: HostedSandbox) -> None:
    weathered.change_faults(faults(allowedIssuers=["https://good.example"]))
    mapping = {"attributeMapping": {"google.subject": "assertion.sub"}}

    def provider(name: str, issuer: str) -> httpx2.Response:
        url = f"{POOLS}/policed/providers?workloadIdentityPoolProviderId={name}"
        return client.post(url, json={**mapping, "oidc": {"issuerUri": issuer}})

    with client_of(weathered) as client:
        client.post(f"{POOLS}?workloadIdentityPoolId=policed", json={})
        assert provider("good", "https://good.example").status_code == 200
        error = provider("evil", "https://evil.example").json()["error"]
    assert (error["code"], error["status"], error["message"]) == (400, "FAILED_PRECONDITION", "Precondition check failed.")
    assert error["details"][0]["violations"] == [
        {
            "type": "constraints/iam.workloadIdentityPoolProviders",
            "subject": "orgpolicy:projects/demo-project/locations/global/workloadIdentityPools/policed",
            "description": "Org Policy violated for value: 'https://evil.example'.",
        }
    ]


@pytest.mark.parametrize(("how", "published"), [("rotated", 2), ("replaced", 1)])
def test_googles_signing_key_is_another_one_from_then_on(weathered: HostedSandbox, how: str, published: int) -> None:
    certs = "https://www.googleapis.com/oauth2"
    with client_of(weathered) as client:
        client.get(f"{certs}/v3/certs")
        before = weathered.universe.signing_key.kid
        weathered.change_faults(faults(signingKey=how))
        weathered.clear_faults()
        jwks, pem = client.get(f"{certs}/v3/certs").json()["keys"], client.get(f"{certs}/v1/certs").json()
    assert weathered.universe.signing_key.kid == jwks[0]["kid"] != before
    assert list(pem) == [key["kid"] for key in jwks]
    assert len(set(pem.values())) == published
    assert (before in pem) == (how == "rotated")


def test_the_api_server_has_weather_too(start_sandbox: StartSandbox) -> None:
    sandbox = start_sandbox()
    assert sandbox.cluster
    admin = sandbox.cluster.admin_kubeconfig()
    url = f"{admin['clusters'][0]['cluster']['server']}/api/v1/namespaces/default/configmaps"
    mine = {"method": "kubernetes.configmaps.create", "caller": "kubernetes-admin"}
    acts: list[dict[str, object]] = [
        {"error": 429, "retryAfter": 1},
        {"connection": "reset"},
        {"connection": "answer-lost"},
        {"error": 500, "body": "ouch"},
        {"connection": "body-truncated"},
    ]
    sandbox.change_faults(faults(*({"match": mine, "when": {"times": 1}, "then": act} for act in acts)))
    headers = {"authorization": f"Bearer {admin['users'][0]['user']['token']}"}
    verify = ssl.create_default_context(cafile=sandbox.environment()["SSL_CERT_FILE"])
    with httpx2.Client(headers=headers, verify=verify, trust_env=False, timeout=60) as client:
        busy = client.post(url, json={"metadata": {"name": "once"}})
        assert (busy.status_code, busy.headers["retry-after"], busy.json()["reason"]) == (429, "1", "TooManyRequests")
        for _ in range(2):
            with pytest.raises(CUT):
                client.post(url, json={"metadata": {"name": "once"}})
        assert client.get(f"{url}/once").status_code == 200
        assert client.post(url, json={"metadata": {"name": "twice"}}).text == "ouch"
        with pytest.raises(httpx2.RemoteProtocolError):
            client.post(url, json={"metadata": {"name": "twice"}})
        assert client.post(url, json={"metadata": {"name": "thrice"}}).status_code == 201


def test_the_admin_door_takes_faults_counts_them_and_takes_them_away(weathered: HostedSandbox) -> None:
    environment = weathered.environment()
    url, headers = (
        f"{environment['PODPASS_SANDBOX_ADMIN']}/faults",
        {"authorization": f"Bearer {environment['PODPASS_SANDBOX_ADMIN_TOKEN']}"},
    )
    calm = {"name": "calm", "rules": []}
    with httpx2.Client(headers=headers, trust_env=False, timeout=60) as door, client_of(weathered) as client:
        assert door.get(url).json() == calm
        set_ = door.put(url, content=faults({"name": "down", "match": {"method": "iam.*"}, "then": {"error": 503}}))
        assert set_.json() == {"name": "test", "rules": [{"rule": "down", "matched": 0, "struck": 0}]}
        assert client.get(POOLS).status_code == 503
        assert door.get(url).json()["rules"] == [{"rule": "down", "matched": 1, "struck": 1}]
        wrong = door.put(url, content=faults({"then": {}}, {"then": {"eror": 1}}))
        assert wrong.status_code == 400
        assert [mistake.partition(": ")[2].partition(":")[0] for mistake in wrong.json()["error"]] == [
            "spec.rules[0].then",
            "spec.rules[1].then.eror",
        ]
        assert client.get(POOLS).status_code == 503  # a file with a mistake changes nothing
        assert door.delete(url).json() == calm
        assert client.get(POOLS).status_code == 200
