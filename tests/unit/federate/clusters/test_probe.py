# SPDX-License-Identifier: Apache-2.0
"""One API server is asked past the load balancer, under the name that its certificate has."""

import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from podpass.errors import ConfigError, NeighbourError, UnexpectedAnswerError
from podpass.federate.clusters import probe
from podpass.federate.clusters.evidence import Node
from podpass.federate.clusters.probe import Sight, look_through
from podpass.kube.client import KubeClient, connect
from podpass.kube.kubeconfig import ClusterAccess, from_dict
from podpass.verify import parse
from token_forge import ec_signer
from unit.kube.api_server import kubeconfig, status

NEW, OLD = "https://new.example", "https://old.example"


class Server:
    """A server that knows `OLD` alone, and tells a token of it apart as kube-apiserver does."""

    def __init__(self) -> None:
        self.asked: list[httpx2.Request] = []
        self.answers: dict[str, httpx2.Response] = {}

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        path = request.url.path
        if path in self.answers:
            return self.answers[path]
        if path.endswith("tokenreviews"):
            issuer = parse(json.loads(request.content)["spec"]["token"]).payload.get("iss")
            error = "[invalid bearer token, invalid signature, no keys found]" if issuer == OLD else "invalid bearer token"
            return httpx2.Response(201, json={"status": {"user": {}, "error": error}})
        if path.endswith("/token"):
            token = ec_signer().token({"iss": OLD})
            return httpx2.Response(201, json={"status": {"token": token, "expirationTimestamp": "2030-01-01T00:00:00Z"}})
        jwk = {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "k", **_point()}
        plain = {
            "/readyz": "ok",
            "/metrics": "# HELP\nprocess_start_time_seconds 1.7e+09\n",
            "/openid/v1/jwks": json.dumps({"keys": [jwk]}),
        }
        return httpx2.Response(200, text=plain[path])


def _point() -> dict[str, str]:
    from podpass.verify import public_jwk  # noqa: PLC0415 - its two numbers only

    return {name: value for name, value in public_jwk(ec_signer().key.public_key(), "k").items() if name in {"x", "y"}}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    """Stand for every server that is connected to."""
    made = Server()
    connected: Callable[[ClusterAccess], KubeClient] = lambda access: connect(access, transport=httpx2.MockTransport(made))  # noqa: E731
    monkeypatch.setattr(probe, "connect", connected)
    return made


def test_a_server_is_asked_by_its_own_address_under_the_clusters_name(server: Server) -> None:
    look = look_through(from_dict(kubeconfig()))
    sight = look(Node("cp-2", addresses=("10.0.0.2",)), frozenset({OLD, NEW}))
    assert sight == Sight(1.7e9, OLD, frozenset({"k"}), frozenset({OLD}))
    assert {request.url.netloc for request in server.asked} == {b"10.0.0.2:6443"}
    assert {request.extensions.get("sni_hostname") for request in server.asked} == {"demo.example"}


def test_where_no_certificate_is_checked_the_credential_goes_to_the_named_address_only(server: Server) -> None:
    unchecked: dict[str, Any] = {"insecure-skip-tls-verify": True}
    access = from_dict(kubeconfig(**unchecked))
    with pytest.raises(ConfigError, match=r"10\.0\.0\.2") as caught:
        look_through(access)(Node("cp-2", addresses=("10.0.0.2",)), frozenset())
    assert caught.value.full_code == "config.kubeconfig-insecure"
    assert server.asked == []
    look_through(access, server_of=lambda _: access.server)(Node("cp-2"), frozenset())
    assert {request.url.netloc for request in server.asked} == {b"demo.example:6443"}


def test_addresses_of_ipv6_are_written_as_urls_write_them(server: Server) -> None:
    look_through(from_dict(kubeconfig()))(Node("cp-2", addresses=("fd00::2",)), frozenset())
    assert server.asked[0].url.host == "fd00::2"


def test_a_server_that_is_not_ready_is_not_looked_at_further(server: Server) -> None:
    server.answers["/readyz"] = status(403, "Forbidden", "no")
    with pytest.raises(NeighbourError):
        look_through(from_dict(kubeconfig()))(Node("cp-2", addresses=("10.0.0.2",)), frozenset())
    assert len(server.asked) == 1


def test_a_server_that_does_not_say_since_when_it_runs_is_no_gate(server: Server) -> None:
    server.answers["/metrics"] = httpx2.Response(200, text="nothing")
    with pytest.raises(UnexpectedAnswerError, match="since when it runs"):
        look_through(from_dict(kubeconfig()))(Node("cp-2"), frozenset())
