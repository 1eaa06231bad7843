# SPDX-License-Identifier: Apache-2.0
"""One suite for every adapter, against real HTTPS servers: who gets the token, which token, and what happens where there is none."""

import asyncio
import importlib
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from functools import cache
from pathlib import Path

import pytest
import trustme

from contract.client.subjects import SUBJECTS, Call, Setting
from loopback_server import LoopbackServer, Reply, Seen
from podpass.clock import SteppedClock
from podpass.errors import ConfigError, SourceUnavailableError
from podpass.names import Secret
from podpass.sources.file import FileSource
from podpass.sources.source import SubjectTokenSource
from projected_volume import ProjectedVolume
from token_forge import NOW, NOW_S, ec_signer, kubernetes_claims

SECOND = timedelta(seconds=1)


@cache
def token(number: int = 1, *, life_s: int = 3600) -> str:
    return ec_signer().token(kubernetes_claims(jti=f"token-{number}", exp=NOW_S + life_s))


T1, T2, T3 = token(1), token(2), token(3)


class Service(LoopbackServer):
    """Answers 200 to the tokens that it accepts, 401 to others, and a redirect where it is told to."""

    def __init__(self, authority: trustme.CA) -> None:
        super().__init__(self._reply, authority)
        self.accepted = {T1, T2, T3}
        self.redirects: dict[str, tuple[int, str]] = {}

    @property
    def tokens(self) -> list[str | None]:
        """The token of each request."""
        return [seen.headers.get("authorization", "").removeprefix("Bearer ") or None for seen in self.seen]

    @property
    def pairs(self) -> list[tuple[str | None, str | None]]:
        """The two tokens of each request: the cluster's, and Google's."""
        names = ("authorization", "x-serverless-authorization")
        first, second = ([seen.headers.get(name, "").removeprefix("Bearer ") or None for seen in self.seen] for name in names)
        return list(zip(first, second, strict=True))

    def _reply(self, seen: Seen) -> Reply:
        if seen.path in self.redirects:
            status, location = self.redirects[seen.path]
            return Reply(status, headers={"location": location})
        is_known = seen.headers.get("authorization", "").removeprefix("Bearer ") in self.accepted
        return Reply(200, b"yes") if is_known else Reply(401, b"no")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture
def service(authority: trustme.CA) -> Iterator[Service]:
    with Service(authority) as service:
        yield service


@pytest.fixture
def stranger(authority: trustme.CA) -> Iterator[Service]:
    with Service(authority) as stranger:
        yield stranger


@pytest.fixture
def volume(tmp_path: Path) -> ProjectedVolume:
    return ProjectedVolume(tmp_path, T1)


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock(NOW)


Open = Callable[..., Call]


@pytest.fixture(params=SUBJECTS)
def opened(request: pytest.FixtureRequest, service: Service, clock: SteppedClock, ca_file: Path) -> Iterator[Open]:
    """Open a client for the service; a source must be given."""
    with ExitStack() as stack:

        def start(source: SubjectTokenSource, origins: list[str] | None = None, serverless: SubjectTokenSource | None = None) -> Call:
            setting = Setting(source, [service.url] if origins is None else origins, clock, ca_file, serverless)
            return stack.enter_context(SUBJECTS[request.param](setting))

        yield start


@pytest.fixture
def call(opened: Open, volume: ProjectedVolume) -> Call:
    """Call the service with the token of a projected volume."""
    return opened(FileSource(volume.path, audience="orders-api"))


def test_a_request_to_a_configured_origin_carries_the_token(call: Call, service: Service) -> None:
    assert call("GET", f"{service.url}/orders?x=1", headers={"x-own": "kept"}) == (200, b"yes")
    assert service.tokens == [T1]
    assert service.seen[0].path == "/orders?x=1"
    assert service.seen[0].headers["x-own"] == "kept"


def test_a_request_elsewhere_goes_out_without_it(call: Call, stranger: Service) -> None:
    """Invariant 5: a subject token goes only to the origins it was configured for."""
    assert call("GET", stranger.url)[0] == 401
    assert stranger.tokens == [None]


def test_another_port_name_or_scheme_is_another_origin(call: Call, service: Service) -> None:
    assert call("GET", service.url.replace("127.0.0.1", "localhost"))[0] == 401
    assert service.tokens == [None]


@pytest.mark.parametrize("status", [302, 307])
def test_a_redirect_to_another_origin_does_not_take_it_along(call: Call, service: Service, stranger: Service, status: int) -> None:
    """Invariant 5: never along a redirect."""
    service.redirects["/"] = (status, f"{stranger.url}/there")
    assert call("GET", f"{service.url}/", follow=True)[0] == 401
    assert service.tokens == [T1]
    assert stranger.tokens == [None]


def test_a_redirect_within_the_origin_keeps_it(call: Call, service: Service) -> None:
    service.redirects["/"] = (307, "/there")
    assert call("GET", f"{service.url}/", follow=True) == (200, b"yes")
    assert service.tokens == [T1, T1]


def test_a_redirect_from_a_stranger_to_the_service_is_no_way_to_make_us_call_with_more_than_the_service_would_get(
    call: Call, service: Service, stranger: Service
) -> None:
    """What the service gets is its own token, whoever sent us there; the stranger gets nothing."""
    stranger.redirects["/"] = (307, f"{service.url}/there")
    call("GET", f"{stranger.url}/", follow=True)
    assert stranger.tokens == [None]
    assert set(service.tokens) <= {None, T1}


def test_a_redirect_that_is_not_followed_is_an_answer(call: Call, service: Service) -> None:
    service.redirects["/"] = (302, "/there")
    assert call("GET", f"{service.url}/")[0] == 302
    assert len(service.seen) == 1


def test_a_swapped_file_is_seen_within_a_second(call: Call, service: Service, volume: ProjectedVolume, clock: SteppedClock) -> None:
    call("GET", service.url)
    volume.swap(T2)
    clock.step(0.9 * SECOND)
    call("GET", service.url)
    clock.step(0.1 * SECOND)
    call("GET", service.url)
    assert service.tokens == [T1, T1, T2]


def test_a_refused_token_is_read_again_at_once_and_sent_once_more(call: Call, service: Service, volume: ProjectedVolume) -> None:
    call("GET", service.url)
    volume.swap(T2)
    service.accepted = {T2}
    assert call("POST", service.url, body=b"order=1") == (200, b"yes")
    assert service.tokens == [T1, T1, T2]
    assert [seen.body for seen in service.seen] == [b"", b"order=1", b"order=1"]
    assert call("GET", service.url)[0] == 200
    assert service.tokens[3:] == [T2]


def test_a_refused_token_that_has_not_changed_is_not_sent_again(call: Call, service: Service) -> None:
    service.accepted = set()
    assert call("GET", service.url) == (401, b"no")
    assert service.tokens == [T1]


def test_a_second_refusal_is_the_answer(call: Call, service: Service, volume: ProjectedVolume) -> None:
    call("GET", service.url)
    volume.swap(T2)
    service.accepted = {T3}
    assert call("GET", service.url) == (401, b"no")
    assert service.tokens == [T1, T1, T2]


def test_a_refusal_by_a_stranger_is_not_answered_with_another_token(
    call: Call, service: Service, stranger: Service, volume: ProjectedVolume
) -> None:
    call("GET", f"{service.url}/first")
    volume.swap(T2)
    service.redirects["/"] = (307, f"{stranger.url}/there")
    assert call("GET", f"{service.url}/", follow=True)[0] == 401
    assert stranger.tokens == [None]
    assert len(service.seen) == 2


def test_a_body_that_can_be_sent_only_once_is_sent_only_once(call: Call, service: Service, volume: ProjectedVolume) -> None:
    call("GET", service.url)
    volume.swap(T2)
    service.accepted = {T2}
    assert call("POST", service.url, body=iter([b"a", b"b"]))[0] == 401
    assert len(service.seen) == 2


def test_an_authorization_that_somebody_has_set_stays(call: Call, service: Service) -> None:
    service.accepted = {T3}
    for name in ("Authorization", "authorization"):
        assert call("GET", service.url, headers={name: f"Bearer {T3}"})[0] == 200
    assert service.tokens == [T3, T3]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(None, "does not exist", id="missing"),
        pytest.param("", "is empty", id="empty"),
        pytest.param("\n", "is empty", id="blank"),
        pytest.param("not a token", "holds no token that can be read", id="junk"),
        pytest.param(token(life_s=-60), "ended at 2026-03-01 11:59:00 UTC, 60 s ago", id="expired"),
    ],
)
def test_without_a_token_nothing_is_sent_and_the_error_says_which_volume_to_declare(
    opened: Open, service: Service, tmp_path: Path, content: str | None, words: str
) -> None:
    file = tmp_path / "gke-sa"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SourceUnavailableError) as caught:
        opened(FileSource(file, audience="orders-api"))("GET", service.url)
    assert words in str(caught.value)
    assert f"mount it at {tmp_path}: a serviceAccountToken with path 'gke-sa', audience 'orders-api'" in caught.value.next_step
    assert service.seen == []


def test_a_token_that_ends_while_it_is_held_is_not_sent(call: Call, service: Service, volume: ProjectedVolume, clock: SteppedClock) -> None:
    call("GET", service.url)
    clock.step(3600 * SECOND)
    with pytest.raises(SourceUnavailableError, match="subPath"):
        call("GET", service.url)
    volume.swap(token(4, life_s=7200))
    service.accepted.add(token(4, life_s=7200))
    assert call("GET", service.url)[0] == 200
    assert len(service.seen) == 2


class Desk:
    """A source that has to be asked, as TokenRequest."""

    def __init__(self) -> None:
        self.asked = 0

    def read(self) -> Secret[str]:
        self.asked += 1
        return Secret([T1, T2, T3][self.asked - 1], "subject token")

    def __str__(self) -> str:
        return "TokenRequest for shop/checkout"


def test_a_source_that_has_to_be_asked_is_asked_when_most_of_the_life_is_over(opened: Open, service: Service, clock: SteppedClock) -> None:
    """And nobody waits for it: the token of the moment goes on until the next is there."""
    desk = Desk()
    call = opened(desk)
    for _ in range(3):
        call("GET", service.url)
    clock.step(2879 * SECOND)
    call("GET", service.url)
    assert desk.asked == 1
    clock.step(SECOND)
    deadline = time.monotonic() + 60
    while service.tokens[-1] != T2:
        call("GET", service.url)
        assert time.monotonic() < deadline
    assert desk.asked == 2
    assert service.tokens[:4] == [T1, T1, T1, T1]
    assert set(service.tokens) == {T1, T2}


def test_a_refused_token_of_such_a_source_is_replaced_but_not_at_every_call(opened: Open, service: Service, clock: SteppedClock) -> None:
    desk = Desk()
    call = opened(desk)
    call("GET", service.url)
    service.accepted = {T3}
    clock.step(10 * SECOND)
    assert call("GET", service.url)[0] == 401
    assert call("GET", service.url)[0] == 401
    assert desk.asked == 2
    clock.step(10 * SECOND)
    assert call("GET", service.url)[0] == 200
    assert service.tokens == [T1, T1, T2, T2, T2, T3]


G1, G2 = token(11), token(12)


class Counter:
    """Gives Google's tokens, as a metadata server does."""

    def __init__(self) -> None:
        self.token = G1

    def read(self) -> Secret[str]:
        return Secret(self.token, "ID token")

    def __str__(self) -> str:
        return "metadata server"


class TestTwoTokens:
    """The cluster's in `Authorization`, Google's in `X-Serverless-Authorization`."""

    @pytest.fixture
    def google(self) -> Counter:
        return Counter()

    @pytest.fixture
    def call(self, opened: Open, volume: ProjectedVolume, google: Counter) -> Call:
        return opened(FileSource(volume.path, audience="orders-api"), serverless=google)

    def test_a_request_to_a_configured_origin_carries_both(self, call: Call, service: Service) -> None:
        assert call("POST", f"{service.url}/orders?x=1", body=b"order=1", headers={"x-own": "kept"}) == (200, b"yes")
        assert service.pairs == [(T1, G1)]
        assert service.seen[0].headers["x-own"] == "kept"

    def test_a_request_elsewhere_carries_neither(self, call: Call, stranger: Service) -> None:
        assert call("GET", stranger.url)[0] == 401
        assert stranger.pairs == [(None, None)]

    @pytest.mark.parametrize(("status", "form"), [(302, "{}/there"), (307, "{}?x=1")])
    def test_a_redirect_to_another_origin_takes_neither_along(
        self, call: Call, service: Service, stranger: Service, status: int, form: str
    ) -> None:
        """Invariant 5. The libraries take `Authorization` off by themselves, and no other header."""
        service.redirects["/"] = (status, form.format(stranger.url))
        assert call("GET", f"{service.url}/", follow=True)[0] == 401
        assert service.pairs == [(T1, G1)]
        assert stranger.pairs == [(None, None)]

    def test_neither_goes_to_the_same_host_under_another_name_nor_without_a_scheme(self, call: Call, service: Service) -> None:
        port = service.url.rpartition(":")[2]
        service.redirects["/"] = (307, f"//localhost:{port}/there")
        assert call("GET", f"{service.url}/", follow=True)[0] == 401
        assert service.pairs == [(T1, G1), (None, None)]

    def test_a_second_redirect_takes_neither_along(self, call: Call, service: Service, stranger: Service) -> None:
        service.redirects["/"] = (307, "/second")
        service.redirects["/second"] = (307, f"{stranger.url}/there")
        stranger.redirects["/there"] = (307, "/third")
        assert call("GET", f"{service.url}/", follow=True)[0] == 401
        assert service.pairs == [(T1, G1), (T1, G1)]
        assert stranger.pairs == [(None, None), (None, None)]

    def test_a_redirect_within_the_origin_keeps_both(self, call: Call, service: Service) -> None:
        service.redirects["/"] = (307, "/there")
        assert call("GET", f"{service.url}/", follow=True) == (200, b"yes")
        service.redirects["/"] = (307, f"{service.url}/there")
        assert call("GET", f"{service.url}/", follow=True) == (200, b"yes")
        assert service.pairs == [(T1, G1)] * 4

    def test_a_refused_cluster_token_is_replaced_and_the_other_sent_again(
        self, call: Call, service: Service, volume: ProjectedVolume
    ) -> None:
        call("GET", service.url)
        volume.swap(T2)
        service.accepted = {T2}
        assert call("POST", service.url, body=b"order=1") == (200, b"yes")
        assert service.pairs == [(T1, G1), (T1, G1), (T2, G1)]

    def test_a_second_try_that_is_redirected_elsewhere_takes_neither_along(
        self, call: Call, service: Service, stranger: Service, volume: ProjectedVolume
    ) -> None:
        call("GET", service.url)
        volume.swap(T2)
        service.accepted = {T3}
        service.answer = lambda seen: (
            Reply(401) if T1 in seen.headers["authorization"] else Reply(307, headers={"location": f"{stranger.url}/there"})
        )
        assert call("GET", service.url, follow=True)[0] == 401
        assert service.pairs == [(T1, G1), (T1, G1), (T2, G1)]
        assert stranger.pairs == [(None, None)]

    def test_a_header_that_somebody_has_set_stays_and_the_other_is_added(self, call: Call, service: Service) -> None:
        call("GET", service.url, headers={"Authorization": f"Bearer {T3}"})
        call("GET", service.url, headers={"X-Serverless-Authorization": f"Bearer {G2}"})
        assert service.pairs == [(T3, G1), (T1, G2)]


@pytest.mark.parametrize("name", ["httpx2", "httpx"])
def test_a_token_is_read_for_each_sending_of_a_request(
    name: str, service: Service, volume: ProjectedVolume, clock: SteppedClock, ca_file: Path
) -> None:
    """What is left of the first sending would be a header of the caller's own to the second, and would grow old."""
    library, adapter = pytest.importorskip(name), importlib.import_module(f"podpass.client.{name}")
    source = FileSource(volume.path, audience="orders-api")
    auth = adapter.BearerAuth(source, origins=[service.url], serverless=source, clock=clock)
    with auth.attach(library.Client(verify=ssl.create_default_context(cafile=ca_file))) as client:
        request = client.build_request("GET", service.url)
        client.send(request)
        volume.swap(T2)
        clock.step(2 * SECOND)
        client.send(request)
    assert service.pairs == [(T1, T1), (T2, T2)]


@pytest.mark.parametrize("name", ["httpx2", "httpx"])
def test_a_client_that_would_take_the_second_token_along_sends_nothing(name: str, service: Service, clock: SteppedClock) -> None:
    """Without `attach` the library would hand the header on to whomever it is redirected to."""
    library, adapter = pytest.importorskip(name), importlib.import_module(f"podpass.client.{name}")
    auth = adapter.BearerAuth(Counter(), serverless=Counter(), origins=[service.url], clock=clock)
    with library.Client(auth=auth) as client, pytest.raises(ConfigError, match="x-serverless-authorization along") as caught:
        client.get(service.url)
    assert "attach" in caught.value.next_step
    assert service.seen == []


@pytest.mark.parametrize("name", ["httpx2", "httpx"])
def test_a_request_does_not_show_the_second_token(name: str, service: Service, clock: SteppedClock, ca_file: Path) -> None:
    """Invariant 4; the library hides `Authorization` alone in the headers that it shows."""
    library, adapter = pytest.importorskip(name), importlib.import_module(f"podpass.client.{name}")
    setting = Setting(Counter(), [service.url], clock, ca_file, Counter())
    with setting.open(adapter.BearerAuth, library.Client) as client:
        request = client.get(service.url).request
    assert "eyJ" not in f"{request!r} {request.extensions!r}"


def test_an_error_of_aiohttp_does_not_show_the_tokens_of_its_request(service: Service, clock: SteppedClock, ca_file: Path) -> None:
    """Invariant 4; asyncio logs the `repr` of what a task ends with that nobody awaits."""
    aiohttp, adapter = pytest.importorskip("aiohttp"), importlib.import_module("podpass.client.aiohttp")
    setting = Setting(Counter(), [service.url], clock, ca_file, Counter())
    auth = setting.make(adapter.BearerAuth)

    async def ask(path: str) -> str:
        connector = aiohttp.TCPConnector(ssl=setting.context())
        async with aiohttp.ClientSession(middlewares=[auth], connector=connector) as session:
            try:
                await session.get(service.url + path, headers={"x-own": "kept"}, raise_for_status=True)
            except aiohttp.ClientResponseError as error:
                return repr(error)
        raise AssertionError

    service.redirects["/around"] = (307, "/around")
    for path in ("/", "/around"):
        shown = asyncio.run(ask(path))
        assert "eyJ" not in shown
        assert "kept" in shown
        assert service.seen[-1].headers["authorization"].startswith("Bearer eyJ")
