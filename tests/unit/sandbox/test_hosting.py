# SPDX-License-Identifier: Apache-2.0
import asyncio
import gc
import json
import logging
import os
import socket
import stat
import threading
import time
import urllib.request
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

import pytest

from conftest import StartSandbox
from podpass.sandbox import parts
from podpass.sandbox.hosting import HostedSandbox
from podpass.sandbox.sandbox import Sandbox
from podpass.sandbox.settings import SandboxSettings


def admin(side: HostedSandbox, path: str, body: object = None, token: str | None = None) -> Any:  # noqa: ANN401 - whatever JSON holds
    environment = side.environment()
    shown = environment["PODPASS_SANDBOX_ADMIN_TOKEN"] if token is None else token
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(environment["PODPASS_SANDBOX_ADMIN"] + path, content, {"Authorization": f"Bearer {shown}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def refused(side: HostedSandbox, path: str, body: object = None, token: str | None = None) -> tuple[int, Any]:
    with pytest.raises(HTTPError) as caught:
        admin(side, path, body, token)
    with caught.value as answer:
        return answer.code, json.load(answer)


def test_a_sandbox_starts_in_an_instant() -> None:
    def start() -> float:
        began = time.monotonic()
        with HostedSandbox(SandboxSettings()):
            return time.monotonic() - began

    # One of some: the first one pays imports, and the machine may have others to serve.
    assert any(start() < 1 for _ in range(20))


def test_a_sandbox_that_stops_leaves_nothing() -> None:
    threads = set(threading.enumerate())
    with HostedSandbox(SandboxSettings()) as sandbox:
        directory = Path(sandbox.environment()["CLOUDSDK_CONFIG"]).parent
        idle = socket.create_connection(("127.0.0.1", urlsplit(sandbox.environment()["HTTPS_PROXY"]).port or 0))
        assert directory.exists()
    idle.close()
    assert not directory.exists()
    assert set(threading.enumerate()) <= threads  # those of others may have ended
    gc.collect()  # what is left open would be warned about here


@pytest.mark.parametrize("part", ["clustered", "administered"])
def test_a_start_that_fails_half_way_takes_everything_down(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[str] = []

    class Refusing:
        async def __aenter__(self) -> None:
            raise OSError("no such port")

        async def __aexit__(self, *_: object) -> None:
            stopped.append("never entered")

    monkeypatch.setattr(parts, part, lambda *_: Refusing())
    threads = set(threading.enumerate())
    sandbox = HostedSandbox(SandboxSettings())
    with pytest.raises(OSError, match="no such port"), sandbox:
        pass
    assert set(threading.enumerate()) <= threads
    assert stopped == []
    gc.collect()


def test_a_part_that_stops_by_itself_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise RuntimeError("broken")

    async def scene() -> None:
        async with parts.working("node agent", fail()):
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    with caplog.at_level(logging.ERROR):
        asyncio.run(scene())
    assert "The sandbox's node agent has stopped" in caplog.text


def test_a_state_directory_is_taken_up_again(tmp_path: Path) -> None:
    settings = SandboxSettings(state_dir=tmp_path)
    with HostedSandbox(settings, with_cluster=False) as first:
        first.universe.store.put("pool", "x", {"state": "ACTIVE"})
        token = first.universe.identities.user_token("operator@example.com", [])
        authority = Path(first.environment()["SSL_CERT_FILE"]).read_bytes()
        kid = first.universe.signing_key.kid
    with HostedSandbox(settings, with_cluster=False) as second:
        assert second.dump()["google"]["pool"] == {"x": {"state": "ACTIVE"}}
        assert second.universe.identities.bearer(token)
        assert Path(second.environment()["SSL_CERT_FILE"]).read_bytes() == authority
        assert second.universe.signing_key.kid == kid
    for name in ("google/token.key", "google/google-signing.key", "ca/ca.key"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_a_pod_gets_the_way_out_and_no_credentials(google_side: HostedSandbox) -> None:
    pod, user = google_side.pod_environment(), google_side.environment()
    assert user.items() > pod.items()
    assert not any("CREDENTIAL" in name or "ADMIN" in name or name in {"KUBECONFIG", "BOTO_CONFIG"} for name in pod)
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        assert name in pod


def test_beside_a_real_cluster_only_that_cluster_is_reached(start_sandbox: StartSandbox, tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text("clusters: [{name: a, cluster: {server: 'https://k8s.example:6443'}}]")
    side = start_sandbox(kubeconfig=path)
    environment = side.environment()
    assert environment["KUBECONFIG"] == str(path)
    assert environment["NO_PROXY"] == environment["no_proxy"] == "127.0.0.1,localhost,k8s.example"
    assert side.cluster is None


def test_files_with_credentials_are_their_owner_s_alone(google_side: HostedSandbox) -> None:
    user = google_side.environment()
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "BOTO_CONFIG"):
        assert stat.S_IMODE(Path(user[name]).stat().st_mode) == 0o600
    assert stat.S_IMODE(Path(user["CLOUDSDK_CONFIG"]).parent.stat().st_mode) == 0o700
    assert os.listdir(user["CLOUDSDK_CONFIG"]) == []  # noqa: PTH208 - a plain question


def test_the_admin_door_wants_its_token(google_side: HostedSandbox) -> None:
    assert refused(google_side, "/dump", token="")[0] == 401
    assert refused(google_side, "/dump", token="x")[0] == 401
    assert refused(google_side, "/nowhere")[0] == 404


def test_the_admin_door_shows_what_is_there_and_what_was_asked(google_side: HostedSandbox) -> None:
    dump = admin(google_side, "/dump")
    assert dump["google"]["project"]["demo-project"]["projectNumber"] == "415104041262"
    assert dump == google_side.dump()
    google_side.universe.log.refuse(_request(), 403)
    assert admin(google_side, "/requests")["requests"][-1]["host"] == "example.com:443"


def _request() -> Any:  # noqa: ANN401 - built here only
    from podpass.sandbox.google.message import Request  # noqa: PLC0415 - used here only

    return Request("CONNECT", "example.com:443", "")


def test_settings_change_while_it_runs(start_sandbox: StartSandbox) -> None:
    side = start_sandbox(with_cluster=False)
    assert admin(side, "/settings", {"propagation_s": 0.5, "latency_ms": 80}) == {"propagation_s": 0.5, "latency_ms": 80}
    assert side.settings.propagation == timedelta(seconds=0.5)
    assert admin(side, "/settings", {"latency_ms": 0}) == {"propagation_s": 0.5, "latency_ms": 0}
    assert refused(side, "/settings", {"latency": 1})[0] == 400
    assert refused(side, "/settings", {"propagation_s": "long"})[0] == 400


def test_without_a_cluster_there_is_none_to_restart(google_side: HostedSandbox) -> None:
    assert refused(google_side, "/cluster/restart", {})[0] == 409


def test_the_cluster_restarts_with_another_issuer_and_key(start_sandbox: StartSandbox) -> None:
    side = start_sandbox()
    assert side.cluster
    before = side.cluster.issuers
    changed = admin(side, "/cluster/restart", {"issuer": "https://issuer.example", "newKey": "p256", "keepOldKeys": True})
    assert changed["issuers"] == ["https://issuer.example", *before]


def test_a_sandbox_lives_in_a_loop_of_one_s_own_too() -> None:
    async def scene() -> set[str]:
        async with Sandbox(with_cluster=False) as sandbox:
            return set(sandbox.environment())

    assert {"HTTPS_PROXY", "CLOUDSDK_CONFIG", "PODPASS_SANDBOX_ADMIN"} <= asyncio.run(scene())
