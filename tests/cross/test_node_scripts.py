# SPDX-License-Identifier: Apache-2.0
"""What is delivered to a node runs there for real: all of it or nothing, with hostile files, a line that breaks, programs that fail."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cross.scripted_nodes import ScriptedNodes, is_possible
from podpass.errors import ConfigError, PodpassError, UnreachableError, UnsafePlanError
from podpass.federate.clusters.evidence import Node
from podpass.federate.clusters.flags import ServiceAccountFlags
from podpass.federate.clusters.machines.kubeadm import KubeadmMachines
from podpass.federate.clusters.machines.rancher import RancherMachines
from podpass.federate.clusters.machines.script import compose
from podpass.federate.clusters.machines.shell import CommandShell
from podpass.federate.clusters.machines.static_pod import PATH

pytestmark = pytest.mark.skipif(not is_possible(), reason="bubblewrap is not installed, or this machine does not let it work")
OLD, NEW = "https://kubernetes.default.svc.cluster.local", "https://storage.googleapis.com/demo-oidc"
BEFORE = ServiceAccountFlags((OLD,), (OLD, "k3s"))
BOTH = ServiceAccountFlags((OLD, NEW), (OLD, "k3s", NEW))
CONFIGURATION = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n"
POD = f"""spec:
  containers:
  - command:
    - kube-apiserver
    - --secure-port=7443
    - --service-account-issuer={OLD}
    - --by-hand=$(touch /etc/pwned)
    name: kube-apiserver
"""
# Renders what it is told as kubeadm would, as far as these tests look.
KUBEADM = """#!/bin/sh
[ ! -f /etc/node/kubeadm-fails ] || { echo 'unable to select an IP' >&2; exit 1; }
folder=$(dirname "$6")
out=$KUBEADM_INIT_DRYRUN_DIR/tmp/kubeadm-init-dryrun123  # as an older one does; the real one of the other tests is later
mkdir -p "$out"
grep -q "$folder/patches" "$6" && grep -q 'kind: ClusterConfiguration' "$6" || exit 2
{ printf 'spec:\\n  containers:\\n  - name: kube-apiserver\\n    command:\\n'
echo "    - --service-account-issuer=$(grep -A1 'name: service-account-issuer' "$6" | sed -n 's/.*value: //p')"
echo "    - --api-audiences=$(grep -A1 'name: api-audiences' "$6" | sed -n 's/.*value: //p')"
sed -n 's/.*"value": "\\(.*\\)".*/    - \\1/p' "$folder"/patches/* 2>/dev/null; } > "$out/kube-apiserver.yaml"
"""


def shell(nodes: ScriptedNodes) -> CommandShell:
    return CommandShell((str(nodes.bin / "ssh"), "{node}", "sudo", "-n", "sh"))


@pytest.fixture
def k3s(tmp_path: Path) -> tuple[ScriptedNodes, RancherMachines, Node]:
    nodes = ScriptedNodes(tmp_path, ("cp-1",), service="k3s")
    node = nodes.nodes[0]
    nodes.file(node, "etc/rancher/k3s/config.yaml.d").mkdir(parents=True)
    nodes.file(node, "etc/rancher/k3s/config.yaml").write_text("token: secret\nhttps-listen-port: 7443\n")
    nodes.file(node, "etc/rancher/k3s/config.yaml.d/10 $(touch pwned); `touch pwned`.yaml").write_text("tls-san: ['$(touch /etc/pwned)']\n")
    return nodes, RancherMachines(shell(nodes), "k3s"), node


@pytest.fixture
def kubeadm(tmp_path: Path) -> tuple[ScriptedNodes, KubeadmMachines, Node]:
    nodes = ScriptedNodes(tmp_path, ("cp-1",))
    node = nodes.nodes[0]
    nodes.file(node, PATH[1:]).parent.mkdir(parents=True)
    nodes.file(node, PATH[1:]).write_text(POD)
    nodes.write(nodes.file(node, "node/bin/kubeadm"), KUBEADM)
    return nodes, KubeadmMachines(shell(nodes), CONFIGURATION), node


def everything(nodes: ScriptedNodes, node: Node) -> dict[str, bytes]:
    """Return every file of a node."""
    root = nodes.root(node)
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_a_server_of_k3s_gets_one_file_and_one_restart_and_gives_it_back(k3s: tuple[ScriptedNodes, RancherMachines, Node]) -> None:
    nodes, machines, node = k3s
    as_it_was = everything(nodes, node)
    assert (machines.flags(node), machines.server_of(node)) == (BEFORE, "https://127.0.0.1:7443")
    assert "secret" not in machines.preview(node, BOTH)
    assert everything(nodes, node) == as_it_was  # to look changes nothing
    machines.change(node, BOTH)
    assert (machines.flags(node), machines.unfinished(node), nodes.restarts(node)) == (BOTH, False, 1)
    machines.change(node, BEFORE)
    assert (machines.flags(node), nodes.restarts(node)) == (BEFORE, 2)
    ours = "etc/rancher/k3s/podpass/90-podpass.yaml."
    assert {path for path in everything(nodes, node).keys() - as_it_was.keys() if not path.startswith(ours)} == {"etc/node/restarts"}


def test_a_static_pod_is_put_in_place_with_a_copy_beside_and_nothing_else_among_the_manifests(
    kubeadm: tuple[ScriptedNodes, KubeadmMachines, Node],
) -> None:
    nodes, machines, node = kubeadm
    as_it_was = everything(nodes, node)
    nodes.file(node, PATH[1:]).chmod(0o640)
    flags = ServiceAccountFlags((OLD, NEW), (OLD, NEW))
    assert "# kubeadm does not know these words, and its next upgrade takes them away: kube-apiserver --secure-port=7443 --by-hand" in (
        machines.preview(node, flags)
    )
    assert everything(nodes, node) == as_it_was
    changed = machines.change(node, flags)
    assert (machines.flags(node).issuers, machines.unfinished(node), machines.server_of(node)) == (
        (OLD, NEW),
        False,
        "https://127.0.0.1:7443",
    )
    assert [path.name for path in nodes.file(node, PATH[1:]).parent.iterdir()] == ["kube-apiserver.yaml"]
    assert nodes.file(node, PATH[1:]).stat().st_mode & 0o777 == 0o640
    copy = changed.undo.split()[1]
    assert nodes.file(node, copy[1:]).read_text() == POD
    assert not nodes.file(node, "etc/pwned").exists()
    nodes.file(node, "etc/kubernetes/podpass/patches/kube-apiserver0podpass+json.yaml").unlink()
    assert machines.unfinished(node)  # an upgrade would lose the second issuer
    assert not machines.change(node, flags).restarts
    assert not machines.unfinished(node)


Made = tuple[ScriptedNodes, KubeadmMachines | RancherMachines, Node]


@pytest.fixture(params=["k3s", "kubeadm"])
def made(request: pytest.FixtureRequest) -> Made:
    found: Made = request.getfixturevalue(request.param)
    return found


def test_a_line_that_breaks_leaves_everything_as_it_was(made: Made) -> None:
    nodes, machines, node = made
    machines.preview(node, BOTH)
    as_it_was = everything(nodes, node)
    head = len(compose("").text)
    for arrives in (0, 50, head - 60, head + 200, head + 500, head + 900):
        nodes.set_mark(node, "cut", str(arrives))
        with pytest.raises(PodpassError):
            machines.change(node, BOTH)
        assert everything(nodes, node) == as_it_was, arrives
    nodes.set_mark(node, "cut", None)
    machines.change(node, BOTH)


def _sync_dies(nodes: ScriptedNodes, node: Node) -> None:
    nodes.file(node, "etc/node/die-at-sync").touch()


def _is_away(nodes: ScriptedNodes, node: Node) -> None:
    nodes.set_mark(node, "unreachable")


def _no_disk(nodes: ScriptedNodes, node: Node) -> None:
    nodes.write(
        nodes.file(node, "node/bin/base64"), '#!/bin/sh\n[ "$1" = -d ] || exec /usr/bin/base64 "$@"\necho "No space left" >&2; exit 1\n'
    )


def _loses_half(nodes: ScriptedNodes, node: Node) -> None:
    nodes.write(
        nodes.file(node, "node/bin/base64"), '#!/bin/sh\n[ "$1" = -d ] || exec /usr/bin/base64 "$@"\n/usr/bin/base64 -d | head -c 50\n'
    )


@pytest.mark.parametrize("happens", [_sync_dies, _is_away, pytest.param(_no_disk, marks=pytest.mark.slow), _loses_half])
def test_what_kube_apiserver_reads_is_as_it_was_until_the_new_file_is_there_whole(
    happens: Callable[[ScriptedNodes, Node], None], made: Made
) -> None:
    nodes, machines, node = made
    told = machines.flags(node)
    machines.preview(node, BOTH)
    happens(nodes, node)
    with pytest.raises((UnreachableError, UnsafePlanError)):
        machines.change(node, BOTH)
    for name in ("unreachable", "root/node/bin/base64", "root/etc/node/die-at-sync"):
        nodes.set_mark(node, name, None)
    assert (machines.flags(node), nodes.restarts(node)) == (told, 0)
    machines.change(node, BOTH)
    assert machines.flags(node).issuers == BOTH.issuers


def test_a_restart_that_was_not_asked_for_is_asked_for_by_the_next_run(k3s: tuple[ScriptedNodes, RancherMachines, Node]) -> None:
    nodes, machines, node = k3s
    nodes.file(node, "etc/node/die-at-restart").touch()
    with pytest.raises(UnreachableError):
        machines.change(node, BOTH)
    assert (machines.flags(node), machines.unfinished(node), nodes.restarts(node)) == (BOTH, True, 0)
    nodes.file(node, "etc/node/die-at-restart").unlink()
    machines.change(node, BOTH)
    assert (machines.flags(node), machines.unfinished(node), nodes.restarts(node)) == (BOTH, False, 1)


def test_a_file_that_somebody_changed_after_it_was_shown_is_left_alone(made: Made) -> None:
    nodes, machines, node = made
    machines.preview(node, BOTH)
    file = nodes.file(node, "etc/rancher/k3s/config.yaml" if isinstance(machines, RancherMachines) else PATH[1:])
    file.write_text(f"{file.read_text()}# and a word\n")
    as_it_was = everything(nodes, node)
    with pytest.raises(UnsafePlanError, match="Its configuration was changed after it was read"):
        machines.change(node, BOTH)
    assert everything(nodes, node) == as_it_was


def test_another_machine_under_the_nodes_name_is_not_touched(made: Made) -> None:
    nodes, machines, node = made
    nodes.file(node, "etc/machine-id").write_text("f" * 32)
    as_it_was = everything(nodes, node)
    with pytest.raises(ConfigError, match="does not reach cp-1"):
        machines.change(node, BOTH)
    assert everything(nodes, node) == as_it_was


@pytest.mark.parametrize(
    ("path", "content", "why"),
    [
        ("etc/node/service", "other\n", "no service k3s"),
        ("etc/node/ExecStart", "argv[]=k3s server --kube-apiserver-arg v=2 ;", "takes the place of every file's"),
        ("etc/node/ExecStart", "argv[]=k3s server --config /elsewhere ;", "reads its configuration elsewhere"),
        ("etc/node/Environment", "Environment=K3S_CONFIG_FILE=/elsewhere", "reads its configuration elsewhere"),
        ("etc/node/env", "K3S_CONFIG_FILE=/elsewhere\n", "reads its configuration elsewhere"),
    ],
)
def test_a_server_that_would_not_read_the_file_is_refused(
    path: str, content: str, why: str, k3s: tuple[ScriptedNodes, RancherMachines, Node]
) -> None:
    nodes, machines, node = k3s
    nodes.file(node, path).write_text(content)
    with pytest.raises(UnsafePlanError, match=why):
        machines.flags(node)


def test_a_kubeadm_that_fails_or_says_otherwise_stops_it(kubeadm: tuple[ScriptedNodes, KubeadmMachines, Node]) -> None:
    nodes, machines, node = kubeadm
    as_it_was = everything(nodes, node)
    nodes.set_mark(node, "root/etc/node/kubeadm-fails")
    with pytest.raises(UnreachableError) as refusal:
        machines.change(node, BOTH)
    assert "unable to select an IP" in refusal.value.why
    nodes.set_mark(node, "root/etc/node/kubeadm-fails", None)
    nodes.write(nodes.file(node, "node/bin/kubeadm"), KUBEADM.replace("/patches/*", "/init.json"))
    with pytest.raises(UnsafePlanError, match="kubeadm there would tell kube-apiserver otherwise"):
        machines.change(node, BOTH)
    nodes.file(node, "node/bin/kubeadm").unlink()
    with pytest.raises(UnsafePlanError, match="It has no kubeadm"):
        machines.change(node, BOTH)
    assert everything(nodes, node) | {"node/bin/kubeadm": b""} == as_it_was | {"node/bin/kubeadm": b""}


@pytest.mark.parametrize("content", ["", POD[:70], "\x00\x01", POD.replace("- kube-apiserver", "- *none")])
def test_a_static_pod_that_is_half_there_is_named_and_left_alone(
    content: str, kubeadm: tuple[ScriptedNodes, KubeadmMachines, Node]
) -> None:
    nodes, machines, node = kubeadm
    nodes.file(node, PATH[1:]).write_text(content)
    for ask in (lambda: machines.flags(node), lambda: machines.preview(node, BOTH)):
        with pytest.raises(PodpassError, match="of cp-1 is n"):
            ask()
    assert nodes.file(node, PATH[1:]).read_text() == content
