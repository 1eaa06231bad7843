# SPDX-License-Identifier: Apache-2.0
"""A pod's own server: what it knows, what it answers before it knows, and what happens when an annotation changes."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from podpass.errors import (
    ConfigError,
    ExchangeRefusedError,
    ExchangeUnavailableError,
    PodpassError,
    RefusedError,
    UnavailableError,
    UnreachableError,
)
from podpass.exchange.credential_config import CredentialConfig
from podpass.exchange.tokens import AccessToken, IdToken
from podpass.metadata.account import Settings
from podpass.metadata.sidecar import Pace, Sidecar
from podpass.metadata.tree import Value
from podpass.names import ProviderName, Secret, ServiceAccountRef
from token_forge import kubernetes_claims, rsa_signer

PROVIDER = ProviderName.parse("projects/123/locations/global/workloadIdentityPools/demo-pool/providers/demo-oidc")
EMAIL = "/computeMetadata/v1/instance/service-accounts/default/email"
FIRST, SECOND = (f"{name}@demo-project.iam.gserviceaccount.com" for name in ("first", "second"))
QUICK = Pace(reading_s=0.01, retry_s=0.01, patience_s=5, warming_s=5)
ENDS = datetime(2026, 1, 1, tzinfo=UTC)


class Tokens:
    """Tokens of one identity, which tell whose they are; `error` is raised in their place."""

    made: list["Tokens"]

    def __init__(self, identity: CredentialConfig, error: PodpassError | None = None) -> None:
        self.identity = identity
        self.error = error
        self.asked = 0
        self.is_closed = False
        self.silence: asyncio.Event | None = None

    async def access_token_async(self, scopes: tuple[str, ...] | None = None) -> AccessToken:
        self.asked += 1
        if self.silence:
            await self.silence.wait()
        if self.error:
            raise self.error
        return AccessToken(Secret(f"{self.identity.service_account} {scopes}", "access token"), ENDS)

    async def id_token_async(self, audience: str) -> IdToken:
        return IdToken(Secret(f"{self.identity.service_account} {audience}", "ID token"), ENDS)

    def close(self) -> None:
        self.is_closed = True


class Pod:
    """A pod's token file, its account's annotations, and the tokens that were made."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "token"
        self.file.write_text(rsa_signer().token(kubernetes_claims(aud=[PROVIDER.audience])))
        self.annotated: Mapping[str, str] | PodpassError = {"iam.gke.io/gcp-service-account": FIRST}
        self.tokens: list[Tokens] = []
        self.error: PodpassError | None = None
        self.readings = 0

    def annotations(self, account: ServiceAccountRef) -> Mapping[str, str]:
        assert str(account) == "shop/checkout"
        self.readings += 1
        if isinstance(self.annotated, PodpassError):
            raise self.annotated
        return self.annotated

    def make(self, identity: CredentialConfig) -> Tokens:
        self.tokens.append(Tokens(identity, self.error))
        return self.tokens[-1]

    def sidecar(self, pace: Pace = QUICK) -> Sidecar:
        settings = Settings(CredentialConfig(PROVIDER, str(self.file)), reads_annotations=True)
        return Sidecar(settings, self.make, self.annotations, pace=pace)


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)


def live(sidecar: Sidecar, story: Callable[[], Coroutine[None, None, None]]) -> None:
    async def run() -> None:
        working = asyncio.create_task(sidecar.run())
        try:
            await asyncio.wait_for(story(), 60)
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    asyncio.run(run())


async def until(holds: Callable[[], object]) -> None:
    while not holds():  # noqa: ASYNC110 - what is looked at are attributes
        await asyncio.sleep(0.005)


async def email(sidecar: Sidecar) -> object:
    node = (await sidecar.tree())[EMAIL]
    assert isinstance(node, Value)
    return node.content


def test_whoever_asks_is_the_pod_and_has_its_account_s_tokens(pod: Pod) -> None:
    sidecar = pod.sidecar()

    async def story() -> None:
        assert await sidecar.find(("127.0.0.1", 1)) is sidecar is await sidecar.find(None)
        assert await email(sidecar) == FIRST
        assert (await sidecar.access_token(("a",))).value.reveal() == f"{FIRST} ('a',)"
        assert (await sidecar.id_token("orders")).value.reveal() == f"{FIRST} orders"

    live(sidecar, story)


def test_the_first_token_is_fetched_before_anybody_asks_and_then_the_pod_is_ready(pod: Pod) -> None:
    sidecar = pod.sidecar()
    assert sidecar.not_ready == "neighbour.unavailable"

    async def story() -> None:
        await until(lambda: sidecar.not_ready is None)
        assert pod.tokens[0].asked == 1

    live(sidecar, story)


def test_an_annotation_that_changes_takes_the_old_tokens_out_of_use_and_tells_who_waits(pod: Pod) -> None:
    sidecar = pod.sidecar()

    async def story() -> None:
        known = await sidecar.tree()
        waiting = asyncio.create_task(sidecar.another_tree(known))
        await until(lambda: pod.readings > 2)
        assert not waiting.done()
        assert len(pod.tokens) == 1
        pod.annotated = {"iam.gke.io/gcp-service-account": SECOND}
        assert await waiting is await sidecar.tree() is not known
        assert (await sidecar.access_token(None)).value.reveal() == f"{SECOND} None"
        assert [each.is_closed for each in pod.tokens] == [True, False]
        pod.annotated = {}
        await until(lambda: len(pod.tokens) == 3)
        assert await email(sidecar) == "demo-pool.global.123.workload.id.goog"

    live(sidecar, story)


def test_an_api_server_that_is_away_for_a_while_changes_nothing(pod: Pod, caplog: pytest.LogCaptureFixture) -> None:
    sidecar = pod.sidecar()

    async def story() -> None:
        await sidecar.tree()
        pod.annotated = UnreachableError("The API server gave no answer.")
        before = pod.readings
        await until(lambda: pod.readings > before + 1)
        assert await email(sidecar) == FIRST
        assert len(pod.tokens) == 1

    live(sidecar, story)
    assert "The pod's identity cannot be read again, the last one stays: The API server gave no answer." in caplog.text


def test_an_annotation_that_becomes_wrong_changes_nothing_but_is_logged(pod: Pod, caplog: pytest.LogCaptureFixture) -> None:
    sidecar = pod.sidecar()

    async def story() -> None:
        await sidecar.tree()
        pod.annotated = {"iam.gke.io/gcp-service-account": "nonsense"}
        before = pod.readings
        await until(lambda: pod.readings > before + 1)
        assert await email(sidecar) == FIRST

    live(sidecar, story)
    assert "The pod's identity cannot be read again, the last one stays: 'nonsense' " in caplog.text


def test_an_annotation_that_comes_to_ask_for_what_it_may_not_have_takes_the_tokens_of_the_old_account_out_of_use(pod: Pod) -> None:
    sidecar = pod.sidecar()

    async def story() -> None:
        await sidecar.tree()
        pod.annotated = {"iam.gke.io/gcp-service-account": SECOND, "podpass.dev/provider": str(PROVIDER).replace("123", "456")}
        await until(lambda: pod.tokens[0].is_closed)
        with pytest.raises(ConfigError, match="annotated with the provider projects/456"):
            await sidecar.access_token(None)
        pod.annotated = {"iam.gke.io/gcp-service-account": SECOND}
        await until(lambda: len(pod.tokens) == 2)
        assert await email(sidecar) == SECOND

    live(sidecar, story)


def test_a_client_that_asks_before_the_first_reading_waits_for_it(pod: Pod) -> None:
    pod.annotated = UnreachableError("The API server gave no answer.")
    sidecar = pod.sidecar()

    async def story() -> None:
        early = asyncio.create_task(sidecar.access_token(None))
        await until(lambda: pod.readings > 1)
        assert not early.done()
        pod.annotated = {"iam.gke.io/gcp-service-account": FIRST}
        assert (await early).value.reveal() == f"{FIRST} None"

    live(sidecar, story)


def test_a_client_does_not_wait_for_ever_and_is_told_why(pod: Pod) -> None:
    pod.annotated = UnreachableError("The API server gave no answer.")
    sidecar = pod.sidecar(Pace(reading_s=0.01, retry_s=0.01, patience_s=0.05, warming_s=5))

    async def story() -> None:
        await until(lambda: sidecar.not_ready == "neighbour.unreachable")
        with pytest.raises(UnreachableError):
            await sidecar.access_token(None)

    live(sidecar, story)


@pytest.mark.parametrize(
    "annotated", [RefusedError("The API server refused the request of this pod (403 Forbidden)."), {"podpass.dev/provider": "nonsense"}]
)
def test_without_a_first_reading_nobody_gets_a_token_of_another_identity(pod: Pod, annotated: Mapping[str, str] | PodpassError) -> None:
    pod.annotated = annotated
    sidecar = pod.sidecar()

    async def story() -> None:
        await until(lambda: sidecar.not_ready is None)  # it has something to say, and says it to whoever asks
        with pytest.raises(PodpassError):
            await sidecar.access_token(None)
        assert pod.tokens == []
        pod.annotated = {"iam.gke.io/gcp-service-account": FIRST}
        await until(lambda: pod.tokens)
        assert await email(sidecar) == FIRST

    live(sidecar, story)


def test_a_pod_whose_token_file_comes_late_waits_for_it(pod: Pod) -> None:
    token = pod.file.read_text()
    pod.file.unlink()
    sidecar = pod.sidecar()

    async def story() -> None:
        early = asyncio.create_task(sidecar.tree())
        await until(lambda: sidecar.not_ready == "credential.token-file")
        pod.file.write_text(token)
        assert EMAIL in await early

    live(sidecar, story)


def test_a_refusal_of_google_s_does_not_hold_the_pod_up_and_is_told_once(pod: Pod, caplog: pytest.LogCaptureFixture) -> None:
    pod.error = ExchangeRefusedError("STS refused.", "Because.", "Do this.")
    sidecar = pod.sidecar()

    async def story() -> None:
        await until(lambda: sidecar.not_ready is None)
        with pytest.raises(ExchangeRefusedError):
            await sidecar.access_token(None)

    live(sidecar, story)
    assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == [
        "There is no token for this pod: STS refused. Because. Do this. [credential.exchange-refused]"
    ]


def test_google_away_holds_the_pod_up_until_it_answers(pod: Pod) -> None:
    pod.error = ExchangeUnavailableError("Google is away.", retry_after_s=0.01)
    sidecar = pod.sidecar()

    async def story() -> None:
        await until(lambda: pod.tokens and pod.tokens[0].asked > 2)
        assert sidecar.not_ready == "exchange.unavailable"
        pod.tokens[0].error = None
        await until(lambda: sidecar.not_ready is None)

    live(sidecar, story)


def test_google_away_does_not_hold_the_pod_up_for_ever(pod: Pod) -> None:
    pod.error = ExchangeUnavailableError("Google is away.", retry_after_s=0.01)
    sidecar = pod.sidecar(Pace(reading_s=0.01, retry_s=0.01, warming_s=0.05))
    live(sidecar, lambda: until(lambda: sidecar.not_ready is None))


def test_at_the_end_who_waits_for_a_change_is_let_go_and_nothing_is_renewed(pod: Pod) -> None:
    sidecar = pod.sidecar()

    async def story() -> None:
        known = await sidecar.tree()
        waiting = asyncio.create_task(sidecar.another_tree(known))
        await asyncio.sleep(0)
        sidecar.end()
        assert await waiting is known

    live(sidecar, story)
    assert pod.tokens[0].is_closed


def test_at_the_end_who_waits_for_google_is_told_so_instead_of_being_kept(pod: Pod) -> None:
    """Google may be silent for longer than kubelet waits."""
    sidecar = pod.sidecar(Pace(grace_s=0.01))

    async def story() -> None:
        await sidecar.tree()
        pod.tokens[0].silence = asyncio.Event()
        early = asyncio.create_task(sidecar.access_token(None))
        await until(lambda: pod.tokens[0].asked == 2)
        sidecar.end()
        late = asyncio.create_task(sidecar.access_token(None))
        for waiting in (early, late):
            with pytest.raises(UnavailableError, match="The metadata server is ending") as caught:
                await waiting
            assert caught.value.retry_after_s == 1

    live(sidecar, story)


def test_at_the_end_who_waits_for_a_token_that_comes_has_it(pod: Pod) -> None:
    sidecar = pod.sidecar(Pace(grace_s=5))

    async def story() -> None:
        await sidecar.tree()
        pod.tokens[0].silence = silence = asyncio.Event()
        waiting = asyncio.create_task(sidecar.access_token(None))
        await until(lambda: pod.tokens[0].asked == 2)
        sidecar.end()
        silence.set()
        assert (await waiting).value.reveal() == f"{FIRST} None"

    live(sidecar, story)


@dataclass(frozen=True, slots=True)
class Noted(Pace):
    """Notes how many readings in a row had failed, and waits hardly at all."""

    failures: list[int] = field(default_factory=list)

    def after(self, failures: int) -> float:
        self.failures.append(failures)
        return 0.001


def test_a_refused_identity_is_read_again_ever_more_seldom_and_counts_anew_once_it_is_mended(pod: Pod) -> None:
    """It was read every second by every such pod, for as long as nobody mended the annotation."""
    pod.annotated = {"podpass.dev/provider": "nonsense"}
    pace = Noted()
    sidecar = pod.sidecar(pace)

    async def story() -> None:
        await until(lambda: len(pace.failures) > 3)
        assert pace.failures[:4] == [1, 2, 3, 4]
        pod.annotated = {}
        await until(lambda: pod.tokens)
        await until(lambda: pace.failures[-1] == 0)
        mended = len(pace.failures)
        pod.annotated = {"podpass.dev/provider": str(PROVIDER).replace("123", "456")}
        await until(lambda: pod.tokens[0].is_closed)
        await until(lambda: 3 in pace.failures[mended:])
        assert [failures for failures in pace.failures[mended:] if failures][:3] == [1, 2, 3]

    live(sidecar, story)


def test_a_missing_token_file_is_looked_for_again_soon(pod: Pod) -> None:
    pod.file.unlink()
    pace = Noted()

    async def story() -> None:
        await until(lambda: len(pace.failures) > 3)
        assert set(pace.failures) == {1}

    live(pod.sidecar(pace), story)


def test_the_pauses_double_up_to_the_usual_one() -> None:
    pace = Pace()
    for failures, most_s in ((1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (10_000, 60)):
        assert most_s / 2 <= pace.after(failures) <= most_s
    assert 54 <= pace.after(0) <= 66


@pytest.mark.parametrize(
    "annotated",
    [
        pytest.param({"iam.gke.io/gcp-service-account": "x!" * 50_000}, id="account"),
        pytest.param({"podpass.dev/provider": "x!" * 50_000}, id="provider"),
        pytest.param({"podpass.dev/audience": "x!" * 50_000}, id="audience"),
        pytest.param({"podpass.dev/provider": "x" * 100_000, "cloud.google.com/workload-identity-provider": "y"}, id="two"),
    ],
)
def test_an_annotation_of_100_kb_is_not_echoed_whole(pod: Pod, caplog: pytest.LogCaptureFixture, annotated: dict[str, str]) -> None:
    """Kubernetes allows 256 KB of annotations; an answer and a line of the log have no room for them."""
    pod.annotated = annotated
    sidecar = pod.sidecar()

    async def story() -> None:
        with pytest.raises(ConfigError, match=r"… \(100000 characters\)") as caught:
            await sidecar.access_token(None)
        assert len(str(caught.value)) < 1000

    live(sidecar, story)
    assert max(len(record.message) for record in caplog.records) < 1000
