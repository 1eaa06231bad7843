# SPDX-License-Identifier: Apache-2.0
"""Every way to lay volumes serves the same pods; a machine without any says what to do."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node_world import NodeWorld
from podpass.sandbox.node.mounts import Way, bubblewrap_command, choose, plan

VOLUMES = [{"name": "c", "configMap": {"name": "words"}}]
# A leased path is the machine's, and so every other test's.
HOME = f"/var/run/podpass-ways-{os.getpid()}"


def container(path: str) -> dict[str, Any]:
    return {"volumeMounts": [{"name": "c", "mountPath": path}]}


@pytest.fixture(scope="module", params=["bubblewrap", "unshare", "lease"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeWorld]:
    way: Way = request.param
    commands = {"bubblewrap": [*bubblewrap_command(plan([])), "true"], "unshare": ["unshare", "-Urm", "true"], "lease": ["true"]}
    try:
        works = subprocess.run(commands[way], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        works = False
    if not works or (way == "lease" and os.geteuid() != 0):
        pytest.skip(f"this machine has no {way}")
    with NodeWorld("built-in", tmp_path_factory.mktemp("world"), way=way) as world:
        world.make("configmaps", "words", data={"word": "here"})
        yield world


def test_pod_finds_its_volume_and_the_machine_keeps_no_trace(world: NodeWorld) -> None:
    world.make_pod("finds", f"cat {HOME}/deep/word", container=container(f"{HOME}/deep"), volumes=VOLUMES)
    assert world.output("finds") == "here"
    world.until(lambda: Path(HOME).exists(), lambda there: not there)


def test_pod_finds_no_secrets_of_the_sandbox_by_path(world: NodeWorld, request: pytest.FixtureRequest) -> None:
    if "lease" in request.node.name:
        pytest.skip("a leased path hides nothing: the pod sees the machine as it is")
    (world.directory / "secrets").mkdir(exist_ok=True)
    (world.directory / "secrets" / "operator.json").write_text("{}")
    world.make_pod("spies", f"cd {world.directory}; find secrets ca -type f; test -s ca/ca.crt && echo read")
    assert world.output("spies").splitlines() == ["ca/ca.crt", "read"]


def test_two_pods_that_want_one_path_are_both_served(world: NodeWorld) -> None:
    for name in ("one", "two"):
        world.make_pod(name, f"cat {HOME}/word; sleep 0.3; cat {HOME}/word", container=container(HOME), volumes=VOLUMES)
    assert [world.output(name) for name in ("one", "two")] == ["herehere", "herehere"]
    world.until(lambda: Path(HOME).exists(), lambda there: not there)


def test_end_of_the_node_agent_leaves_no_path_and_no_process_behind(world: NodeWorld) -> None:
    world.make_pod("runs", f"cat {HOME}/word; echo; exec sleep 61.{os.getpid()}", container=container(HOME), volumes=VOLUMES)
    world.until(lambda: world.log_or_nothing("runs"), lambda said: said == "here\n")
    world.restart_agent()
    assert not Path(HOME).exists()
    assert subprocess.run(["pgrep", "-f", f"sleep 61.{os.getpid()}"], capture_output=True, check=False).stdout == b""
    world.delete_pod("runs", 0)


def test_machine_without_any_way_names_the_cure(tmp_path: Path) -> None:
    with NodeWorld("built-in", tmp_path, way="none") as world:
        world.make("configmaps", "words", data={"word": "here"})
        world.make_pod("plain", "echo runs", automountServiceAccountToken=False)
        assert world.output("plain") == "runs\n"
        world.make_pod("volume", "true", container=container("/podpass-test"), volumes=VOLUMES)
        message = world.until(lambda: world.events("volume").get("FailedMount", ""), bool)
        assert "apt-get install bubblewrap" in message
        assert world.pod("volume")["status"]["phase"] == "Pending"


def test_some_way_is_found_here_as_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root always has one")
    assert choose() in {"bubblewrap", "unshare", "lease"}
