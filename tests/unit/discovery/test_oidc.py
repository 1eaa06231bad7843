# SPDX-License-Identifier: Apache-2.0
"""Discovery: real HTTPS on loopback, and every way in which an issuer can be wrong."""

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import trustme

from issuer_server import DISCOVERY_PATH, KEYS_PATH, IssuerServer, document, jwks
from loopback_server import LoopbackServer, Reply
from podpass.discovery import web
from podpass.discovery.oidc import OidcOrigin, _is_own_ground
from podpass.errors import ConfigError, KeySetError, UnexpectedAnswerError, UnreachableError
from podpass.names import Issuer
from recording_proxy import RecordingProxy
from token_forge import NOW, ec_signer

HOUR = timedelta(hours=1)


@pytest.fixture
def origin(issuer: IssuerServer, ca_file: Path) -> OidcOrigin:
    return OidcOrigin(issuer.issuer, ca_file=ca_file)


def test_keys_are_found_through_the_document_and_say_how_long_they_are_fresh(origin: OidcOrigin, issuer: IssuerServer) -> None:
    published = origin.fetch(NOW)
    assert set(published.keys.keys) == {"k1"}
    assert published.max_age == timedelta(seconds=600)
    assert [seen.path for seen in issuer.seen] == [DISCOVERY_PATH, KEYS_PATH]
    assert "application/jwk-set+json" in issuer.seen[1].headers["accept"]
    assert "authorization" not in issuer.seen[1].headers


def test_the_document_is_read_once_an_hour_and_again_when_the_keys_were_not_found(origin: OidcOrigin, issuer: IssuerServer) -> None:
    origin.fetch(NOW)
    origin.fetch(NOW + HOUR / 2)
    assert issuer.count(DISCOVERY_PATH) == 1
    issuer.keys = Reply(404)
    with pytest.raises(UnexpectedAnswerError, match="answered 404"):
        origin.fetch(NOW + HOUR / 2)
    issuer.publish(ec_signer("k2"))
    assert set(origin.fetch(NOW + HOUR / 2).keys.keys) == {"k2"}
    assert issuer.count(DISCOVERY_PATH) == 2
    origin.fetch(NOW + 2 * HOUR)
    assert issuer.count(DISCOVERY_PATH) == 3


def test_a_document_of_another_issuer_is_refused_before_its_keys_are_asked_for(origin: OidcOrigin, issuer: IssuerServer) -> None:
    """Byte for byte: a slash more is another issuer."""
    issuer.document = document(issuer=f"{issuer.issuer.url}/", jwks_uri=f"{issuer.url}{KEYS_PATH}")
    with pytest.raises(UnexpectedAnswerError, match="is of another issuer") as caught:
        origin.fetch(NOW)
    assert caught.value.full_code == "neighbour.wrong-issuer"
    assert issuer.fetches == 0


def test_keys_on_another_host_are_not_fetched(origin: OidcOrigin, issuer: IssuerServer, authority: trustme.CA) -> None:
    """Invariant 2: what an issuer's document says cannot lead to a host that nobody configured."""
    with LoopbackServer(lambda _: Reply(body=jwks(ec_signer("evil"))), authority) as other:
        issuer.document = document(issuer=issuer.issuer.url, jwks_uri=f"{other.url}/keys")
        with pytest.raises(UnexpectedAnswerError, match="leads to keys that are not its own") as caught:
            origin.fetch(NOW)
        assert caught.value.full_code == "neighbour.jwks-uri"
        assert other.seen == []


SHARED = "https://storage.googleapis.com/demo-oidc"


@pytest.mark.parametrize(
    ("uri", "issuer", "is_own"),
    [
        pytest.param("https://o.example/a/keys", "https://o.example/a", True, id="below the path"),
        pytest.param("https://o.example/keys", "https://o.example/a", True, id="on the host"),
        pytest.param("https://O.example/keys?p=1", "https://o.example", True, id="case of a host, query"),
        pytest.param("https://www.googleapis.com/oauth2/v3/certs", "https://accounts.google.com", True, id="Google"),
        pytest.param("https://www.googleapis.com/oauth2/v3/other", "https://accounts.google.com", False, id="Google, another path"),
        pytest.param("https://www.googleapis.com/oauth2/v3/certs", "https://o.example", False, id="Google's keys for another issuer"),
        pytest.param(f"{SHARED}/keys.json", SHARED, True, id="own bucket"),
        pytest.param("https://storage.googleapis.com/demo-oidc2/keys", SHARED, False, id="bucket with the same beginning"),
        pytest.param("https://storage.googleapis.com/other/keys", SHARED, False, id="other bucket"),
        pytest.param(f"{SHARED}/../other/keys", SHARED, False, id="dot segments"),
        pytest.param(f"{SHARED}/%2e%2e/other/keys", SHARED, False, id="encoded dot segments"),
        pytest.param(f"{SHARED}/..\\other", SHARED, False, id="backslash"),
        pytest.param("https://s3.eu-west-1.amazonaws.com/b2/keys", "https://s3.eu-west-1.amazonaws.com/b1", False, id="S3, other bucket"),
        pytest.param("https://b1.s3.amazonaws.com/keys", "https://b1.s3.amazonaws.com/x", True, id="S3, the bucket in the host"),
        pytest.param("http://o.example/keys", "https://o.example", False, id="http"),
        pytest.param("https://o.example:444/keys", "https://o.example", False, id="other port"),
        pytest.param("https://o.example.evil.example/keys", "https://o.example", False, id="longer host"),
        pytest.param("https://u:p@o.example/keys", "https://o.example", False, id="user information"),
        pytest.param("https://o.example/keys#f", "https://o.example", False, id="fragment"),
        pytest.param("https://o.example:x/keys", "https://o.example", False, id="no port"),
        pytest.param("/keys", "https://o.example", False, id="relative"),
    ],
)
def test_keys_lie_on_the_issuers_own_ground(uri: str, issuer: str, is_own: bool) -> None:  # noqa: FBT001 - a row of the table
    assert _is_own_ground(uri, issuer) is is_own


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("path", ["document", "keys"])
def test_redirects_are_not_followed(origin: OidcOrigin, issuer: IssuerServer, path: str, status: int) -> None:
    setattr(issuer, path, Reply(status, headers={"location": f"{issuer.url}/elsewhere"}))
    with pytest.raises(UnexpectedAnswerError, match="redirect"):
        origin.fetch(NOW)
    assert issuer.count("/elsewhere") == 0


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        pytest.param(Reply(500), "answered 500", id="500"),
        pytest.param(Reply(body=b""), "not a JSON object", id="empty"),
        pytest.param(Reply(body=b"<html>"), "not a JSON object", id="HTML"),
        pytest.param(Reply(body=b'["issuer"]'), "not a JSON object", id="list"),
        pytest.param(Reply(body=b"[" * 500_000), "not a JSON object", id="nested"),
        pytest.param(Reply(body=b"{}"), "names nothing", id="no issuer"),
        pytest.param(Reply(body=b"x" * (web.LIMIT_BYTES + 1)), "too large", id="1 MiB and a byte"),
        pytest.param(Reply(body=gzip.compress(b"{}"), headers={"content-encoding": "gzip"}), "compressed", id="compressed"),
    ],
)
def test_what_is_no_discovery_document_is_refused(origin: OidcOrigin, issuer: IssuerServer, reply: Reply, words: str) -> None:
    issuer.document = reply
    with pytest.raises(UnexpectedAnswerError, match=words):
        origin.fetch(NOW)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"keys":[]}', b'{"keys":[{"kty":"oct","kid":"a","k":"AAAA"}]}', b"[]"])
def test_a_set_without_a_usable_key_is_an_error(origin: OidcOrigin, issuer: IssuerServer, body: bytes) -> None:
    issuer.keys = Reply(body=body)
    with pytest.raises(KeySetError):
        origin.fetch(NOW)


def test_100_megabytes_are_cut_off_after_one(origin: OidcOrigin, issuer: IssuerServer) -> None:
    sent = []

    def flood() -> Iterator[bytes]:
        for _ in range(100):
            sent.append(1)
            yield b" " * 1024 * 1024

    issuer.keys = Reply(body=flood())
    with pytest.raises(UnexpectedAnswerError, match="too large"):
        origin.fetch(NOW)
    assert len(sent) < 50


def _drip(stop: threading.Event) -> Iterator[bytes]:
    while not stop.wait(0.02):
        yield b" "


def test_a_body_that_comes_byte_by_byte_is_cut_at_the_deadline(issuer: IssuerServer, ca_file: Path) -> None:
    stop = threading.Event()
    issuer.keys = Reply(body=_drip(stop))
    try:
        with pytest.raises(UnreachableError, match=r"no whole answer within 0\.4 s"):
            OidcOrigin(issuer.issuer, ca_file=ca_file, deadline_s=0.4).fetch(NOW)
    finally:
        stop.set()


@pytest.mark.parametrize("greeting", [b"", b"HTTP/1.1 200 OK\r\nx: "], ids=["silence", "a header without end"])
def test_an_answer_that_never_begins_is_cut_at_the_deadline(greeting: bytes, raw_server: Callable[[bytes], str]) -> None:
    origin = OidcOrigin(Issuer(raw_server(greeting)), deadline_s=0.3, insecure_loopback_http=True)
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:\d+ gave no (whole )?answer"):
        origin.fetch(NOW)


@pytest.fixture
def raw_server() -> Iterator[Callable[[bytes], str]]:
    """Return a server that sends a greeting and then a byte now and then, for ever."""
    import socket  # noqa: PLC0415 - of this fixture

    stop = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def serve(greeting: bytes) -> None:
        connection, _ = listener.accept()
        with connection:
            try:
                connection.sendall(greeting)
                while greeting and not stop.wait(0.02):
                    connection.sendall(b"a")
            except OSError:
                return
            stop.wait(60)

    def start(greeting: bytes) -> str:
        threads.append(threading.Thread(target=serve, args=(greeting,), daemon=True))
        threads[-1].start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    stop.set()
    for thread in threads:
        thread.join(60)
    listener.close()


def test_a_certificate_of_a_foreign_authority_is_refused(issuer: IssuerServer, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.pem"
    trustme.CA().cert_pem.write_to_path(str(foreign))
    with pytest.raises(UnreachableError, match="certificate is not trusted here") as caught:
        OidcOrigin(issuer.issuer, ca_file=foreign).fetch(NOW)
    assert issuer.seen == []
    assert caught.value.next_step.endswith("If it is the API server of the service's own cluster, write keys: apiserver.")


def test_the_issuer_of_a_kubeadm_cluster_has_its_keys_from_the_api_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")  # that nobody answers, whatever the name means here
    with pytest.raises(UnreachableError) as caught:
        OidcOrigin(Issuer("https://kubernetes.default.svc.cluster.local")).fetch(NOW)
    assert caught.value.next_step.startswith("Write keys: apiserver for this issuer, or its keys in a file: kubernetes.default.svc")


def test_an_authority_that_cannot_be_read_is_named(issuer: IssuerServer, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.pem cannot be used"):
        OidcOrigin(issuer.issuer, ca_file=tmp_path / "gone.pem").fetch(NOW)


@pytest.mark.parametrize("url", ["http://o.example", "http://127.0.0.1.evil.example", "http://127.0.0.1:1"])
def test_http_is_refused_before_anything_is_asked(url: str) -> None:
    with pytest.raises(ConfigError, match="It is not https"):
        OidcOrigin(Issuer(url))


def test_an_issuer_on_loopback_is_asked_past_the_proxy_which_could_choose_the_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with RecordingProxy() as proxy, IssuerServer(None, ec_signer("k1")) as plain:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert set(OidcOrigin(plain.issuer, insecure_loopback_http=True).fetch(NOW).keys.keys) == {"k1"}
    assert proxy.shown == []


def test_http_on_loopback_needs_the_opt_out_which_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with IssuerServer(None, ec_signer("k1")) as plain:
        assert set(OidcOrigin(plain.issuer, insecure_loopback_http=True).fetch(NOW).keys.keys) == {"k1"}
    assert "insecure_loopback_http" in caplog.text
    with pytest.raises(ConfigError, match="It is not https"):
        OidcOrigin(Issuer("http://o.example"), insecure_loopback_http=True)


def test_nobody_at_home_is_unreachable(ca_file: Path) -> None:
    with LoopbackServer(lambda _: Reply()) as gone:
        address = gone.url
    with pytest.raises(UnreachableError, match="gave no answer"):
        OidcOrigin(Issuer(address.replace("http:", "https:")), ca_file=ca_file).fetch(NOW)


@pytest.mark.parametrize(
    ("cache_control", "age", "expected"),
    [
        ("max-age=600", "", 600),
        ("public, max-age=3600, must-revalidate", "600", 3000),
        ("Max-Age = 60", "", 60),
        ('max-age="60"', "", 60),
        ("max-age=60", "90", 0),
        ("max-age=60", "x", 60),
        ("no-store, max-age=600", "", 0),
        ("no-cache", "", 0),
        ("s-maxage=600", "", None),
        ("max-age=-1", "", None),
        ("max-age=1e9", "", None),
        ("", "5", None),
    ],
)
def test_freshness_is_read_as_caches_do(cache_control: str, age: str, expected: int | None) -> None:
    assert web.freshness(cache_control, age) == (None if expected is None else timedelta(seconds=expected))


def test_a_key_set_as_a_real_issuer_writes_it_with_other_members(origin: OidcOrigin, issuer: IssuerServer) -> None:
    keys = json.loads(jwks(ec_signer("k1")))
    keys["keys"].append({"kty": "OKP", "crv": "X25519", "kid": "enc", "use": "enc", "x": "AAAA"})
    issuer.keys = Reply(body=json.dumps({**keys, "comment": "rotated daily"}).encode())
    assert set(origin.fetch(NOW).keys.keys) == {"k1"}
