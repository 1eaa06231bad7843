# SPDX-License-Identifier: Apache-2.0
"""A Talos cluster's issuer is moved node by node: in order, through gates that measure, stopped, taken back, gone on with."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from cross.machines_cluster import is_taken, issuer_of, seen, token_of
from cross.talos_cluster import ENDPOINT, TalosCluster
from podpass.cli.root import podpass
from podpass.errors import ConfigError, PartlyAppliedError, UnreachableError, UnsafePlanError
from podpass.federate.clusters.evidence import Node
from podpass.federate.clusters.flags import ServiceAccountFlags
from podpass.federate.clusters.move import Move, Stage
from podpass.federate.clusters.roll import Roll, Times
from podpass.federate.clusters.talosctl import Talosctl
from podpass.sandbox.binaries import Binaries, cache_directory
from podpass.sandbox.hosting import HostedSandbox

pytestmark = pytest.mark.cluster
NEW = "https://storage.googleapis.com/demo-oidc"
BEFORE = ServiceAccountFlags((ENDPOINT,), (ENDPOINT,))
MOVE = Move(BEFORE, NEW)
FEDERATION = f"""
apiVersion: podpass.dev/v1alpha1
kind: Federation
metadata: {{name: moving}}
spec:
  issuer: {{url: {NEW}, keys: inline}}
  google: {{project: demo-project, pool: {{id: moving-cluster}}, provider: {{id: cluster}}}}
  workloads:
    - serviceAccount: default/default
      roles: [roles/storage.objectViewer]
"""
Start = Callable[..., TalosCluster]
SCHEMAS = {"1.9.6": "1.9.6", "1.13.9": "1.13.9", "1.14.0": "1.14.0-rc.1"}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    try:
        Binaries.find(cache_directory())
    except ConfigError as error:
        pytest.skip(str(error))
    with ExitStack() as stack:

        def begin(release: str, *, documents: bool = False) -> TalosCluster:
            folder = os.environ.get("PODPASS_TALOS_SCHEMAS")
            schema = Path(folder) / f"config.schema-v{SCHEMAS[release]}.json" if folder else None
            return stack.enter_context(TalosCluster(tmp_path, release, documents=documents, schema=schema))

        yield begin


def stages(move: Move = MOVE, *, several: bool = True) -> dict[str, Stage]:
    return {stage.name: stage for stage in move.left(several=several)}


def roll(cluster: TalosCluster, heard: list[tuple[str, str]] | None = None, *, patience_s: float = 90) -> Roll:
    def notify(node: Node, happened: str) -> None:
        if heard is not None:
            heard.append((node.name, happened))

    times = Times(timedelta(seconds=patience_s))
    return Roll(Talosctl(program=str(cluster.talosctl)), cluster.look, notify=notify, times=times)


@pytest.mark.parametrize(("release", "documents"), [("1.13.9", False), pytest.param("1.14.0", True, marks=pytest.mark.slow)])
def test_every_stage_goes_from_node_to_node_and_no_token_is_refused_before_the_drop(release: str, documents: bool, start: Start) -> None:  # noqa: FBT001 - a row
    cluster = start(release, documents=documents)
    with cluster.client(cluster.nodes[0]) as client:
        old = token_of(client)
    others: list[bool] = []

    def notify(node: Node, happened: str) -> None:
        if happened == "changed":  # the others serve on, whatever becomes of this one
            for other in (one for one in cluster.nodes if one != node):
                with cluster.client(other) as client:
                    others.append(is_taken(client, old))

    roller = Roll(Talosctl(program=str(cluster.talosctl)), cluster.look, notify=notify, times=Times(timedelta(seconds=90)))
    order = [node.addresses[0] for node in cluster.nodes]
    roller.run(stages()["accept"], cluster.nodes)
    assert seen(cluster, old) == [(ENDPOINT, True)] * 3
    roller.run(stages()["switch"], cluster.nodes)
    assert seen(cluster, old) == [(NEW, True)] * 3
    assert cluster.calls("patch") == order * 2
    assert others == [True] * 12
    roller.run(stages()["drop"], cluster.nodes)
    assert seen(cluster, old) == [(NEW, False)] * 3
    (server,) = [one for one in yaml.safe_load_all(cluster.config_of(cluster.nodes[0]).read_text()) if "profiling" in str(one)]
    assert ("demo.example" in str(server)) != documents  # the user's own is there still
    roller.run(stages()["drop"], cluster.nodes)
    assert cluster.calls("patch") == order * 3  # what is done is not done again


@pytest.mark.slow
def test_nothing_is_changed_after_a_red_gate_and_what_was_is_taken_back_or_gone_on_with(start: Start) -> None:
    cluster = start("1.13.9")
    one, two, three = cluster.nodes
    cluster.break_down(two)
    heard: list[tuple[str, str]] = []
    with pytest.raises(PartlyAppliedError, match="API server of cp-2 has not come back"):
        roll(cluster, heard, patience_s=8).run(stages()["accept"], cluster.nodes)
    assert heard == [("cp-1", "changed"), ("cp-1", "came back"), ("cp-2", "changed")]
    assert cluster.calls("patch") == [one.addresses[0], two.addresses[0]]
    with pytest.raises(UnsafePlanError, match="Nothing was changed: the API server of cp-2 is not well"):
        roll(cluster).run(stages()["accept"], cluster.nodes)
    cluster.break_down(two, broken=False)
    heard.clear()
    roll(cluster, heard).abort(BEFORE, cluster.nodes)
    assert [name for name, happened in heard if happened == "changed"] == ["cp-2", "cp-1"]
    assert [told[-1] for told in cluster.told.values()].count(cluster.told[three.name][0]) == 3
    roll(cluster).run(stages()["accept"], cluster.nodes)
    assert len(cluster.told[three.name]) == 2


@pytest.mark.slow
def test_a_roll_that_was_stopped_goes_on_where_it_was(start: Start) -> None:
    cluster = start("1.13.9")

    def interrupt(node: Node, happened: str) -> None:
        if (node.name, happened) == ("cp-2", "changed"):
            raise KeyboardInterrupt

    stopped = Roll(Talosctl(program=str(cluster.talosctl)), cluster.look, notify=interrupt, times=Times(timedelta(seconds=90)))
    with pytest.raises(KeyboardInterrupt):
        stopped.run(stages()["accept"], cluster.nodes)
    cluster.until_ready(cluster.nodes[1])
    heard: list[tuple[str, str]] = []
    roll(cluster, heard).run(stages()["accept"], cluster.nodes)
    assert heard == [("cp-1", "there already"), ("cp-2", "there already"), ("cp-3", "changed"), ("cp-3", "came back")]
    assert cluster.calls("patch") == [node.addresses[0] for node in cluster.nodes]


@pytest.mark.slow
def test_talos_before_1_13_switches_at_once_and_refuses_the_old_issuer_as_was_said(start: Start) -> None:
    cluster = start("1.9.6")
    with cluster.client(cluster.nodes[0]) as client:
        old = token_of(client)
    roll(cluster).run(stages(several=False)["switch"], cluster.nodes)
    assert seen(cluster, old) == [(NEW, False)] * 3


@pytest.mark.slow
def test_a_patch_that_a_node_refuses_changes_nothing(start: Start) -> None:
    cluster = start("1.13.9")
    (cluster.state / cluster.nodes[0].addresses[0] / "refuse").touch()
    with pytest.raises(UnreachableError, match="`talosctl patch machineconfig` on cp-1 failed") as refusal:
        roll(cluster).run(stages()["accept"], cluster.nodes)
    assert "not authorized" in refusal.value.why
    assert [len(told) for told in cluster.told.values()] == [1, 1, 1]


@pytest.mark.slow
def test_the_command_drives_a_whole_move_with_google_on_the_other_side(
    start: Start, logged_in: HostedSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert logged_in.environment()  # this process is logged in to it
    addresses = "127.0.0.1,127.0.0.2,127.0.0.3"
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, addresses)
    cluster = start("1.13.9")
    kubeconfig, file = tmp_path / "kubeconfig", tmp_path / "podpass.yaml"
    content = cluster.plane.admin_kubeconfig()
    content["clusters"][0]["cluster"]["server"] = cluster.url(cluster.nodes[0])
    kubeconfig.write_text(yaml.safe_dump(content))
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    monkeypatch.setenv("PATH", f"{cluster.talosctl.parent}:{os.environ['PATH']}")
    file.write_text(FEDERATION)

    def done(*words: str, code: int = 0) -> str:
        result = CliRunner().invoke(podpass, [*words, "-f", str(file)])
        if code:
            assert isinstance(result.exception, UnsafePlanError), result
            return str(result.exception)
        assert result.exit_code == 0, (result.output, result.exception)
        return result.output

    assert "accept comes before switch" in done("roll", "switch", "--yes", code=1)
    assert "cp-3: came back" in done("roll", "accept", "--yes")
    assert "not published yet" in done("roll", "switch", "--yes", code=1)
    done("apply", "--yes")
    switched = done("roll", "switch", "--yes")
    assert "Nodes: cp-1, cp-2, cp-3." in switched
    assert "The last token of the old issuer will have ended by" in switched
    doctor = done("doctor")
    assert "exchange    Google gave a federated token." in doctor
    done("roll", "back", "--yes")
    with cluster.client(cluster.nodes[2]) as client:
        assert issuer_of(token_of(client)) == ENDPOINT
    done("roll", "switch", "--yes")
    assert "Nothing to change" in done("roll", "switch", "--yes")
    assert "computed, not" in done("roll", "drop", "--yes")
    assert "do not know the old issuer any more" in done("roll", "back", "--yes", code=1)
