# SPDX-License-Identifier: Apache-2.0
"""How the issuer is moved, asked beside a cluster that runs and that nobody may drive."""

from pathlib import Path

from scenario.federate.conftest import Story

NEW = {"url": "https://oidc.example/shop", "keys": "discovery"}


def test_a_file_that_keeps_the_issuer_has_nothing_to_move(story: Story) -> None:
    for words in (("export", "--format", "control-plane"), ("roll", "accept", "--yes")):
        answer = story.run_bare(*words, "-f", str(story.file))
        assert answer.error
        assert answer.error.full_code == "config.issuer-kept"


def test_a_cluster_of_nobody_known_is_named_before_steps_are_written(story: Story, tmp_path: Path) -> None:
    story.write(issuer=NEW)
    answer = story.run("export", "--format", "control-plane", "-o", str(tmp_path / "steps"))
    assert answer.error
    assert answer.error.full_code == "config.distribution"
    assert not (tmp_path / "steps").exists()


def test_steps_go_to_stdout_with_their_files_or_to_a_folder(story: Story, tmp_path: Path) -> None:
    story.write(issuer=NEW, cluster={"distribution": "k3s"})
    text = story.done("export", "--format", "control-plane")
    assert "`accept/90-podpass.yaml`:" in text
    assert "- service-account-issuer-=https://oidc.example/shop" in text
    story.done("export", "--format", "control-plane", "-o", str(tmp_path / "steps"))
    assert (tmp_path / "steps" / "STEPS.md").read_text().startswith("# k3s: move the issuer to https://oidc.example/shop\n")
    assert "service-account-issuer-=" in (tmp_path / "steps" / "switch" / "90-podpass.yaml").read_text()


def test_machines_that_podpass_does_not_reach_are_not_rolled(story: Story) -> None:
    for distribution, code in (("k0s", "config.distribution"), ("kubeadm", "config.nodes")):
        story.write(issuer=NEW, cluster={"distribution": distribution})
        answer = story.run_bare("roll", "accept", "--yes", "-f", str(story.file))
        assert answer.error
        assert answer.error.full_code == code
        assert ("export --format control-plane" in answer.error.next_step) == (distribution == "k0s")
