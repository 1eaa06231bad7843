# SPDX-License-Identifier: Apache-2.0
"""The API server of a pod: asked with the pod's token under the pod's authority, at one address and nowhere else."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from issuer_server import jwks
from loopback_server import LoopbackServer, Reply, Seen
from podpass.discovery.api_server import ApiServerOrigin, InClusterApi
from podpass.errors import ConfigError, KeySetError, RefusedError, SourceUnavailableError, UnexpectedAnswerError, UnreachableError
from podpass.names import Secret
from token_forge import NOW, ec_signer

AUTHENTICATED = {"authenticated": True, "user": {"username": "system:serviceaccount:shop:checkout"}, "audiences": ["orders-api"]}


class KubeServer(LoopbackServer):
    """The two answers of an API server that matter here."""

    def __init__(self, authority: trustme.CA) -> None:
        super().__init__(self._reply, authority)
        self.token = "pod-token-1"
        self.override: Reply | None = None

    def _reply(self, seen: Seen) -> Reply:
        if self.override is not None:
            return self.override
        if seen.headers.get("authorization") != f"Bearer {self.token}":
            return Reply(401, _status(401, "Unauthorized", "Unauthorized"))
        if seen.path == "/openid/v1/jwks":
            # As a real one: nothing but this type, and 406 to whoever does not accept it.
            is_accepted = "application/jwk-set+json" in seen.headers["accept"] or "*/*" in seen.headers["accept"]
            keys = Reply(body=jwks(ec_signer("k1")), headers={"cache-control": "public, max-age=3600"})
            return keys if is_accepted else Reply(406)
        return Reply(201, json.dumps({"kind": "TokenReview", "status": AUTHENTICATED}).encode())


def _status(code: int, reason: str, message: str) -> bytes:
    return json.dumps({"kind": "Status", "code": code, "reason": reason, "message": message}).encode()


@pytest.fixture
def server(authority: trustme.CA) -> Iterator[KubeServer]:
    with KubeServer(authority) as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path, ca_file: Path) -> Path:
    (tmp_path / "token").write_text("pod-token-1\n")
    (tmp_path / "ca.crt").write_bytes(ca_file.read_bytes())
    return tmp_path


@pytest.fixture
def api(server: KubeServer, folder: Path) -> Iterator[InClusterApi]:
    host, port = server.url.removeprefix("https://").split(":")
    api = InClusterApi.find({"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}, folder)
    yield api
    api.close()


def test_keys_are_read_with_the_pods_token(api: InClusterApi, server: KubeServer) -> None:
    published = ApiServerOrigin(api).fetch(NOW)
    assert set(published.keys.keys) == {"k1"}
    assert published.max_age is not None
    assert published.max_age.total_seconds() == 3600
    assert [(seen.method, seen.path) for seen in server.seen] == [("GET", "/openid/v1/jwks")]


def test_the_token_is_read_again_each_time_since_kubelet_swaps_it(api: InClusterApi, server: KubeServer, folder: Path) -> None:
    api.keys()
    server.token = "pod-token-2"
    (folder / "token").write_text("pod-token-2")
    api.keys()
    assert [seen.headers["authorization"] for seen in server.seen] == ["Bearer pod-token-1", "Bearer pod-token-2"]


def test_a_review_is_for_one_audience(api: InClusterApi, server: KubeServer) -> None:
    assert api.review(Secret("subject.token.x", "subject token"), "orders-api") == AUTHENTICATED
    seen = server.seen[0]
    assert (seen.method, seen.path) == ("POST", "/apis/authentication.k8s.io/v1/tokenreviews")
    assert json.loads(seen.body)["spec"] == {"token": "subject.token.x", "audiences": ["orders-api"]}


def test_connections_are_kept_between_questions_and_made_anew_for_another_authority(
    api: InClusterApi, folder: Path, server: KubeServer
) -> None:
    api.keys()
    first = api._connection()
    api.keys()
    assert api._connection() is first
    (folder / "ca.crt").write_text(trustme.CA().cert_pem.bytes().decode())
    with pytest.raises(UnreachableError, match="certificate is not trusted here"):
        api.keys()
    assert len(server.seen) == 2
    first.close()


def test_no_proxy_of_the_environment_gets_between(api: InClusterApi, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 5: the pod's token goes to the API server and nowhere else."""
    with LoopbackServer(lambda _: Reply(), authority) as proxy:
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        api.keys()
        assert proxy.seen == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_does_not_take_the_token_along(api: InClusterApi, server: KubeServer, authority: trustme.CA, status: int) -> None:
    """Invariant 5: never along a redirect, not even to the same server."""
    with LoopbackServer(lambda _: Reply(), authority) as other:
        for location in (f"{other.url}/openid/v1/jwks", f"{server.url}/elsewhere"):
            server.override = Reply(status, headers={"location": location})
            with pytest.raises(UnexpectedAnswerError, match="redirect"):
                api.keys()
        assert other.seen == []
        assert server.count("/elsewhere") == 0


@pytest.mark.parametrize(
    ("question", "cure"),
    [("keys", "system:service-account-issuer-discovery"), ("review", "system:auth-delegator")],
)
def test_a_refusal_names_the_role_that_is_missing(api: InClusterApi, server: KubeServer, question: str, cure: str) -> None:
    server.override = Reply(403, _status(403, "Forbidden", "User eyJhbGciOiJFUzI1NiJ9.e30.c2ln cannot create resource"))
    with pytest.raises(RefusedError) as caught:
        api.keys() if question == "keys" else api.review(Secret("t.t.t", "subject token"), "a")
    assert cure in str(caught.value)
    assert "(403 Forbidden)" in str(caught.value)
    assert "eyJ" not in str(caught.value), "an answer's words are not repeated with a token in them"


def test_no_credential_is_in_any_error(api: InClusterApi, server: KubeServer) -> None:
    """Invariant 4, for the one credential that this room holds."""
    for override in (Reply(500, b"pod-token-1"), Reply(200, b"pod-token-1"), Reply(401, b"pod-token-1")):
        server.override = override
        for ask in (api.keys, lambda: api.review(Secret("subject-token", "subject token"), "a")):
            with pytest.raises((UnexpectedAnswerError, RefusedError, KeySetError)) as caught:
                ask()
            shown = f"{caught.value!r} {caught.value} {caught.value.__cause__!r}"
            assert "pod-token-1" not in shown
            assert "subject-token" not in shown


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"status":null}', b'{"status":[]}'])
def test_a_review_without_a_status_is_no_review(api: InClusterApi, server: KubeServer, body: bytes) -> None:
    server.override = Reply(201, body)
    with pytest.raises(UnexpectedAnswerError):
        api.review(Secret("t", "subject token"), "a")


def test_a_token_that_is_gone_is_an_error_with_its_cure(api: InClusterApi, server: KubeServer, folder: Path) -> None:
    for text in ("", "\n"):
        (folder / "token").write_text(text)
        with pytest.raises(SourceUnavailableError, match="automountServiceAccountToken"):
            api.keys()
    (folder / "token").unlink()
    with pytest.raises(SourceUnavailableError):
        api.keys()
    assert server.seen == []


def test_outside_a_pod_there_is_no_such_server(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="KUBERNETES_SERVICE_HOST is not set"):
        InClusterApi.find({}, tmp_path)
    with pytest.raises(ConfigError, match="token does not exist"):
        InClusterApi.find({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, tmp_path)


def test_the_address_of_an_ipv6_cluster_is_bracketed(folder: Path) -> None:
    assert str(InClusterApi.find({"KUBERNETES_SERVICE_HOST": "fd00::1"}, folder)) == "the API server https://[fd00::1]:443"
