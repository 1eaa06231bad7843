# SPDX-License-Identifier: Apache-2.0
"""What only urllib3 has: managers with pools of their own kind."""

from pathlib import Path
from typing import Any

import pytest
import urllib3
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from loopback_server import LoopbackServer, Reply
from podpass.client.urllib3 import BearerAuth
from podpass.clock import SteppedClock
from podpass.errors import ConfigError
from podpass.sources.file import FileSource
from projected_volume import ProjectedVolume
from token_forge import NOW, ec_signer, kubernetes_claims


def auth(folder: Path, *origins: str) -> tuple[BearerAuth, str]:
    token = ec_signer().token(kubernetes_claims(jti=folder.name))
    folder.mkdir()
    return BearerAuth(FileSource(ProjectedVolume(folder, token).path, audience="x"), origins=origins, clock=SteppedClock(NOW)), token


class TunnelConnection(HTTPConnection):
    """Takes what urllib3's connections through SOCKS take; its library is no dependency."""

    def __init__(self, *args: Any, _socks_options: object, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **kwargs)


class TunnelPool(HTTPConnectionPool):
    ConnectionCls = TunnelConnection


def test_a_proxy_for_socks_reads_along(tmp_path: Path) -> None:
    with LoopbackServer(lambda _: Reply(200)) as service:
        manager = urllib3.PoolManager(_socks_options={"proxy_host": "127.0.0.1"})
        manager.pool_classes_by_scheme = {"http": TunnelPool, "https": HTTPSConnectionPool}
        bearer, _ = auth(tmp_path / "one", service.url)
        with bearer.attach(manager), pytest.raises(ConfigError, match="a proxy is on the way"):
            manager.request("GET", service.url)
        assert service.seen == []


def test_pools_of_the_managers_own_kind_go_on_sending(tmp_path: Path) -> None:
    class Own(HTTPConnectionPool):
        pass

    with LoopbackServer(lambda _: Reply(200)) as service, urllib3.PoolManager() as manager:
        manager.pool_classes_by_scheme = {"http": Own, "https": HTTPSConnectionPool}
        bearer, token = auth(tmp_path / "one", service.url)
        assert isinstance(bearer.attach(manager).connection_from_url(service.url), Own)
        manager.request("GET", service.url)
        assert service.seen[0].headers["authorization"] == f"Bearer {token}"


def test_services_with_audiences_of_their_own_share_a_manager(tmp_path: Path) -> None:
    with LoopbackServer(lambda _: Reply(200)) as one, LoopbackServer(lambda _: Reply(200)) as two, urllib3.PoolManager() as manager:
        (first, first_token), (second, second_token) = auth(tmp_path / "one", one.url), auth(tmp_path / "two", two.url)
        second.attach(first.attach(manager))
        for service, token in ((one, first_token), (two, second_token)):
            manager.request("GET", service.url)
            assert service.seen[0].headers["authorization"] == f"Bearer {token}"
