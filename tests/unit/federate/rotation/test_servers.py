# SPDX-License-Identifier: Apache-2.0
"""Which API servers there are, by the cluster's own list."""

import threading
from collections.abc import Collection, Iterator
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from podpass.errors import UnexpectedAnswerError, UnreachableError
from podpass.federate.rotation import servers
from podpass.federate.rotation.servers import Server, ask_all
from podpass.kube.client import KubeClient
from podpass.kube.kubeconfig import from_dict
from podpass.names import Secret, ServiceAccountRef
from podpass.net.silence import LIMIT_S
from unit.kube.api_server import cluster, kubeconfig, status

ACCOUNT = ServiceAccountRef("default", "shop")
FOUND = Server("https://10.0.0.1:6443", frozenset({"kid"}), "kid", Secret("x", "t"), datetime(2026, 11, 22, tzinfo=UTC))
SLICE = {
    "endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": ["fd00::2"]}, {"addresses": ["10.0.0.1"]}],
    "ports": [{"name": "https", "port": 6443}, {"name": "metrics", "port": 9}],
}
LISTED = {"https://10.0.0.1:6443", "https://[fd00::2]:6443"}


@pytest.mark.parametrize("reached", [True, False])
def test_the_listed_servers_are_known_whether_or_not_they_can_be_reached(monkeypatch: pytest.MonkeyPatch, reached: bool) -> None:  # noqa: FBT001 - a case
    def ask(_access: object, addresses: list[str], *_: object) -> tuple[tuple[Server, ...], tuple[str, ...]]:
        assert set(addresses) == LISTED
        return ((FOUND,), ("https://[fd00::2]:6443: gone",)) if reached else ((), ("gone",))

    def ask_often(*_: Any) -> Iterator[Server]:  # noqa: ANN401 - as it is called
        yield FOUND

    monkeypatch.setattr(servers, "_ask", ask)
    monkeypatch.setattr(servers, "_ask_often", ask_often)
    plane = ask_all(cluster(SLICE).client(), ACCOUNT, "audience")
    assert plane.is_complete is reached
    assert plane.listed == LISTED
    assert plane.servers == (FOUND,)


@pytest.mark.parametrize("answer", [status(403, "Forbidden", "no"), status(404, "NotFound", "none"), httpx2.Response(200, json={})])
def test_a_cluster_that_lists_none_is_asked_at_its_one_address(monkeypatch: pytest.MonkeyPatch, answer: httpx2.Response) -> None:
    monkeypatch.setattr(servers, "_ask_often", lambda *_: iter([FOUND]))
    plane = ask_all(cluster(answer).client(), ACCOUNT, "audience")
    assert (plane.is_complete, plane.listed) == (False, frozenset())


def test_where_no_certificate_is_checked_the_cluster_names_nobody_who_gets_the_credential(monkeypatch: pytest.MonkeyPatch) -> None:
    unchecked: dict[str, Any] = {"insecure-skip-tls-verify": True}
    client = cluster(SLICE).client(kubeconfig(**unchecked))
    asked: list[str] = []

    def look(one: KubeClient, *_: object) -> Server:
        asked.append(one.access.server)
        return FOUND

    monkeypatch.setattr(servers, "_look", look)
    plane = ask_all(client, ACCOUNT, "audience", thoroughly=False)
    assert asked == [client.access.server]
    assert plane.listed == LISTED
    assert not plane.is_complete


def listing(count: int) -> dict[str, Any]:
    return SLICE | {"endpoints": [{"addresses": [f"10.0.0.{number}"]} for number in range(count)]}


def test_a_list_longer_than_any_control_plane_s_is_refused_and_nobody_on_it_is_asked() -> None:
    there = cluster(listing(servers.AT_MOST + 1))
    with pytest.raises(UnexpectedAnswerError, match="lists more than 100 API servers") as caught:
        ask_all(there.client(), ACCOUNT, "audience")
    assert "delete it: the API servers write it anew" in caught.value.next_step
    assert len(there.asked) == 1


def test_all_listed_servers_are_asked_at_the_same_time_and_each_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(servers.AT_MOST, timeout=60)  # breaks where one has to wait for another's answer

    def look(_one: KubeClient, address: str, *_: object) -> Server:
        together.wait()
        if address.endswith(".7:6443"):
            raise UnreachableError("It is down.")
        return replace(FOUND, name=address)

    monkeypatch.setattr(servers, "_look", look)
    plane = ask_all(cluster(listing(servers.AT_MOST)).client(), ACCOUNT, "audience")
    assert plane.silent == ("https://10.0.0.7:6443: It is down.",)
    assert {server.name for server in plane.servers} == plane.listed - {"https://10.0.0.7:6443"}


def test_a_server_that_hangs_is_silent_when_the_time_of_all_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    let_go = threading.Event()

    def look(_one: KubeClient, address: str, *_: object) -> Server:
        if address == "https://10.0.0.2:6443":
            let_go.wait(60)
        return replace(FOUND, name=address)

    def time_is_over(flights: Collection[Future[Server]], timeout: float) -> Any:  # noqa: ANN401 - the library's own
        assert timeout == LIMIT_S
        return wait_for(list(flights)[:2], timeout=60)

    monkeypatch.setattr(servers, "_look", look)
    monkeypatch.setattr(servers, "wait", time_is_over)
    addresses = [f"https://10.0.0.{number}:6443" for number in range(3)]
    found, silent = servers._ask(from_dict(kubeconfig()), addresses, ACCOUNT, "audience")
    let_go.set()
    assert [server.name for server in found] == addresses[:2]
    assert silent == ("https://10.0.0.2:6443: It has not answered within 30 s.",)
