# SPDX-License-Identifier: Apache-2.0
"""The walk against real Google, rehearsed in a sandbox: it passes, and what it made is gone, also when it fails."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import StartSandbox
from podpass.sandbox.hosting import HostedSandbox

TOOL = Path(__file__).parents[3] / "tools" / "live.py"
pytestmark = pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed: https://kubernetes.io/docs/tasks/tools/")


def walked(sandbox: HostedSandbox, project: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TOOL), "--project", project]
    return subprocess.run(command, env=os.environ | sandbox.environment(), capture_output=True, text=True, check=False, timeout=600)


def test_the_walk_passes_in_a_sandbox_and_leaves_nothing_but_tombstones(start_sandbox: StartSandbox) -> None:
    sandbox = start_sandbox()
    before = sandbox.dump()
    done = walked(sandbox, "demo-project")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "✓ doctor: real tokens are exchanged and used" in done.stdout
    after = sandbox.dump()
    assert {stone.split()[0] for stone in after["google"].pop("tombstones")} == {"pool", "provider", "serviceAccount"}
    before["google"].pop("tombstones", None)
    assert after == before


@pytest.mark.slow
def test_after_a_failure_what_was_made_is_undone(start_sandbox: StartSandbox) -> None:
    sandbox = start_sandbox()
    before = sandbox.dump()
    done = walked(sandbox, "nobodys-project")
    assert done.returncode == 1
    assert "look up the project nobodys-project" in done.stdout
    assert sandbox.dump() == before


def test_without_a_project_nothing_is_made() -> None:
    done = subprocess.run([sys.executable, str(TOOL), "--project", ""], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert "make live PROJECT=my-project" in done.stderr
