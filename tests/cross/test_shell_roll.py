# SPDX-License-Identifier: Apache-2.0
"""The issuer of kubeadm's, kind's, k3s' and RKE2's clusters is moved node by node through a shell on each, judged by real programs."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from cross.machines_cluster import is_taken, seen, token_of
from cross.scripted_nodes import is_possible
from cross.shell_cluster import MANIFESTS, POD, SERVICE, KubeadmCluster, RancherCluster, ShellCluster
from podpass.cli.root import podpass
from podpass.errors import ConfigError, PartlyAppliedError, UnreachableError, UnsafePlanError
from podpass.federate.clusters.evidence import Node
from podpass.federate.clusters.flags import ServiceAccountFlags
from podpass.federate.clusters.machines.kubeadm import KeptConfiguration, KubeadmMachines
from podpass.federate.clusters.machines.rancher import RancherMachines
from podpass.federate.clusters.machines.shell import CommandShell
from podpass.federate.clusters.move import Move, Stage
from podpass.federate.clusters.roll import Machines, Roll, Times
from podpass.kube.config_maps import get_config_map
from podpass.sandbox.binaries import Binaries, cache_directory
from podpass.sandbox.hosting import HostedSandbox

pytestmark = pytest.mark.cluster
NEW = "https://storage.googleapis.com/demo-oidc"
PATCHES = "etc/kubernetes/podpass/patches/kube-apiserver0podpass+json.yaml"
FEDERATION = f"""
apiVersion: podpass.dev/v1alpha1
kind: Federation
metadata: {{name: moving}}
spec:
  cluster: CLUSTER
  issuer: {{url: {NEW}, keys: inline}}
  google: {{project: demo-project, pool: {{id: POOL}}, provider: {{id: cluster}}}}
  workloads:
    - serviceAccount: default/default
      roles: [roles/storage.objectViewer]
"""
Start = Callable[[str], ShellCluster]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    try:
        Binaries.find(cache_directory())
    except ConfigError as error:
        pytest.skip(str(error))
    if not is_possible():
        pytest.skip("bubblewrap is not installed, or this machine does not let it work")
    with ExitStack() as stack:

        def begin(name: str) -> ShellCluster:
            if name in {"k3s", "rke2"}:
                return stack.enter_context(RancherCluster(tmp_path, "k3s" if name == "k3s" else "rke2"))
            version = name if name.startswith("v1") else "v1beta4"
            return stack.enter_context(KubeadmCluster(tmp_path, version=version, runtime=name if name == "docker" else ""))

        yield begin


def machines_of(cluster: ShellCluster) -> KubeadmMachines | RancherMachines:
    shell = CommandShell((str(cluster.scripted.bin / "ssh"), "{node}", "sudo", "-n", "sh"))
    if isinstance(cluster, KubeadmCluster):
        return KubeadmMachines(shell, cluster.configuration)
    assert isinstance(cluster, RancherCluster)
    return RancherMachines(shell, cluster.program)


def roll(cluster: ShellCluster, machines: Machines | None = None, *, patience_s: float = 90, heard: list[str] | None = None) -> Roll:
    def notify(node: Node, happened: str) -> None:
        if heard is not None:
            heard.append(f"{node.name} {happened}")

    return Roll(machines or machines_of(cluster), cluster.look, notify=notify, times=Times(timedelta(seconds=patience_s)))


def stages(cluster: ShellCluster) -> dict[str, Stage]:
    before = machines_of(cluster).flags(cluster.nodes[0])
    return {stage.name: stage for stage in Move(before, NEW).left(several=True)}


def copies(cluster: ShellCluster, node: Node) -> list[Path]:
    """Return what is kept of former files."""
    folder = {True: "etc/kubernetes/podpass", False: f"etc/rancher/{getattr(cluster, 'program', '')}/podpass"}[
        isinstance(cluster, KubeadmCluster)
    ]
    return sorted(path for path in cluster.scripted.file(node, folder).iterdir() if path.is_file() and path.name.endswith("Z"))


@pytest.mark.parametrize("name", ["v1beta4", "k3s", *(pytest.param(one, marks=pytest.mark.slow) for one in ("v1beta3", "rke2"))])
def test_every_stage_goes_from_node_to_node_and_no_token_is_refused_before_the_drop(name: str, start: Start) -> None:
    cluster = start(name)
    machines = machines_of(cluster)
    with cluster.client(cluster.nodes[0]) as client:
        old = token_of(client)
    found = stages(cluster)
    others: list[bool] = []

    def notify(node: Node, happened: str) -> None:
        if happened == "changed":  # the others serve on, whatever becomes of this one
            for other in (one for one in cluster.nodes if one != node):
                with cluster.client(other) as client:
                    others.append(is_taken(client, old))

    roller = Roll(machines, cluster.look_through(machines), notify=notify, times=Times(timedelta(seconds=90)))
    roller.run(found["accept"], cluster.nodes)
    assert seen(cluster, old) == [(SERVICE, True)] * 3
    roller.run(found["switch"], cluster.nodes)
    assert seen(cluster, old) == [(NEW, True)] * 3
    assert others == [True] * 12
    roller.run(found["drop"], cluster.nodes)
    assert seen(cluster, old) == [(NEW, False)] * 3
    for node in cluster.nodes:
        assert "--profiling=false" in cluster.rendered(node)  # the user's own is there still
        assert len(cluster.told[node.name]) == 4
    calls = len(cluster.scripted.calls())
    roller.run(found["drop"], cluster.nodes)
    assert [len(told) for told in cluster.told.values()] == [4] * 3  # what is done is not done again
    assert len(cluster.scripted.calls()) == calls + 6  # each is read, and nothing else


@pytest.mark.slow
@pytest.mark.parametrize("name", ["v1beta4", "k3s"])
def test_nothing_is_changed_after_a_red_gate_and_what_was_is_taken_back_or_gone_on_with(name: str, start: Start) -> None:
    cluster = start(name)
    before = machines_of(cluster).flags(cluster.nodes[0])
    found = stages(cluster)
    cluster.break_down(cluster.nodes[1])
    heard: list[str] = []
    with pytest.raises(PartlyAppliedError, match="API server of cp-2 has not come back") as stopped:
        roll(cluster, patience_s=8, heard=heard).run(found["accept"], cluster.nodes)
    assert heard == ["cp-1 changed", "cp-1 came back", "cp-2 changed"]
    assert "on the node `" in stopped.value.next_step
    assert len(cluster.told["cp-3"]) == 1
    with pytest.raises(UnsafePlanError, match="Nothing was changed: the API server of cp-2 is not well"):
        roll(cluster).run(found["accept"], cluster.nodes)
    cluster.break_down(cluster.nodes[1], broken=False)
    heard.clear()
    roll(cluster, heard=heard).abort(before, cluster.nodes)
    assert [line for line in heard if line.endswith("changed")] == ["cp-2 changed", "cp-1 changed"]
    machines = machines_of(cluster)
    assert [set(machines.flags(node).accepted_audiences) for node in cluster.nodes] == [set(before.accepted_audiences)] * 3
    roll(cluster).run(found["accept"], cluster.nodes)
    assert [set(machines.flags(node).issuers) for node in cluster.nodes] == [{SERVICE, NEW}] * 3


@pytest.mark.slow
def test_a_service_that_nobody_restarted_after_its_file_was_written_is_restarted_by_the_next_run(start: Start) -> None:
    cluster = start("k3s")
    two = cluster.nodes[1]
    cluster.scripted.file(two, "etc/node/die-at-restart").touch()
    heard: list[str] = []
    with pytest.raises(UnreachableError, match="cp-2"):
        roll(cluster, heard=heard).run(stages(cluster)["accept"], cluster.nodes)
    assert [cluster.scripted.restarts(node) for node in cluster.nodes] == [1, 0, 0]
    cluster.scripted.file(two, "etc/node/die-at-restart").unlink()
    heard.clear()
    roll(cluster, heard=heard).run(Move(ServiceAccountFlags((SERVICE,), (SERVICE, "k3s")), NEW).left(several=True)[0], cluster.nodes)
    assert heard == ["cp-1 there already", "cp-2 changed", "cp-2 came back", "cp-3 changed", "cp-3 came back"]
    assert [cluster.scripted.restarts(node) for node in cluster.nodes] == [1, 1, 1]


@pytest.mark.slow
def test_a_static_pod_that_was_written_beside_and_not_put_in_place_is_written_again(start: Start) -> None:
    cluster = start("v1beta4")
    two = cluster.nodes[1]
    found = stages(cluster)
    as_it_was = cluster.scripted.file(two, POD).read_bytes()
    cluster.scripted.file(two, "etc/node/die-at-sync").touch()
    with pytest.raises(UnreachableError, match="cp-2"):
        roll(cluster).run(found["accept"], cluster.nodes)
    assert cluster.scripted.file(two, POD).read_bytes() == as_it_was
    cluster.scripted.file(two, "etc/node/die-at-sync").unlink()
    heard: list[str] = []
    roll(cluster, heard=heard).run(found["accept"], cluster.nodes)
    assert heard == ["cp-1 there already", "cp-2 changed", "cp-2 came back", "cp-3 changed", "cp-3 came back"]
    for node in cluster.nodes:
        assert [path.name for path in cluster.scripted.file(node, MANIFESTS).iterdir()] == ["kube-apiserver.yaml"]
        assert "by hand: $(touch /etc/pwned)" in cluster.scripted.file(node, POD).read_text()
        assert not cluster.scripted.file(node, "etc/pwned").exists()
        assert yaml.safe_load(cluster.scripted.file(node, PATCHES).read_text())[0]["value"] == f"--service-account-issuer={NEW}"
    assert copies(cluster, two)[-1].read_bytes() == as_it_was


@pytest.mark.slow
@pytest.mark.parametrize(("name", "settings"), [("docker", ""), ("k3s", 'nodes: {command: [ssh, "{node}", sudo, -n, sh]}')])
def test_the_command_drives_a_whole_move_with_google_on_the_other_side(
    name: str, settings: str, start: Start, logged_in: HostedSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert logged_in.environment()  # this process is logged in to it
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(variable, "127.0.0.1,127.0.0.2,127.0.0.3")
    cluster = start(name)
    kubeconfig, file = tmp_path / "kubeconfig", tmp_path / "podpass.yaml"
    content = cluster.plane.admin_kubeconfig()
    content["clusters"][0]["cluster"]["server"] = cluster.url(cluster.nodes[0])
    kubeconfig.write_text(yaml.safe_dump(content))
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    monkeypatch.setenv("PATH", f"{cluster.scripted.bin}:{os.environ['PATH']}")
    distribution = "kind" if name == "docker" else name
    file.write_text(
        FEDERATION.replace("CLUSTER", f"{{distribution: {distribution}, {settings}}}").replace("POOL", f"moving-{distribution}")
    )

    def done(*words: str, code: int = 0) -> str:
        result = CliRunner().invoke(podpass, [*words, "-f", str(file)])
        if code:
            assert isinstance(result.exception, UnsafePlanError), result
            return str(result.exception)
        assert result.exit_code == 0, (result.output, result.exception)
        return result.output

    assert "accept comes before switch" in done("roll", "switch", "--yes", code=1)
    accepted = done("roll", "accept", "--yes")
    assert "cp-3: came back" in accepted
    assert "On cp-1, cp-2, cp-3:" in accepted
    assert f"service-account-issuer+={NEW}" in accepted if name == "k3s" else f"+    - --service-account-issuer={NEW}" in accepted
    done("apply", "--yes")
    done("roll", "switch", "--yes")
    assert "exchange    Google gave a federated token." in done("doctor")
    if name == "docker":
        assert KeptConfiguration(cluster.access).holds(ServiceAccountFlags((NEW, SERVICE), (SERVICE, NEW)))
    done("roll", "back", "--yes")
    done("roll", "switch", "--yes")
    assert "Nothing to change" in done("roll", "switch", "--yes")
    assert "computed, not" in done("roll", "drop", "--yes")
    assert "do not know the old issuer any more" in done("roll", "back", "--yes", code=1)
    if name == "docker":
        with cluster.client(cluster.nodes[0]) as client:
            kept = get_config_map(client, "kube-system", "kubeadm-config")
        assert kept
        assert "demo.example" in kept.data["ClusterConfiguration"]  # the user's own is there still
        assert KeptConfiguration(cluster.access).holds(ServiceAccountFlags((NEW,), (NEW,)))
        assert not cluster.scripted.file(cluster.nodes[0], PATCHES).exists()
