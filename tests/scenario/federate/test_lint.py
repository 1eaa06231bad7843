# SPDX-License-Identifier: Apache-2.0
"""`podpass lint` and `podpass init` beside a cluster that runs."""

import json
from pathlib import Path

import pytest
import yaml

from scenario.federate.conftest import Story

PATCH = {"cluster": {"apiServer": {"extraArgs": {"service-account-issuer": "https://storage.googleapis.com/demo-oidc"}}}}


def found(story: Story, *arguments: str) -> tuple[int, list[str]]:
    answer = story.run_bare("lint", "--json", *arguments)
    shape = json.loads(answer.out)
    assert shape["version"] == "podpass.dev/lint/v1"
    return answer.code, [one["code"] for one in shape["findings"]]


def test_a_sound_cluster_has_no_fault(story: Story) -> None:
    answer = story.run_bare("lint")
    assert (answer.code, "No faults found." in answer.out) == (0, True)


def test_a_change_is_compared_with_the_cluster(story: Story, tmp_path: Path) -> None:
    patch = tmp_path / "patch.yaml"
    patch.write_text(yaml.safe_dump(PATCH))
    assert found(story, str(patch)) == (1, ["lint.issuer-replaced"])
    answer = story.run_bare("lint", "--cluster", str(patch))
    assert "is not accepted any more" in answer.out


def test_a_federation_file_is_judged_by_what_it_grants(story: Story) -> None:
    assert found(story, str(story.file)) == (0, ["lint.broad-role"])


def test_init_says_what_it_found_out_and_chose(story: Story, tmp_path: Path) -> None:
    file = tmp_path / "found.yaml"
    answer = story.run_bare("init", "-o", str(file))
    assert answer.code == 0, answer
    assert "(its discovery document)" in " ".join(answer.out.split())
    assert "chosen          keys: inline. The cluster keeps its issuer" in answer.out
    assert yaml.safe_load(file.read_text())["spec"]["issuer"] == {"url": "keep", "keys": "inline"}
    assert "# issuer: https://" in file.read_text()


def test_init_goes_on_without_an_answer(story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    cluster = {"name": "gone", "cluster": {"server": "https://127.0.0.1:9", "insecure-skip-tls-verify": True}}
    context = {"name": "gone", "context": {"cluster": "gone", "user": "gone"}}
    content = {"clusters": [cluster], "contexts": [context], "users": [{"name": "gone", "user": {}}], "current-context": "gone"}
    kubeconfig.write_text(yaml.safe_dump(content))
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    answer = story.run_bare("init", "-o", str(tmp_path / "gone.yaml"))
    assert answer.code == 0, answer
    said = " ".join(answer.out.split())
    assert "Nothing was found out about the cluster" in said
    assert "Connection refused" in said
    assert f"delete {tmp_path}/gone.yaml and run `podpass init` again" in said
    assert "The cluster was not asked." in (tmp_path / "gone.yaml").read_text()
