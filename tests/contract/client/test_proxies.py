# SPDX-License-Identifier: Apache-2.0
"""Every adapter behind a real proxy that writes down what it can read: invariant 5 in an environment with HTTP_PROXY."""

import importlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
import trustme

from contract.client.subjects import SUBJECTS, Call, Setting
from loopback_server import LoopbackServer, Reply
from podpass.clock import SteppedClock
from podpass.errors import ConfigError
from podpass.sources.file import FileSource
from projected_volume import ProjectedVolume
from recording_proxy import RecordingProxy
from token_forge import NOW, ec_signer, kubernetes_claims

TOKEN = ec_signer().token(kubernetes_claims())
IN_CLUSTER = "http://orders.shop.svc:8080"


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordingProxy]:
    with RecordingProxy() as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.lower(), raising=False)
        for name in ("HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name.lower(), proxy.url)
        yield proxy


@pytest.fixture
def source(tmp_path: Path) -> FileSource:
    return FileSource(ProjectedVolume(tmp_path, TOKEN).path, audience="orders-api")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


Open = Callable[..., Call]


@pytest.fixture(params=SUBJECTS)
def opened(
    request: pytest.FixtureRequest, proxy: RecordingProxy, source: FileSource, authority: trustme.CA, tmp_path: Path
) -> Iterator[Open]:
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    with ExitStack() as stack:

        def start(*origins: str, serverless: FileSource | None = None, is_proxied: bool = True) -> Call:
            setting = Setting(source, list(origins), SteppedClock(NOW), ca_file, serverless, proxy.url if is_proxied else None)
            return stack.enter_context(SUBJECTS[request.param](setting))

        yield start


def test_a_token_for_plain_http_is_not_shown_to_a_proxy(opened: Open, proxy: RecordingProxy) -> None:
    """Invariant 5. Before the check, each of these libraries sent the request to the proxy, with the token in it."""
    with pytest.raises(ConfigError, match=r"orders\.shop\.svc:8080: a proxy is on the way") as caught:
        opened(IN_CLUSTER)("GET", f"{IN_CLUSTER}/orders")
    assert "Add orders.shop.svc to NO_PROXY" in caught.value.next_step
    assert caught.value.full_code == "config.token-proxy"
    assert "Bearer" not in "".join(proxy.shown)


def test_neither_is_a_second_one(opened: Open, proxy: RecordingProxy, source: FileSource) -> None:
    with pytest.raises(ConfigError, match="a proxy is on the way"):
        opened(IN_CLUSTER, serverless=source)("GET", IN_CLUSTER, headers={"authorization": "Basic b3duZXI="})
    assert "Bearer" not in "".join(proxy.shown)


def test_loopback_is_no_exception(opened: Open, proxy: RecordingProxy) -> None:
    """The loopback of the proxy is another machine's."""
    with LoopbackServer(lambda _: Reply()) as service:
        with pytest.raises(ConfigError, match="a proxy is on the way"):
            opened(service.url)("GET", service.url)
        assert service.seen == []
    assert "Bearer" not in "".join(proxy.shown)


def test_with_no_proxy_the_request_goes_directly(opened: Open, proxy: RecordingProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the error says is what helps."""
    monkeypatch.setenv("no_proxy", "127.0.0.1,.svc")
    with LoopbackServer(lambda _: Reply(200, b"itself")) as service:
        assert opened(service.url, is_proxied=False)("GET", service.url) == (200, b"itself")
        assert service.seen[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert proxy.shown == []


def test_a_request_without_a_token_is_the_proxys_to_answer(opened: Open, proxy: RecordingProxy) -> None:
    assert opened(IN_CLUSTER)("GET", "http://weather.example/today") == (200, b"by proxy!")
    assert "Bearer" not in "".join(proxy.shown)


def test_https_goes_through_the_proxy_where_nobody_reads_it(opened: Open, proxy: RecordingProxy, authority: trustme.CA) -> None:
    with LoopbackServer(lambda _: Reply(200, b"itself"), authority) as service:
        assert opened(service.url, IN_CLUSTER)("GET", service.url) == (200, b"itself")
        assert service.seen[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert [head.split()[0] for head in proxy.shown] == ["CONNECT"]
    assert "Bearer" not in "".join(proxy.shown)


@pytest.mark.parametrize("name", ["httpx2", "httpx"])
def test_a_proxy_of_the_client_itself_is_found_as_well_and_who_watches_goes_on_watching(
    name: str, proxy: RecordingProxy, source: FileSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, adapter = pytest.importorskip(name), importlib.import_module(f"podpass.client.{name}")
    monkeypatch.delenv("http_proxy")
    events: list[str] = []
    auth = adapter.BearerAuth(source, origins=[IN_CLUSTER], clock=SteppedClock(NOW))
    with library.Client(auth=auth, proxy=proxy.url) as client, pytest.raises(ConfigError, match="a proxy is on the way"):
        client.get(IN_CLUSTER, extensions={"trace": lambda event, _: events.append(event)})
    assert "connection.connect_tcp.complete" in events
    assert "Bearer" not in "".join(proxy.shown)


@pytest.mark.parametrize("name", ["httpx2", "httpx"])
def test_a_proxy_is_found_whatever_target_the_caller_sets(name: str, proxy: RecordingProxy, source: FileSource) -> None:
    """httpx asks the proxy for that path, in place of a whole URL."""
    library, adapter = pytest.importorskip(name), importlib.import_module(f"podpass.client.{name}")
    auth = adapter.BearerAuth(source, origins=[IN_CLUSTER], clock=SteppedClock(NOW))
    with library.Client(auth=auth) as client, pytest.raises(ConfigError, match=r"http://orders\.shop\.svc:8080: a proxy is on the way"):
        client.get(IN_CLUSTER, extensions={"target": b"/a%2fb"})
    assert "Bearer" not in "".join(proxy.shown)


@pytest.mark.parametrize("name", ["httpx2", "httpx"])
def test_a_target_that_the_caller_sets_is_sent_where_no_proxy_is(name: str, source: FileSource, monkeypatch: pytest.MonkeyPatch) -> None:
    library, adapter = pytest.importorskip(name), importlib.import_module(f"podpass.client.{name}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with LoopbackServer(lambda _: Reply()) as service:
        with library.Client(auth=adapter.BearerAuth(source, origins=[service.url], clock=SteppedClock(NOW))) as client:
            client.get(service.url, extensions={"target": b"/a%2fb"})
        assert (service.seen[0].path, service.seen[0].headers["authorization"]) == ("/a%2fb", f"Bearer {TOKEN}")


@pytest.mark.parametrize("name", ["httpx2", "httpx"])
def test_each_hop_of_a_redirect_is_watched(name: str, proxy: RecordingProxy, source: FileSource, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first goes to its service directly, the second would go through a proxy, with the second token in it."""
    library, adapter = pytest.importorskip(name), importlib.import_module(f"podpass.client.{name}")
    monkeypatch.delenv("http_proxy")
    with LoopbackServer(lambda _: Reply(302, headers={"location": IN_CLUSTER})) as service:
        auth = adapter.BearerAuth(source, origins=[service.url, IN_CLUSTER], serverless=source, clock=SteppedClock(NOW))
        mounts = {"http://orders.shop.svc:8080": library.HTTPTransport(proxy=proxy.url)}
        client = auth.attach(library.Client(mounts=mounts, follow_redirects=True))
        with client, pytest.raises(ConfigError, match="a proxy is on the way"):
            client.get(service.url)
        assert service.seen[0].headers["x-serverless-authorization"] == f"Bearer {TOKEN}"
    assert "Bearer" not in "".join(proxy.shown)


def test_a_proxy_that_the_environment_names_later_is_seen_by_requests(
    proxy: RecordingProxy, source: FileSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    from podpass.client.requests import BearerAuth  # noqa: PLC0415 - as the subjects do

    with LoopbackServer(lambda _: Reply(200, b"itself")) as service, requests.Session() as session:
        BearerAuth(source, origins=[service.url], clock=SteppedClock(NOW)).attach(session)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert session.get(service.url).content == b"itself"
        monkeypatch.setenv("no_proxy", "")
        with pytest.raises(ConfigError, match="a proxy is on the way"):
            session.get(service.url)
    assert proxy.shown == []


def test_a_session_of_requests_with_a_proxy_of_its_own(proxy: RecordingProxy, source: FileSource, monkeypatch: pytest.MonkeyPatch) -> None:
    from podpass.client.requests import BearerAuth  # noqa: PLC0415 - as the subjects do

    monkeypatch.delenv("http_proxy")
    with LoopbackServer(lambda _: Reply(200, b"itself")) as service, requests.Session() as session:
        BearerAuth(source, origins=[service.url], clock=SteppedClock(NOW)).attach(session)
        session.proxies = {"http": proxy.url}
        with pytest.raises(ConfigError, match="a proxy is on the way"):
            session.get(service.url)
        assert proxy.shown == []
        session.proxies["http://127.0.0.1"] = ""
        assert session.get(service.url).content == b"itself"


def test_requests_is_not_given_tokens_by_way_of_auth(source: FileSource) -> None:
    """Who is called there cannot see the proxies."""
    from podpass.client.requests import BearerAuth  # noqa: PLC0415 - as the subjects do

    with pytest.raises(ConfigError, match="not sent by way of `auth`"):
        requests.get("http://127.0.0.1:9/", auth=BearerAuth(source, origins=["http://127.0.0.1:9"]), timeout=5)


def test_a_socks_proxy_reads_along_too() -> None:
    """As the connection of httpx2 tells of it; the library for SOCKS itself is no dependency."""
    from podpass.client.httpx_flow import _watcher  # noqa: PLC0415 - as the subjects do
    from podpass.client.origins import read_origins  # noqa: PLC0415

    watch = _watcher(read_origins([IN_CLUSTER]), None)
    watch("socks.setup_socks5_connection.started", {"host": "weather.example", "port": 443})
    with pytest.raises(ConfigError, match="a proxy is on the way"):
        watch("socks.setup_socks5_connection.started", {"host": "orders.shop.svc", "port": 8080})
