# SPDX-License-Identifier: Apache-2.0
"""The core of the clients: the environment, what it says of itself, and what it never shows."""

import asyncio
import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import cache
from pathlib import Path
from threading import Event

import pytest

from forking import forks
from podpass.client import Bearer, Origin
from podpass.client.environment import read_environment
from podpass.client.tokens import AskedTokens, FileTokens
from podpass.clock import SteppedClock
from podpass.errors import ConfigError, ExchangeUnavailableError, SourceUnavailableError, UnexpectedAnswerError, UnreachableError
from podpass.names import Secret
from podpass.sources.file import FileSource
from podpass.sources.metadata import MetadataSource
from projected_volume import ProjectedVolume
from token_forge import NOW, NOW_S, ec_signer, kubernetes_claims

SECOND = timedelta(seconds=1)
HERE = Origin.of_url("https://auth-server.example")
ELSEWHERE = Origin.of_url("https://elsewhere.example")


@cache
def token(number: int = 1, **changed: object) -> str:
    return ec_signer().token(kubernetes_claims(jti=f"token-{number}", **changed))


T1, T2 = token(1), token(2)


def header(number: int) -> dict[str, str]:
    """Return what a request gets with a token of `Desk`."""
    return {"authorization": f"Bearer {token(number, exp=NOW_S + 3600)}"}


def until(holds: Callable[[], bool]) -> None:
    """Wait for another thread, at most a minute."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture
def volume(tmp_path: Path) -> ProjectedVolume:
    return ProjectedVolume(tmp_path, T1)


@pytest.fixture
def bearer(volume: ProjectedVolume, clock: SteppedClock) -> Bearer:
    return Bearer(FileSource(volume.path), origins=[str(HERE)], clock=clock)


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock(NOW)


@pytest.mark.parametrize("names", [("PODPASS_TOKEN_FILE", "PODPASS_IDENTITY"), ("TOKEN_FILE", "IDENTITY")])
def test_the_environment_of_the_article_is_enough(names: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "gke-sa").write_text(token(exp=None))
    file, identity = names
    environ = {file: str(tmp_path / "gke-sa"), identity: "cluster", "SERVICE_ENDPOINT": "https://auth-server.example/private?x=1"}
    for changed in (environ, {**environ, identity: ""}):
        bearer = Bearer.from_env(changed)
        assert bearer.headers(HERE) == {"authorization": f"Bearer {token(exp=None)}"}
        assert bearer.headers(ELSEWHERE) == {}


@pytest.mark.parametrize("audience", ["https://kubernetes.default.svc.cluster.local", ["auth-server", "k3s"]])
def test_a_token_that_an_api_server_takes_goes_to_no_other_service(audience: object, tmp_path: Path, clock: SteppedClock) -> None:
    whole = ec_signer().token(kubernetes_claims(aud=audience))
    (tmp_path / "token").write_text(whole)
    source = FileSource(tmp_path / "token", audience="https://auth-server.example")
    with pytest.raises(SourceUnavailableError, match=r"could act there in this pod's name\. Declare a projected volume") as caught:
        Bearer(source, origins=[str(HERE)], clock=clock).headers(HERE)
    assert caught.value.full_code == "credential.api-audience"
    there = Origin.of_url("https://kubernetes.default.svc")
    assert Bearer(source, origins=[str(there)], clock=clock).headers(there) == {"authorization": f"Bearer {whole}"}
    both = Bearer(source, origins=[str(there), str(HERE)], clock=clock)
    for origin in (there, HERE):
        with pytest.raises(SourceUnavailableError, match="is not sent"):
            both.headers(origin)


@pytest.mark.parametrize(
    ("identity", "words"),
    [
        ("cluster", "<Bearer file /var/run/secrets/tokens/gke-sa for https://auth-server.example>"),
        ("google", "<Bearer metadata server 127.0.0.1:8080 for https://auth-server.example>"),
        (
            "google+cluster",
            "<Bearer file /var/run/secrets/tokens/gke-sa and metadata server 127.0.0.1:8080 for https://auth-server.example>",
        ),
    ],
)
def test_the_identity_says_which_tokens_are_sent(identity: str, words: str) -> None:
    assert repr(Bearer.from_env({**GOOD, "IDENTITY": identity, "GCE_METADATA_HOST": "127.0.0.1:8080"})) == words


@pytest.mark.parametrize(
    ("changed", "audience"),
    [
        pytest.param({}, "https://auth-server.example", id="origin"),
        pytest.param({"SERVICE_ENDPOINT": "https://auth-server.example:443/private?x=1"}, "https://auth-server.example", id="path"),
        pytest.param({"SERVICE_AUDIENCE": "orders"}, "orders", id="custom audience"),
        pytest.param({"PODPASS_AUDIENCE": "of-a-guard"}, "https://auth-server.example", id="a guard's own is another matter"),
    ],
)
def test_the_id_token_is_for_the_origin_of_the_service_unless_told_otherwise(changed: dict[str, str], audience: str) -> None:
    source = read_environment({**GOOD, "IDENTITY": "google", **changed}).source
    assert source == MetadataSource(audience, "metadata.google.internal")


GOOD = {"TOKEN_FILE": "/var/run/secrets/tokens/gke-sa", "SERVICE_ENDPOINT": "https://auth-server.example"}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        pytest.param({"TOKEN_FILE": ""}, "PODPASS_TOKEN_FILE or TOKEN_FILE is not set", id="no file"),
        pytest.param({"SERVICE_ENDPOINT": ""}, "SERVICE_ENDPOINT is not set", id="no endpoint"),
        pytest.param({"SERVICE_ENDPOINT": "auth-server"}, "is not the URL of a service", id="no URL"),
        pytest.param({"SERVICE_ENDPOINT": "http://auth-server.example"}, "No token is sent to http://auth-server.example", id="http"),
        pytest.param({"SERVICE_ENDPOINT": "http://x.svc.evil.com"}, "No token is sent to http://x.svc.evil.com", id="http, lookalike"),
        pytest.param({"PODPASS_CLUSTER_DOMAIN": "k8s..x"}, "is no domain of a cluster", id="cluster domain"),
        pytest.param({"PODPASS_TOKEN_FILE": "/other"}, "PODPASS_TOKEN_FILE and TOKEN_FILE differ", id="two files"),
        pytest.param({"IDENTITY": "google", "GCE_METADATA_HOST": "evil.example/x"}, "metadata server is named", id="metadata host"),
        pytest.param({"IDENTITY": "google+cluster", "TOKEN_FILE": ""}, "TOKEN_FILE is not set", id="both, no file"),
        pytest.param({"IDENTITY": "Cluster"}, "IDENTITY is 'Cluster'", id="unknown identity"),
        pytest.param({"IDENTITY": "cluster", "PODPASS_IDENTITY": "google"}, "differ", id="two identities"),
    ],
)
def test_a_wrong_environment_is_told(changed: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Bearer.from_env({**GOOD, **changed})


def test_the_missing_volume_of_the_environment_is_described_with_its_audience() -> None:
    with pytest.raises(SourceUnavailableError) as caught:
        Bearer.from_env({**GOOD, "TOKEN_FILE": "/nowhere/gke-sa"}).headers(HERE)
    assert caught.value.next_step == (
        "Declare a projected volume in the pod, and mount it at /nowhere: a serviceAccountToken with path 'gke-sa', "
        "audience 'https://auth-server.example' and expirationSeconds 3600."
    )


def test_nothing_shows_the_token(bearer: Bearer, caplog: pytest.LogCaptureFixture) -> None:
    """Invariant 4."""
    caplog.set_level(logging.DEBUG)
    bearer.headers(HERE)
    bearer.headers(ELSEWHERE)
    bearer.second(HERE, {"authorization": f"Bearer {T1}"})
    assert "eyJ" not in f"{bearer!r} {caplog.text}"
    assert repr(bearer).endswith("token for https://auth-server.example>")


def test_junk_is_not_shown_in_the_error_that_it_causes(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("my-secret-password")
    with pytest.raises(SourceUnavailableError) as caught:
        Bearer(FileSource(tmp_path / "token"), origins=[str(HERE)]).headers(HERE)
    assert "my-secret" not in f"{caught.value!r} {caught.value} {caught.value.__cause__!r}"
    assert caught.value.full_code == "credential.no-token"


def test_an_origin_without_a_token_is_told_once(bearer: Bearer, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(100):
        for _ in range(2):
            assert bearer.headers(Origin("https", f"h{number}", 443)) == {}
    assert len(caplog.records) == 32
    assert caplog.messages[0] == "No token is sent to https://h0: it is not one of https://auth-server.example"


def test_a_clock_that_is_set_back_makes_it_look_again(bearer: Bearer, volume: ProjectedVolume, clock: SteppedClock) -> None:
    bearer.headers(HERE)
    volume.swap(T2)
    clock.step(-timedelta(hours=1))
    assert bearer.headers(HERE) == {"authorization": f"Bearer {T2}"}


def test_a_file_that_is_rewritten_in_place_is_seen_too(bearer: Bearer, volume: ProjectedVolume, clock: SteppedClock) -> None:
    bearer.headers(HERE)
    volume.path.write_text(T2)
    clock.step(SECOND)
    assert bearer.headers(HERE) == {"authorization": f"Bearer {T2}"}


def test_an_unchanged_file_is_not_read_again(bearer: Bearer, volume: ProjectedVolume, clock: SteppedClock) -> None:
    bearer.headers(HERE)
    volume.path.chmod(0)  # root reads it all the same; what counts is that nothing is parsed anew
    ((_, tokens),) = bearer._tokens
    assert isinstance(tokens, FileTokens)
    held = tokens._held
    clock.step(10 * SECOND)
    bearer.headers(HERE)
    assert tokens._held is held


def test_a_file_that_vanishes_is_an_error_even_if_its_token_still_holds(
    bearer: Bearer, volume: ProjectedVolume, clock: SteppedClock
) -> None:
    bearer.headers(HERE)
    volume.path.unlink()
    clock.step(SECOND)
    with pytest.raises(SourceUnavailableError, match="does not exist"):
        bearer.headers(HERE)


class Desk:
    """A source that has to be asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.error: Exception | None = None
        self.is_asked, self.gate = Event(), Event()
        self.gate.set()
        self.exp_s = NOW_S + 3600

    def read(self) -> Secret[str]:
        self.asked += 1
        self.is_asked.set()
        self.gate.wait(60)
        if self.error:
            raise self.error
        return Secret(token(self.asked, exp=self.exp_s), "subject token")

    def __str__(self) -> str:
        return "TokenRequest for shop/checkout"


def test_fifty_threads_ask_such_a_source_once(clock: SteppedClock) -> None:
    desk = Desk()
    desk.gate.clear()
    bearer = Bearer(desk, origins=[str(HERE)], clock=clock)
    with ThreadPoolExecutor(50) as threads:
        headers = [threads.submit(bearer.headers, HERE) for _ in range(50)]
        desk.gate.set()
        assert all(each.result(60) == header(1) for each in headers)
    assert desk.asked == 1


def test_fifty_threads_wait_for_one_failure_not_for_fifty(clock: SteppedClock) -> None:
    desk = Desk()
    desk.gate.clear()
    desk.error = UnreachableError("The cluster gave no answer.", "", "Check that it runs.")
    tokens = AskedTokens(desk, clock)
    with ThreadPoolExecutor(50) as threads:
        waiting = [threads.submit(tokens.fetch) for _ in range(50)]
        assert desk.is_asked.wait(60)
        until(threads._work_queue.empty)
        desk.gate.set()
        assert all(isinstance(each.exception(60), ExchangeUnavailableError) for each in waiting)
    assert desk.asked == 1
    with pytest.raises(
        ExchangeUnavailableError, match=r"There is no token of TokenRequest for shop/checkout at hand.* The cluster gave no answer"
    ) as caught:
        tokens.fetch()
    assert caught.value.next_step.startswith("Check that it runs. Ask again in ")
    assert desk.asked == 1
    clock.step(2 * SECOND)
    desk.error = None
    assert tokens.fetch()


def test_the_event_loop_goes_on_while_such_a_source_is_asked(clock: SteppedClock) -> None:
    desk = Desk()
    desk.gate.clear()
    bearer = Bearer(desk, origins=[str(HERE)], clock=clock)

    async def ask() -> dict[str, str]:
        asking = asyncio.create_task(bearer.headers_async(HERE))
        assert await asyncio.to_thread(desk.is_asked.wait, 60)
        desk.gate.set()  # the loop gets here only if it was not kept waiting
        return await asking

    assert asyncio.run(ask()) == header(1)
    assert asyncio.run(bearer.headers_async(ELSEWHERE)) == {}
    assert asyncio.run(bearer.second_async(HERE, header(1))) == {}


def test_the_next_token_is_fetched_behind_the_requests_back(clock: SteppedClock) -> None:
    desk = Desk()
    bearer = Bearer(desk, origins=[str(HERE)], clock=clock)
    following = header(2)  # signed once, before two threads want it
    bearer.headers(HERE)
    clock.step(2879 * SECOND)
    bearer.headers(HERE)
    assert desk.asked == 1
    clock.step(SECOND)
    desk.gate.clear()
    desk.is_asked.clear()
    for _ in range(50):
        assert bearer.headers(HERE) == header(1)  # nobody waits for the gate
    assert desk.is_asked.wait(60)
    desk.gate.set()
    until(lambda: bearer.headers(HERE) == following)
    assert desk.asked == 2


def test_a_request_at_the_very_end_of_a_token_waits_for_the_next(clock: SteppedClock) -> None:
    desk = Desk()
    bearer = Bearer(desk, origins=[str(HERE)], clock=clock)
    bearer.headers(HERE)
    clock.step(3570 * SECOND)
    assert bearer.headers(HERE) == header(2)


def test_a_source_that_cannot_be_asked_costs_nothing_until_the_token_ends(clock: SteppedClock, caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()
    bearer = Bearer(desk, origins=[str(HERE)], clock=clock)
    first = bearer.headers(HERE)
    desk.error = UnreachableError("The cluster gave no answer.")
    clock.step(2880 * SECOND)
    for _ in range(50):
        assert bearer.headers(HERE) == first
    until(lambda: "could not be asked" in caplog.text)
    clock.step(689 * SECOND)
    # Asked again and again, since the look of before may be about to end still.
    until(lambda: bearer.headers(HERE) == first and "2 in a row" in caplog.text)
    for _ in range(50):
        assert bearer.headers(HERE) == first
    assert desk.asked == 3  # once, and twice behind the back
    assert bearer.second(HERE, first) == {}
    clock.step(SECOND)
    with pytest.raises(ExchangeUnavailableError):
        bearer.headers(HERE)


@forks
def test_a_child_of_a_fork_does_not_wait_for_a_thread_of_its_parent(clock: SteppedClock) -> None:
    desk = Desk()
    tokens = AskedTokens(desk, clock)
    with tokens._keeper._lock, tokens._neighbour._lock:  # as a thread that asks at the moment of the fork
        child = os.fork()
        if child == 0:
            os._exit(0 if tokens.fetch() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_token_that_has_ended_when_it_comes_is_none(clock: SteppedClock) -> None:
    desk = Desk()
    desk.exp_s = NOW_S
    with pytest.raises(UnexpectedAnswerError, match="has ended already"):
        Bearer(desk, origins=[str(HERE)], clock=clock).headers(HERE)


def test_whoever_was_refused_with_the_last_token_gets_the_present_one(clock: SteppedClock) -> None:
    desk = Desk()
    tokens = AskedTokens(desk, clock)
    present = tokens.fetch()
    assert tokens.renew(Secret("an older one", "subject token")) == present
    assert tokens.renew(present) is None
    assert desk.asked == 1


def test_a_source_that_gives_the_refused_token_again_gives_no_other(clock: SteppedClock) -> None:
    """As a metadata server does, which keeps tokens itself."""
    desk = Desk()
    tokens = AskedTokens(desk, clock)
    present = tokens.fetch()
    clock.step(10 * SECOND)
    desk.asked = 0
    assert tokens.renew(present) is None
    assert desk.asked == 1


class TestTwoTokens:
    """The cluster's in `Authorization`, and Google's in `X-Serverless-Authorization`."""

    @pytest.fixture
    def bearer(self, volume: ProjectedVolume, clock: SteppedClock) -> Bearer:
        return Bearer(FileSource(volume.path), serverless=Desk(), origins=[str(HERE)], clock=clock)

    def test_both_go_to_the_origin_and_none_elsewhere(self, bearer: Bearer) -> None:
        both = {"authorization": f"Bearer {T1}", "x-serverless-authorization": header(1)["authorization"]}
        assert bearer.headers(HERE) == asyncio.run(bearer.headers_async(HERE)) == both
        assert bearer.headers(ELSEWHERE) == asyncio.run(bearer.headers_async(ELSEWHERE)) == {}

    def test_one_that_somebody_has_set_leaves_the_other(self, bearer: Bearer) -> None:
        assert bearer.headers(HERE, {"authorization"}).keys() == {"x-serverless-authorization"}
        assert bearer.headers(HERE, {"x-serverless-authorization"}).keys() == {"authorization"}
        assert bearer.headers(HERE, {"authorization", "x-serverless-authorization"}) == {}

    def test_a_second_try_has_what_is_new(self, bearer: Bearer, volume: ProjectedVolume) -> None:
        sent = bearer.headers(HERE)
        assert bearer.second(HERE, sent) == {}
        volume.swap(T2)
        assert bearer.second(HERE, sent) == {"authorization": f"Bearer {T2}"}
        assert bearer.second(ELSEWHERE, sent) == {}

    def test_neither_is_shown(self, bearer: Bearer, caplog: pytest.LogCaptureFixture) -> None:
        """Invariant 4."""
        caplog.set_level(logging.DEBUG)
        bearer.second(HERE, bearer.headers(HERE))
        assert "eyJ" not in f"{bearer!r} {caplog.text}"
        assert repr(bearer).endswith("token and TokenRequest for shop/checkout for https://auth-server.example>")


def test_a_token_without_an_end_never_ends(tmp_path: Path, clock: SteppedClock) -> None:
    (tmp_path / "token").write_text(token(exp=None))
    bearer = Bearer(FileSource(tmp_path / "token"), origins=[str(HERE)], clock=clock)
    clock.step(timedelta(days=3650))
    assert bearer.headers(HERE) == {"authorization": f"Bearer {token(exp=None)}"}
