# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from podpass.config.reading import load
from podpass.federate.clusters.evidence import Evidence, Node
from podpass.federate.clusters.portrait import advise, draw
from podpass.federate.export.draft import draft, identifier
from podpass.names import ServiceAccountRef


def test_a_draft_is_a_good_federation_file(tmp_path: Path) -> None:
    file = tmp_path / "podpass.yaml"
    file.write_text(draft("admin@it's-demo", "demo-project", [ServiceAccountRef("shop", "web"), ServiceAccountRef("shop", "api")]))
    federation = load(file)
    assert federation.cluster.context == "admin@it's-demo"
    assert federation.google.pool.id == "admin-it-s-demo"
    assert [str(workload.service_account) for workload in federation.workloads] == ["shop/web", "shop/api"]


def test_a_draft_without_workloads_holds_one_to_rename(tmp_path: Path) -> None:
    file = tmp_path / "podpass.yaml"
    file.write_text(draft("demo", "demo-project", []))
    assert [str(workload.service_account) for workload in load(file).workloads] == ["default/my-workload"]


def test_a_draft_says_what_is_known_whatever_the_cluster_says_of_itself(tmp_path: Path) -> None:
    hostile = Evidence("https://10.0.0.1:6443", "v1\nspec: {evil: true}", nodes=(Node("n", "Talos (v1.9.6)\r\nx: y"),))
    portrait = draw(hostile)
    text = draft("demo", "demo-project", [], (portrait, advise(portrait)))
    (tmp_path / "podpass.yaml").write_text(text)
    assert load(tmp_path / "podpass.yaml").issuer.keys == "inline"
    assert "# version: v1 spec: {evil: true} (/version)" in text
    assert "# distribution: Talos Linux (the node n runs" in text


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ("admin@demo", "admin-demo"),
        ("gcp-demo", "demo"),
        ("k3", "cluster-k3"),
        ("@", "cluster"),
        ("arn:aws:eks:eu-west-1:123456789012:cluster/production", "production-3fa91c"),
        ("kubernetes-admin@kubernetes", "kubernetes-admin-kubernet-3fa91c"),
        ("default", "default-3fa91c"),
        ("gke_my-project_europe-west1-b_the-cluster", "gke-my-project-europe-wes-3fa91c"),
    ],
)
def test_a_pools_id_is_made_of_any_contexts_name(context: str, expected: str) -> None:
    assert identifier(context, "3fa91c") == expected


def test_a_pools_id_fits_without_a_fingerprint_too() -> None:
    assert identifier("kubernetes-admin@kubernetes") == "kubernetes-admin-kubernetes"
    assert identifier("x" * 40) == "x" * 32
