# SPDX-License-Identifier: Apache-2.0
"""The metadata server as a source, against a real HTTP server: what is asked, what is believed, and what an error says."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta

import pytest

from loopback_server import LoopbackServer, Reply, Seen
from podpass.errors import ConfigError, PodpassError, SourceUnavailableError, UnavailableError, UnexpectedAnswerError, UnreachableError
from podpass.google.backoff import Pacing
from podpass.sources.metadata import MetadataSource

AUDIENCE = "https://auth-server-abc-uc.a.run.app"
FLAVOR = {"Metadata-Flavor": "Google"}
TOKEN = "eyJhbGciOiJSUzI1NiJ9.e30.c2lnbmF0dXJl"


class Turns:
    """Answers with one reply after the other; the last one stays."""

    def __init__(self) -> None:
        self.replies = [Reply(200, TOKEN.encode(), FLAVOR)]

    def __call__(self, _: Seen) -> Reply:
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


@pytest.fixture
def turns() -> Turns:
    return Turns()


@pytest.fixture
def server(turns: Turns) -> Iterator[LoopbackServer]:
    with LoopbackServer(turns) as server:
        yield server


class Sleeper:
    """Time that passes by sleeping alone."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def monotonic(self) -> float:
        return sum(self.slept)


@pytest.fixture
def sleeper() -> Sleeper:
    return Sleeper()


@pytest.fixture
def source(server: LoopbackServer, sleeper: Sleeper) -> MetadataSource:
    pacing = Pacing(timedelta(seconds=1), timedelta(seconds=2), timedelta(seconds=8), sleeper.sleep, sleeper.monotonic, lambda: 1.0)
    return MetadataSource(AUDIENCE, server.url.removeprefix("http://"), pacing)


def refusal(source: MetadataSource, kind: type[PodpassError]) -> PodpassError:
    with pytest.raises(kind) as caught:
        source.read()
    assert type(caught.value) is kind
    assert "eyJ" not in str(caught.value)
    return caught.value


SHORT = timedelta(milliseconds=200)


def test_it_asks_as_clients_of_google_do(source: MetadataSource, server: LoopbackServer) -> None:
    assert source.read().reveal() == TOKEN
    (seen,) = server.seen
    path, _, query = seen.path.partition("?")
    assert path == "/computeMetadata/v1/instance/service-accounts/default/identity"
    assert query == "audience=https%3A%2F%2Fauth-server-abc-uc.a.run.app&format=full"
    assert seen.headers["metadata-flavor"] == "Google"
    assert "authorization" not in seen.headers


def test_a_line_feed_is_not_part_of_the_token(source: MetadataSource, turns: Turns) -> None:
    turns.replies = [Reply(200, f"{TOKEN}\n".encode(), FLAVOR)]
    assert source.read().reveal() == TOKEN


def test_it_does_not_go_through_a_proxy(source: MetadataSource, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would ask about itself, and see the token."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert source.read().reveal() == TOKEN


def test_an_answer_without_the_flavor_is_not_believed(source: MetadataSource, turns: Turns, server: LoopbackServer) -> None:
    turns.replies = [Reply(200, TOKEN.encode())]
    error = refusal(source, UnexpectedAnswerError)
    assert error.what.endswith("is no metadata server.")
    assert error.why == "Its answer (200) has no `Metadata-Flavor: Google`."
    assert len(server.seen) == 1


def test_a_redirect_is_not_followed(source: MetadataSource, turns: Turns, server: LoopbackServer) -> None:
    turns.replies = [Reply(302, headers={**FLAVOR, "location": "/elsewhere"})]
    assert "It answered with a redirect (302), which was not followed." in str(refusal(source, UnexpectedAnswerError))
    assert len(server.seen) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_passes_is_asked_about_again(
    source: MetadataSource, turns: Turns, server: LoopbackServer, sleeper: Sleeper, status: int
) -> None:
    turns.replies = [Reply(status, b"later", FLAVOR), Reply(status, b"later", {**FLAVOR, "Retry-After": "3"}), *turns.replies]
    assert source.read().reveal() == TOKEN
    assert len(server.seen) == 3
    assert sleeper.slept == [1.0, 3.0]


def test_what_does_not_pass_ends_with_the_servers_words(source: MetadataSource, turns: Turns, sleeper: Sleeper) -> None:
    turns.replies = [Reply(503, f"not yet ready, had {TOKEN}".encode(), {**FLAVOR, "Retry-After": "5"})]
    error = refusal(source, UnavailableError)
    assert error.what == f"The {source} can give no ID token now (503)."
    assert error.why == "It says: not yet ready, had …."
    assert isinstance(error, UnavailableError)
    assert error.retry_after_s == 5.0
    assert sleeper.slept == [5.0]  # another five would end beyond the eight


@pytest.mark.parametrize(
    ("status", "body", "why", "cure"),
    [
        pytest.param(
            403,
            "Unable to generate access token; IAM returned 403 Forbidden: Permission 'iam.serviceAccounts.getOpenIdToken' denied.\n",
            "It says: Unable to generate access token; IAM returned 403 Forbidden: Permission 'iam.serviceAccounts.getOpenIdToken' denied.",
            "grant its principal roles/iam.workloadIdentityUser on it",
            id="not bound",
        ),
        pytest.param(404, "no account", "It says: no account.", "iam.gke.io/gcp-service-account=EMAIL", id="no annotation"),
        pytest.param(400, f"bad {TOKEN}", "It says: bad ….", "Read the metadata server's own log.", id="else"),
        pytest.param(403, "", "", "roles/iam.workloadIdentityUser", id="without a word"),
    ],
)
def test_a_refusal_says_what_is_missing(
    source: MetadataSource, turns: Turns, server: LoopbackServer, status: int, body: str, why: str, cure: str
) -> None:
    turns.replies = [Reply(status, body.encode(), FLAVOR)]
    error = refusal(source, SourceUnavailableError)
    assert error.what == f"There is no ID token: the {source} refused the one for '{AUDIENCE}' ({status})."
    assert error.why == why
    assert cure in error.next_step
    assert error.full_code == "credential.metadata"
    assert len(server.seen) == 1


def test_a_cure_that_the_server_has_told_is_not_told_again(source: MetadataSource, turns: Turns) -> None:
    """As podpass's own metadata server does."""
    turns.replies = [Reply(404, b"gke-sa acts as itself.\nAnnotate it: kubectl annotate serviceaccount gke-sa", FLAVOR)]
    error = refusal(source, SourceUnavailableError)
    assert error.why == "It says: gke-sa acts as itself. Annotate it: kubectl annotate serviceaccount gke-sa."
    assert error.next_step == ""


def test_without_a_metadata_server_the_error_says_how_to_get_one(sleeper: Sleeper) -> None:
    pacing = Pacing(within=timedelta(seconds=2), sleep=sleeper.sleep, monotonic=sleeper.monotonic)
    error = refusal(MetadataSource(AUDIENCE, "127.0.0.1:9", pacing), UnreachableError)
    assert error.what == "There is no ID token: no metadata server answered at 127.0.0.1:9."
    assert "GCE_METADATA_HOST" in error.next_step
    assert len(sleeper.slept) >= 2


def test_an_empty_answer_is_no_token(source: MetadataSource, turns: Turns) -> None:
    turns.replies = [Reply(200, b" \n", FLAVOR)]
    assert "gave an empty ID token" in str(refusal(source, UnexpectedAnswerError))


def test_an_answer_without_end_is_cut(source: MetadataSource, turns: Turns) -> None:
    turns.replies = [Reply(200, (b"x" * 1024 for _ in range(65)), FLAVOR)]
    assert "too large" in str(refusal(source, UnexpectedAnswerError))


def test_an_answer_that_drips_is_given_up_at_the_deadline(server: LoopbackServer, turns: Turns) -> None:
    given_up = threading.Event()

    def drip() -> Iterator[bytes]:
        for _ in range(3000):  # a minute, at the end of which it would be taken for a token
            yield b"x"
            if given_up.wait(0.02):
                return

    turns.replies = [Reply(200, drip(), FLAVOR)]
    try:
        refusal(MetadataSource(AUDIENCE, server.url.removeprefix("http://"), Pacing(within=SHORT)), UnreachableError)
    finally:
        given_up.set()


def test_so_is_one_whose_head_drips() -> None:
    given_up = threading.Event()

    def serve() -> None:
        with suppress(OSError):
            while not given_up.is_set():
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    connection.sendall(b"HTTP/1.1 200 OK\r\nx: ")
                    while not given_up.wait(0.02):
                        connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        asking = threading.Thread(
            target=refusal, args=(MetadataSource(AUDIENCE, host, Pacing(within=SHORT)), UnreachableError), daemon=True
        )
        asking.start()
        asking.join(30)
        is_over = not asking.is_alive()
        given_up.set()
        socket.create_connection(listener.getsockname()).close()
        serving.join(30)
    assert is_over


@pytest.mark.parametrize(
    ("environ", "host"),
    [
        ({}, "metadata.google.internal"),
        ({"GCE_METADATA_HOST": "127.0.0.1:8181", "GCE_METADATA_ROOT": "other"}, "127.0.0.1:8181"),
        ({"GCE_METADATA_ROOT": "[::1]:8181"}, "[::1]:8181"),
        ({"GCE_METADATA_HOST": ""}, "metadata.google.internal"),
    ],
)
def test_the_server_is_found_as_googles_libraries_find_it(environ: dict[str, str], host: str) -> None:
    assert MetadataSource.from_env(AUDIENCE, environ).host == host


@pytest.mark.parametrize("host", ["evil.example/x", "user@evil.example", "evil.example?x", "a b", "", "host:port", "http://host"])
def test_what_could_be_another_url_is_no_host(host: str) -> None:
    with pytest.raises(ConfigError, match="metadata server is named"):
        MetadataSource(AUDIENCE, host)


def test_it_is_named_for_people(source: MetadataSource, server: LoopbackServer) -> None:
    assert str(source) == f"metadata server {server.url.removeprefix('http://')}"


@pytest.mark.parametrize("host", ["..", "a..b", "[::::]", "a" * 70, "999.1.1.1"])
def test_a_host_that_only_looks_like_one_is_told_when_it_is_asked(host: str) -> None:
    with pytest.raises(ConfigError) as caught:
        MetadataSource(AUDIENCE, host=host).read()
    assert caught.value.full_code == "config.metadata-host"
