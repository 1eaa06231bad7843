# SPDX-License-Identifier: Apache-2.0
"""What only requests has: adapters, prepared requests, and redirects that copy the headers of the one before."""

from collections.abc import Iterator
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

from loopback_server import LoopbackServer, Reply
from podpass.client.requests import BearerAuth
from podpass.clock import SteppedClock
from podpass.sources.file import FileSource
from projected_volume import ProjectedVolume
from token_forge import NOW, ec_signer, kubernetes_claims

TOKEN = ec_signer().token(kubernetes_claims())


@pytest.fixture
def source(tmp_path: Path) -> FileSource:
    return FileSource(ProjectedVolume(tmp_path, TOKEN).path, audience="orders-api")


@pytest.fixture
def service() -> Iterator[LoopbackServer]:
    with LoopbackServer(lambda _: Reply(200, b"itself")) as service:
        yield service


def signing(session: requests.Session, source: FileSource, *origins: str) -> requests.Session:
    return BearerAuth(source, origins=origins, serverless=source, clock=SteppedClock(NOW)).attach(session)


class Noting(HTTPAdapter):
    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bool] = []

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:  # noqa: ANN401
        self.sent.append("authorization" in request.headers)
        return super().send(request, *args, **kwargs)


def test_the_adapters_that_a_session_has_go_on_sending(source: FileSource, service: LoopbackServer) -> None:
    with requests.Session() as session:
        own = Noting()
        session.mount(service.url, own)
        signing(session, source, service.url).get(service.url)
    assert own.sent == [True]
    assert service.seen[0].headers["authorization"] == f"Bearer {TOKEN}"


def test_an_adapter_that_is_mounted_later_sends_no_token(source: FileSource, service: LoopbackServer) -> None:
    with signing(requests.Session(), source, service.url) as session:
        later = Noting()
        session.mount(service.url, later)
        session.get(service.url)
    assert later.sent == [False]


def test_a_prepared_request_holds_no_token_before_and_after(source: FileSource, service: LoopbackServer) -> None:
    with signing(requests.Session(), source, service.url) as session:
        prepared = session.prepare_request(requests.Request("GET", service.url))
        before = dict(prepared.headers)
        answer = session.send(prepared)
    assert dict(prepared.headers) == dict(answer.request.headers) == before
    assert service.seen[0].headers["x-serverless-authorization"] == f"Bearer {TOKEN}"


def test_neither_does_it_while_it_is_under_way(source: FileSource, service: LoopbackServer) -> None:
    """Another thread that sends it, too, would take its token to its own proxy, and to where it is redirected."""
    held: list[object] = []

    class Looking(Noting):
        def send(self, *args: Any, **kwargs: Any) -> requests.Response:  # noqa: ANN401
            held.append(dict(prepared.headers))
            return super().send(*args, **kwargs)

    with requests.Session() as session:
        own = Looking()
        session.mount(service.url, own)
        prepared = signing(session, source, service.url).prepare_request(requests.Request("GET", service.url))
        before = dict(prepared.headers)
        session.send(prepared)
    assert own.sent == [True]
    assert held == [before]


def test_a_netrc_does_not_keep_a_token_back(
    source: FileSource, service: LoopbackServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with signing(requests.Session(), source, service.url) as session:
        session.get(service.url)
    assert service.seen[0].headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("place", ["http://127.0.0.1:99999/", "http://127.0.0.1:8%40127.0.0.1:9/"])
def test_a_redirect_to_no_url_is_the_librarys_own_error(source: FileSource, place: str) -> None:
    with (
        LoopbackServer(lambda _: Reply(302, headers={"location": place})) as server,
        signing(requests.Session(), source, server.url) as session,
        pytest.raises(requests.exceptions.InvalidURL),
    ):
        session.get(server.url)


def test_adapters_of_other_schemes_go_on(source: FileSource) -> None:
    class Elsewhere(Noting):
        def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:  # noqa: ANN401
            self.sent.append("authorization" in request.headers)
            response = requests.Response()
            response.request, response.raw = request, BytesIO()
            return response

    with requests.Session() as session:
        own = Elsewhere()
        session.mount("http+unix://", own)
        signing(session, source, "https://orders.example").get("http+unix://%2Frun%2Forders.sock/")
    assert own.sent == [False]


def test_a_request_that_fails_holds_none_either(source: FileSource) -> None:
    with signing(requests.Session(), source, "http://127.0.0.1:1") as session, pytest.raises(requests.ConnectionError) as caught:
        session.get("http://127.0.0.1:1/")
    assert caught.value.request is not None
    assert not {"authorization", "x-serverless-authorization"} & {name.lower() for name in caught.value.request.headers}


def test_the_callers_own_header_stays(source: FileSource, service: LoopbackServer) -> None:
    with signing(requests.Session(), source, service.url) as session:
        answer = session.get(service.url, headers={"Authorization": "Basic eA=="})
    assert service.seen[0].headers["authorization"] == answer.request.headers["authorization"] == "Basic eA=="


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_signed_by_where_it_goes(source: FileSource, service: LoopbackServer, status: int) -> None:
    with LoopbackServer(lambda _: Reply(200, b"foreign")) as foreign:
        places = iter([f"{service.url}/again", f"{foreign.url}/", None])

        def answer(_: object) -> Reply:
            place = next(places)
            return Reply(200) if place is None else Reply(status, headers={"location": place})

        with LoopbackServer(answer) as first, signing(requests.Session(), source, first.url, service.url) as session:
            assert session.get(first.url).content == b"itself"
            assert session.get(first.url).content == b"foreign"
        carried = [
            {"authorization", "x-serverless-authorization"} & set(one.headers) for one in (*first.seen, *service.seen, *foreign.seen)
        ]
    assert [len(names) for names in carried] == [2, 2, 2, 0]


def test_a_token_is_read_for_each_sending_of_a_prepared_request(tmp_path: Path, service: LoopbackServer) -> None:
    volume = ProjectedVolume(tmp_path, TOKEN)
    clock = SteppedClock(NOW)
    newer = ec_signer().token(kubernetes_claims(jti="newer"))
    with requests.Session() as session:
        BearerAuth(FileSource(volume.path, audience="orders-api"), origins=[service.url], clock=clock).attach(session)
        prepared = session.prepare_request(requests.Request("GET", service.url))
        session.send(prepared)
        volume.swap(newer)
        clock.step(timedelta(seconds=2))
        session.send(prepared)
    assert [one.headers["authorization"] for one in service.seen] == [f"Bearer {TOKEN}", f"Bearer {newer}"]
