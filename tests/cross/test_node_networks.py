# SPDX-License-Identifier: Apache-2.0
"""Pods have networks of their own: what they share they publish."""

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from node_world import NodeWorld
from podpass.sandbox.node import pod_network
from podpass.sandbox.node.mounts import Way, succeeds
from pods import SH

CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5); print('connected')"
SERVE = (
    "python3 -c \"import socket; s = socket.create_server(('$HOST', $PORT)); print('up', flush=True)\nwhile True: s.accept()[0].close()\""
)
ADDRESSES = [
    {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
    for name, path in (("POD_IP", "status.podIP"), ("HOST_IP", "status.hostIP"), ("NODE", "spec.nodeName"), ("UID_", "metadata.uid"))
]


@pytest.fixture(autouse=True)
def _namespaces() -> None:
    if not pod_network.choose():
        pytest.skip("this machine gives no network namespaces (run as root, or allow user namespaces)")


def connects(world: NodeWorld, name: str, *targets: tuple[str, int], **spec: Any) -> list[str]:  # noqa: ANN401 - JSON
    """Try from a pod; return what each attempt said last."""
    tries = [f'python3 -c "{CONNECT}" {host} {port} 2>&1 | tail -1' for host, port in targets]
    world.make_pod(name, "\n".join(tries), **spec)
    return world.output(name).splitlines()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    """Tell whether the machine's loopback answers at a port; a published one does a moment after its pod."""
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return False
    return True


@contextmanager
def server(world: NodeWorld, name: str, port: int, host: str = "127.0.0.1", **published: int) -> Iterator[str]:
    """Have a pod listen; yield its address."""
    env = [{"name": "PORT", "value": str(port)}, {"name": "HOST", "value": host}]
    world.make_pod(name, SERVE, container={"env": env, "ports": [{"containerPort": port, **published}]})
    world.until(lambda: world.log_or_nothing(name), lambda said: said == "up\n")
    try:
        yield world.pod(name)["status"]["podIP"]
    finally:
        world.delete_pod(name)
        world.until(lambda: world.is_gone(name), bool)


def test_no_other_pod_and_not_the_machine_reaches_what_listens_on_a_pods_loopback(node_world: NodeWorld) -> None:
    port = free_port()
    with server(node_world, "alone", port) as address:
        said = connects(node_world, "stranger", ("127.0.0.1", port), (address, port))
        assert ["refused" in said[0], "unreachable" in said[1]] == [True, True], said
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 5)
        with pytest.raises(OSError, match=r"timed out|unreachable|refused"):
            socket.create_connection((address, port), 0.5)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_published_port_is_the_nodes(node_world: NodeWorld, host: str) -> None:
    port, name = free_port(), f"published-{len(host)}"
    with server(node_world, name, 8080, host, hostPort=port):
        node_world.until(lambda: answers(port), bool)
        assert connects(node_world, f"client-{len(host)}", ("127.0.0.1", port)) == ["connected"]
    assert not answers(port)


def test_two_pods_may_listen_on_one_port(node_world: NodeWorld) -> None:
    with server(node_world, "first", 8080) as one, server(node_world, "second", 8080) as other:
        assert one != other


def test_pod_reaches_the_api_server_and_no_other_port_of_the_machine(node_world: NodeWorld) -> None:
    with socket.create_server(("127.0.0.1", 0)) as private:
        where = ("$KUBERNETES_SERVICE_HOST", "$KUBERNETES_SERVICE_PORT")
        said = connects(node_world, "asks", where, ("127.0.0.1", private.getsockname()[1]))  # type: ignore[arg-type]
        assert said[0] == "connected"
        assert "refused" in said[1]
        assert connects(node_world, "host", ("127.0.0.1", private.getsockname()[1]), hostNetwork=True) == ["connected"]


def test_containers_of_a_pod_share_its_network(node_world: NodeWorld) -> None:
    listen = "python3 -c \"import socket; s = socket.create_server(('127.0.0.1', 8080)); s.accept()\""
    wait = f'until python3 -c "{CONNECT}" 127.0.0.1 8080 2> /dev/null; do sleep 0.05; done'
    containers = [{"name": "main", "image": SH, "args": [wait]}, {"name": "beside", "image": SH, "args": [listen]}]
    node_world.make_pod("shared", "", containers=containers)
    node_world.ended("shared")
    assert node_world.log("shared", container="main") == "connected\n"


def test_pod_knows_its_addresses_as_its_status_says(node_world: NodeWorld) -> None:
    script = "echo $POD_IP $HOST_IP $NODE $UID_"
    node_world.make_pod("own", script, container={"env": ADDRESSES})
    node_world.make_pod("of-the-host", script, container={"env": ADDRESSES}, hostNetwork=True)
    own, host = node_world.output("own").split(), node_world.output("of-the-host").split()
    pod = node_world.pod("own")
    assert own == [pod["status"]["podIP"], pod["status"]["hostIP"], "podpass-node", pod["metadata"]["uid"]]
    assert own[0].startswith("10.244.0.")
    assert host[:2] == ["127.0.0.1", "127.0.0.1"]


def test_taken_port_is_waited_for(node_world: NodeWorld) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        node_world.make_pod("patient", "echo served", container={"ports": [{"containerPort": 80, "hostPort": port}]})
        message = node_world.until(lambda: node_world.events("patient").get("FailedCreatePodSandBox", ""), bool)
        assert f"host port {port} cannot be listened on" in message
        assert node_world.pod("patient")["status"]["phase"] == "Pending"
    assert node_world.output("patient") == "served\n"


@pytest.mark.parametrize("way", ["bubblewrap", "unshare"])
def test_network_of_a_user_namespace_goes_with_every_way_to_lay_volumes(way: Way, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the sandbox does not run as root."""
    words = pod_network._UNPRIVILEGED
    if not succeeds([*words, "true"]) or (way == "bubblewrap" and not shutil.which("bwrap")):
        pytest.skip(f"this machine has no user namespaces, or no {way}")
    monkeypatch.setattr(pod_network, "choose", lambda: words)
    with NodeWorld("built-in", tmp_path, way=way) as world:
        world.make("configmaps", "words", data={"word": "here"})
        container = {"volumeMounts": [{"name": "c", "mountPath": "/podpass-test"}], "env": ADDRESSES}
        volumes = [{"name": "c", "configMap": {"name": "words"}}]
        world.make_pod(
            "both", "cat /podpass-test/word; echo; id -u; grep -c $POD_IP /proc/net/fib_trie", container=container, volumes=volumes
        )
        assert world.output("both").splitlines()[:2] == ["here", str(os.getuid())]


def test_metadata_sidecar_is_refused_with_the_cure_where_pods_share_the_machines_network() -> None:
    with TemporaryDirectory() as directory, NodeWorld("built-in", Path(directory), isolated=False) as world:
        sidecar = {"name": "metadata", "image": SH, "args": ["metadata-server"], "restartPolicy": "Always"}
        world.make_pod("with-sidecar", "true", initContainers=[sidecar])
        message = world.until(lambda: world.events("with-sidecar").get("FailedCreatePodSandBox", ""), bool)
        assert "user namespaces" in message
        assert world.pod("with-sidecar")["status"]["phase"] == "Pending"
        with socket.create_server(("127.0.0.1", 0)) as machine:
            assert connects(world, "plain", ("127.0.0.1", machine.getsockname()[1])) == ["connected"]
