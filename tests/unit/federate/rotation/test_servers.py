# SPDX-License-Identifier: Apache-2.0
"""Which API servers there are, by the cluster's own list."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from podpass.federate.rotation import servers
from podpass.federate.rotation.servers import Server, ask_all
from podpass.kube.client import KubeClient
from podpass.names import Secret, ServiceAccountRef
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
