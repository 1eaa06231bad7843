# SPDX-License-Identifier: Apache-2.0
"""The exchange in an environment with HTTP_PROXY: invariant 5 for endpoints on loopback, which are plain http."""

from collections.abc import Iterator

import httpx2
import pytest

from google_desk import GoogleDesk
from loopback_server import LoopbackServer
from podpass.clock import SteppedClock
from podpass.errors import ConfigError
from podpass.exchange.endpoints import Endpoints
from podpass.exchange.exchanger import Exchanger
from podpass.names import PoolName, Secret
from recording_proxy import RecordingProxy
from token_forge import NOW

SUBJECT = Secret("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln", "subject token")


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordingProxy]:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with RecordingProxy() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        yield proxy


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_an_exchange_on_loopback_goes_past_the_proxy(proxy: RecordingProxy, host: str) -> None:
    desk = GoogleDesk(SteppedClock(NOW))
    with LoopbackServer(desk.answer) as server, desk.exchanger_at(server.url.replace("127.0.0.1", host)) as exchanger:
        assert exchanger.access_token(SUBJECT).value.reveal()
    assert proxy.shown == []


def test_over_a_client_that_somebody_else_made_it_is_refused(proxy: RecordingProxy) -> None:
    endpoints = Endpoints("http://127.0.0.1:9", "http://127.0.0.1:9")
    with (
        httpx2.Client() as http,
        pytest.raises(ConfigError, match=r"No token is sent to http://127\.0\.0\.1:9: a proxy is on the way") as caught,
    ):
        Exchanger(PoolName("123", "demo").provider("demo"), http=http, endpoints=endpoints).access_token(SUBJECT)
    assert "Add 127.0.0.1 to NO_PROXY" in caught.value.next_step
    assert SUBJECT.reveal() not in "".join(proxy.shown)
    assert proxy.shown == []
