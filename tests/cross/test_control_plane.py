# SPDX-License-Identifier: Apache-2.0
"""A real control plane keeps the sandbox's promises about a cluster."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import jwt
import pytest

from podpass.errors import ConfigError
from podpass.sandbox.binaries import Binaries, cache_directory
from podpass.sandbox.ca import AuthorityCA
from podpass.sandbox.cluster import IssuerChange
from podpass.sandbox.cluster_client import ClusterClient, Object, StatusError
from podpass.sandbox.control_plane import ControlPlane, ControlPlaneError
from podpass.sandbox.node.mounts import MountError
from podpass.sandbox.settings import SandboxSettings

pytestmark = pytest.mark.cluster
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
TOKENS = "/api/v1/namespaces/default/serviceaccounts/default/token"


@pytest.fixture(autouse=True)
def _programs() -> None:
    try:
        Binaries.find(cache_directory())
    except ConfigError as error:
        pytest.skip(str(error))


def control_plane(directory: Path) -> ControlPlane:
    return ControlPlane(cache_directory(), SandboxSettings(key_type="p256", state_dir=directory), AuthorityCA(directory / "ca"))


@asynccontextmanager
async def running(directory: Path) -> AsyncIterator[tuple[ControlPlane, ClusterClient]]:
    plane = control_plane(directory)
    try:
        await plane.start()
        async with ClusterClient(plane.admin_kubeconfig(), agent="test") as client:
            yield plane, client
    finally:
        await plane.stop()


async def a_token(client: ClusterClient) -> str:
    answer = await client.post(TOKENS, {"spec": {"audiences": [], "expirationSeconds": 600}})
    return str(answer["status"]["token"])


async def review(client: ClusterClient, token: str) -> Object:
    answer = await client.post("/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": token}})
    status: Object = answer["status"]
    return status


def test_cluster_is_kept_in_its_directory(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(tmp_path) as (plane, client):
            await client.post(CONFIG_MAPS, {"metadata": {"name": "kept"}, "data": {"a": "b"}})
            await plane.restart(IssuerChange(issuer="https://storage.googleapis.com/demo-oidc"))
            token, before, ways_in = await a_token(client), await plane.dump(), plane.admin_kubeconfig()["users"]
            assert before["configmaps"]["default/kept"]["data"] == {"a": "b"}
            with pytest.raises(MountError, match="belongs to a running sandbox"):
                await control_plane(tmp_path).start()
        async with running(tmp_path) as (plane, client):
            assert await plane.dump() == before
            assert plane.admin_kubeconfig()["users"] == ways_in
            assert plane.issuers[0] == "https://storage.googleapis.com/demo-oidc"
            assert (await review(client, token))["authenticated"]

    asyncio.run(story())


def test_announced_key_signs_later_and_a_dropped_key_opens_nothing(tmp_path: Path) -> None:
    def kid(token: str) -> str:
        return str(jwt.get_unverified_header(token)["kid"])

    async def story() -> None:
        async with running(tmp_path) as (plane, client):
            old = await a_token(client)
            await plane.restart(IssuerChange(announce_key="rsa2048"))
            announced = await a_token(client)
            await plane.restart(IssuerChange(sign_with_announced=True))
            new = await a_token(client)
            assert (kid(announced), jwt.get_unverified_header(new)["alg"]) == (kid(old), "RS256")
            assert [(await review(client, token)).get("authenticated") for token in (old, new)] == [True, True]
            await plane.restart(IssuerChange(keep_old_keys=False))
            assert [(await review(client, token)).get("authenticated") for token in (old, new)] == [None, True]

    asyncio.run(story())


def test_node_may_not_do_an_administrators_work(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(tmp_path) as (plane, _), ClusterClient(plane.node_kubeconfig(), agent="test") as node:
            with pytest.raises(StatusError, match="403 Forbidden"):
                await node.post("/api/v1/namespaces", {"metadata": {"name": "mine"}})
            with pytest.raises(StatusError, match="403 Forbidden"):
                await node.get("/api/v1/namespaces/default/secrets")

    asyncio.run(story())


def test_port_that_is_taken_is_told_with_the_servers_own_words(tmp_path: Path) -> None:
    async def story(port: int) -> None:
        plane = control_plane(tmp_path)
        plane._port = port
        try:
            with pytest.raises(ControlPlaneError, match=r"kube-apiserver ended with code 1(?s:.)*address already in use"):
                await plane.start()
        finally:
            await plane.stop()

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        asyncio.run(story(other.getsockname()[1]))


SANDBOX = """
import asyncio, sys
from pathlib import Path
from podpass.sandbox.binaries import cache_directory
from podpass.sandbox.ca import AuthorityCA
from podpass.sandbox.control_plane import ControlPlane
from podpass.sandbox.settings import SandboxSettings

async def main():
    directory = Path(sys.argv[1])
    await ControlPlane(cache_directory(), SandboxSettings(key_type="p256", state_dir=directory), AuthorityCA(directory / "ca")).start()
    print("up", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


def processes_in(directory: Path) -> list[str]:
    """Name the programs that work in a directory."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").readlink() == directory:
                found.append((entry / "comm").read_text().strip())
        except OSError:  # it ended while we looked
            continue
    return sorted(found)


def test_no_program_outlives_a_sandbox_that_is_killed(tmp_path: Path) -> None:
    sandbox = subprocess.Popen([sys.executable, "-c", SANDBOX, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert sandbox.stdout is not None
    assert sandbox.stdout.readline() == "up\n"
    home = tmp_path / "control-plane"
    assert {name for name in processes_in(home) if not name.startswith("python")} == {"etcd", "kube-apiserver", "kube-controller"}
    os.kill(sandbox.pid, signal.SIGKILL)
    sandbox.communicate()
    deadline = time.monotonic() + 60
    while processes_in(home):
        assert time.monotonic() < deadline
        time.sleep(0.05)

    async def again() -> None:
        async with running(tmp_path) as (plane, _):
            assert "default" in (await plane.dump())["namespaces"]

    asyncio.run(again())
