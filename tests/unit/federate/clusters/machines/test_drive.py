# SPDX-License-Identifier: Apache-2.0
"""Whose machines are reached how, and where nobody said."""

from dataclasses import replace
from pathlib import Path

import pytest

from podpass.config.federation import ClusterSettings, Distribution, NodeSettings
from podpass.errors import ConfigError, UnexpectedAnswerError
from podpass.federate.clusters.evidence import Evidence, Node
from podpass.federate.clusters.machines.drive import Drive, drive
from podpass.kube.kubeconfig import from_dict
from unit.federate.clusters.recorded import CLUSTERS

SSH = ClusterSettings(nodes=NodeSettings(("ssh", "{node}", "sudo", "-n", "sh")))
ACCESS = from_dict(
    {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://lb.example:443"}}],
        "users": [{"name": "u", "user": {}}],
    }
)


def chosen(distribution: Distribution, settings: ClusterSettings, evidence: Evidence) -> Drive:
    return drive(distribution, settings, evidence, ACCESS, evidence.nodes)


@pytest.mark.parametrize("name", ["kubeadm-v1beta4", "k3s", "rke2"])
def test_a_shell_as_root_is_opened_only_where_the_file_says_how(name: str) -> None:
    distribution: Distribution = "kubeadm" if name.startswith("kubeadm") else "k3s" if name == "k3s" else "rke2"
    with pytest.raises(ConfigError, match="does not say how the machines of this cluster") as refusal:
        chosen(distribution, ClusterSettings(), CLUSTERS[name])
    assert '[ssh, "{node}", sudo, -n, sh]' in refusal.value.next_step
    found = chosen(distribution, SSH, CLUSTERS[name])
    assert (found.keeper is not None) == (distribution == "kubeadm")


def test_kind_says_itself_what_runs_its_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "podman"
    program.write_text('#!/bin/sh\n[ "$*" = "port cp-2 6443/tcp" ] && echo 127.0.0.1:40001\n')
    program.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    nodes = tuple(replace(node, provider_id=f"kind://podman/kind/{node.name}") for node in CLUSTERS["kind"].nodes)
    found = chosen("kind", ClusterSettings(), replace(CLUSTERS["kind"], nodes=nodes))
    assert found.server_of
    assert found.server_of(nodes[1]) == "https://127.0.0.1:40001"
    with pytest.raises(UnexpectedAnswerError, match="podman publishes no port of cp-1's API server"):
        found.server_of(nodes[0])


@pytest.mark.parametrize(
    "provider", ["kind://sh/kind/a", "kind://docker;id/kind/a", "kind://../docker/kind/a", "", "kind://docker/kind/a,podman"]
)
def test_no_other_program_is_run_because_a_node_names_it(provider: str) -> None:
    first, *rest = CLUSTERS["kind"].nodes
    nodes = (replace(first, provider_id=provider.partition(",")[0]), *(replace(one, provider_id="kind://podman/kind/x") for one in rest))
    with pytest.raises(ConfigError, match="What runs kind's nodes is not known"):
        chosen("kind", ClusterSettings(), replace(CLUSTERS["kind"], nodes=nodes))


def test_a_single_server_is_asked_where_the_kubeconfig_has_it() -> None:
    evidence = replace(CLUSTERS["k3s"], nodes=(Node("cp-1", addresses=("192.168.1.1",)),))
    found = chosen("k3s", SSH, evidence)
    assert found.server_of
    assert found.server_of(evidence.nodes[0]) == "https://lb.example:443"


def test_other_distributions_are_sent_to_the_rendering() -> None:
    with pytest.raises(ConfigError, match="podpass reaches no machines of this cluster \\(k0s\\)"):
        chosen("k0s", SSH, CLUSTERS["k0s"])
