# SPDX-License-Identifier: Apache-2.0
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from node_world import ClusterKind
from podpass.cli import main
from podpass.demo import admissions, google
from podpass.sandbox.binaries import cache_directory
from podpass.sandbox.node import pod_network

TUTORIAL = Path(__file__).parents[3] / "docs/tutorial/google-identity.md"
PODPASS = str(Path(sys.executable).with_name("podpass"))


def demo(*options: str, **variables: str) -> dict[str, Any]:
    """Run `podpass demo google --json`; return the story."""
    command = [PODPASS, "demo", "google", "--json", *options]
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (story,) = json.loads(done.stdout)["stories"]
    return dict(story)


def test_every_caller_gets_the_answer_that_is_his_and_nothing_is_left(cluster_kind: ClusterKind) -> None:
    story = demo(*(["--control-plane", str(cache_directory())] if cluster_kind == "real" else []))
    asked = [(cell["invokers"], cell["identity"], cell["path"]) for cell in story["admissions"]]
    assert asked == [(row.invokers, row.identity, path) for row in admissions.ROWS for path in admissions.PATHS]
    assert [cell for cell in story["admissions"] if not cell["as_wanted"]] == []
    assert story["comparison"]["equal"]
    assert {line.partition(" ")[0] for line in story["comparison"]["tombstones"]} == {"pool", "provider", "serviceAccount"}
    both = next(step for step in story["steps"] if step["title"].startswith("The client, with both"))
    assert "GET /private 200 Hello, system:serviceaccount:id-namespace:gke-sa." in both["lines"]
    assert "eyJ" not in json.dumps(story)


def test_the_tutorial_shows_the_table_that_is_printed() -> None:
    """Its commands are run by test_docs, but for the last one, which is the demo above."""
    printed = [f"  {line}" for line in admissions.Admissions({row: row.wanted for row in admissions.ROWS}).lines()]
    assert "\n".join(printed[: 1 + len(admissions.ROWS)]) in TUTORIAL.read_text()


@pytest.mark.slow
def test_no_kubectl_is_needed(tmp_path: Path) -> None:
    for program in ("bwrap", "unshare", "nsenter", "true"):  # what the node agent looks for
        if found := shutil.which(program):
            (tmp_path / program).symlink_to(found)
    story = demo(PATH=str(tmp_path))
    assert all(cell["as_wanted"] for cell in story["admissions"])
    assert story["comparison"]["equal"]


@pytest.mark.slow
def test_answer_that_is_not_the_wanted_one_is_shown_and_ends_the_demo_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The client asks Google for a token that is for somebody else: Cloud Run takes it for a foreign one."""
    changed = tmp_path / google.FILES.name
    shutil.copytree(google.FILES, changed)
    with (changed / "endpoint.env").open("a") as file:
        file.write("SERVICE_AUDIENCE=https://another.example\n")
    monkeypatch.setattr(google, "FILES", changed)
    monkeypatch.setattr(google, "_PATIENCE_S", 2.0)
    with pytest.raises(SystemExit) as ended:
        main(["demo", "google"])
    assert ended.value.code == 1
    printed = capsys.readouterr()
    assert "  nobody    google          401 (wanted 403)401 (wanted 403)\n" in printed.out
    assert "GET / as google, invokers gke-gsa: 401 (wanted 200)" in printed.err
    assert "  gke-gsa   none            403      403\n" in printed.out


def test_a_machine_without_networks_for_pods_is_told_so_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A metadata server in such a pod would answer every pod."""
    monkeypatch.setattr(pod_network, "choose", lambda: ())
    with pytest.raises(SystemExit) as ended:
        main(["demo", "google"])
    assert ended.value.code == 1
    printed = capsys.readouterr().err
    assert "it gives pods no networks of their own" in printed
    assert "user.max_user_namespaces" in printed
