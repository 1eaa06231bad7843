# SPDX-License-Identifier: Apache-2.0
"""The core of the clients: the environment, what it says of itself, and what it never shows."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import cache
from pathlib import Path
from threading import Event

import pytest

from podpass.client import Bearer, Origin
from podpass.client.tokens import AskedTokens
from podpass.clock import SteppedClock
from podpass.errors import ConfigError, SourceUnavailableError, UnreachableError
from podpass.names import Secret
from podpass.sources.file import FileSource
from projected_volume import ProjectedVolume
from token_forge import NOW, NOW_S, ec_signer, kubernetes_claims

SECOND = timedelta(seconds=1)
HERE = Origin.of_url("https://auth-server.example")
ELSEWHERE = Origin.of_url("https://elsewhere.example")


@cache
def token(number: int = 1, **changed: object) -> str:
    return ec_signer().token(kubernetes_claims(jti=f"token-{number}", **changed))


T1, T2 = token(1), token(2)


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
        assert bearer.header(HERE) == f"Bearer {token(exp=None)}"
        assert bearer.header(ELSEWHERE) is None


GOOD = {"TOKEN_FILE": "/var/run/secrets/tokens/gke-sa", "SERVICE_ENDPOINT": "https://auth-server.example"}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        pytest.param({"TOKEN_FILE": ""}, "PODPASS_TOKEN_FILE or TOKEN_FILE is not set", id="no file"),
        pytest.param({"SERVICE_ENDPOINT": ""}, "SERVICE_ENDPOINT is not set", id="no endpoint"),
        pytest.param({"SERVICE_ENDPOINT": "auth-server"}, "is not the URL of a service", id="no URL"),
        pytest.param({"SERVICE_ENDPOINT": "http://auth-server.example"}, "No token is sent to http://auth-server.example", id="http"),
        pytest.param({"PODPASS_TOKEN_FILE": "/other"}, "PODPASS_TOKEN_FILE and TOKEN_FILE differ", id="two files"),
        pytest.param({"IDENTITY": "google"}, "Calls with a Google identity are not there yet", id="google"),
        pytest.param({"IDENTITY": "Cluster"}, "IDENTITY is 'Cluster'", id="unknown identity"),
        pytest.param({"IDENTITY": "cluster", "PODPASS_IDENTITY": "google"}, "differ", id="two identities"),
    ],
)
def test_a_wrong_environment_is_told(changed: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Bearer.from_env({**GOOD, **changed})


def test_the_missing_volume_of_the_environment_is_described_with_its_audience() -> None:
    with pytest.raises(SourceUnavailableError) as caught:
        Bearer.from_env({**GOOD, "TOKEN_FILE": "/nowhere/gke-sa"}).header(HERE)
    assert caught.value.next_step == (
        "Declare a projected volume in the pod, and mount it at /nowhere: a serviceAccountToken with path 'gke-sa', "
        "audience 'https://auth-server.example' and expirationSeconds 3600."
    )


def test_nothing_shows_the_token(bearer: Bearer, caplog: pytest.LogCaptureFixture) -> None:
    """Invariant 4."""
    caplog.set_level(logging.DEBUG)
    bearer.header(HERE)
    bearer.header(ELSEWHERE)
    bearer.second(HERE, f"Bearer {T1}")
    assert "eyJ" not in f"{bearer!r} {caplog.text}"
    assert repr(bearer).endswith("token for https://auth-server.example>")


def test_junk_is_not_shown_in_the_error_that_it_causes(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("my-secret-password")
    with pytest.raises(SourceUnavailableError) as caught:
        Bearer(FileSource(tmp_path / "token"), origins=[str(HERE)]).header(HERE)
    assert "my-secret" not in f"{caught.value!r} {caught.value} {caught.value.__cause__!r}"
    assert caught.value.full_code == "credential.no-token"


def test_an_origin_without_a_token_is_told_once(bearer: Bearer, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(100):
        for _ in range(2):
            assert bearer.header(Origin("https", f"h{number}", 443)) is None
    assert len(caplog.records) == 32
    assert caplog.messages[0] == "No token is sent to https://h0: it is not one of https://auth-server.example"


def test_a_clock_that_is_set_back_makes_it_look_again(bearer: Bearer, volume: ProjectedVolume, clock: SteppedClock) -> None:
    bearer.header(HERE)
    volume.swap(T2)
    clock.step(-timedelta(hours=1))
    assert bearer.header(HERE) == f"Bearer {T2}"


def test_a_file_that_is_rewritten_in_place_is_seen_too(bearer: Bearer, volume: ProjectedVolume, clock: SteppedClock) -> None:
    bearer.header(HERE)
    volume.path.write_text(T2)
    clock.step(SECOND)
    assert bearer.header(HERE) == f"Bearer {T2}"


def test_an_unchanged_file_is_not_read_again(bearer: Bearer, volume: ProjectedVolume, clock: SteppedClock) -> None:
    bearer.header(HERE)
    volume.path.chmod(0)  # root reads it all the same; what counts is that nothing is parsed anew
    held = bearer._tokens._held
    clock.step(10 * SECOND)
    bearer.header(HERE)
    assert bearer._tokens._held is held


def test_a_file_that_vanishes_is_an_error_even_if_its_token_still_holds(
    bearer: Bearer, volume: ProjectedVolume, clock: SteppedClock
) -> None:
    bearer.header(HERE)
    volume.path.unlink()
    clock.step(SECOND)
    with pytest.raises(SourceUnavailableError, match="does not exist"):
        bearer.header(HERE)


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
        self.gate.wait(10)
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
        headers = [threads.submit(bearer.header, HERE) for _ in range(50)]
        desk.gate.set()
        assert {header.result(10) for header in headers} == {f"Bearer {token(1, exp=NOW_S + 3600)}"}
    assert desk.asked == 1


def test_the_event_loop_goes_on_while_such_a_source_is_asked(clock: SteppedClock) -> None:
    desk = Desk()
    desk.gate.clear()
    bearer = Bearer(desk, origins=[str(HERE)], clock=clock)

    async def ask() -> str | None:
        asking = asyncio.create_task(bearer.header_async(HERE))
        assert await asyncio.to_thread(desk.is_asked.wait, 10)
        desk.gate.set()  # the loop gets here only if it was not kept waiting
        return await asking

    assert asyncio.run(ask()) == f"Bearer {token(1, exp=NOW_S + 3600)}"
    assert asyncio.run(bearer.header_async(ELSEWHERE)) is None
    assert asyncio.run(bearer.second_async(HERE, f"Bearer {token(1, exp=NOW_S + 3600)}")) is None


def test_a_source_that_cannot_be_asked_costs_nothing_until_the_token_ends(clock: SteppedClock, caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()
    bearer = Bearer(desk, origins=[str(HERE)], clock=clock)
    first = bearer.header(HERE)
    desk.error = UnreachableError("The cluster gave no answer.")
    clock.step(3599 * SECOND)
    assert bearer.header(HERE) == first
    assert bearer.second(HERE, str(first)) is None
    assert "could not be renewed" in caplog.text
    clock.step(SECOND)
    with pytest.raises(UnreachableError):
        bearer.header(HERE)


def test_a_token_that_has_ended_when_it_comes_is_none(clock: SteppedClock) -> None:
    desk = Desk()
    desk.exp_s = NOW_S
    with pytest.raises(SourceUnavailableError, match="has ended"):
        Bearer(desk, origins=[str(HERE)], clock=clock).header(HERE)


def test_whoever_was_refused_with_the_last_token_gets_the_present_one(clock: SteppedClock) -> None:
    desk = Desk()
    tokens = AskedTokens(desk, clock)
    present = tokens.fetch()
    assert tokens.renew(Secret("an older one", "subject token")) == present
    assert tokens.renew(present) is None
    assert desk.asked == 1


def test_a_token_without_an_end_never_ends(tmp_path: Path, clock: SteppedClock) -> None:
    (tmp_path / "token").write_text(token(exp=None))
    bearer = Bearer(FileSource(tmp_path / "token"), origins=[str(HERE)], clock=clock)
    clock.step(timedelta(days=3650))
    assert bearer.header(HERE) == f"Bearer {token(exp=None)}"
