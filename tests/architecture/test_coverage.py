# SPDX-License-Identifier: Apache-2.0
"""What decides about tokens and requests has no line and no branch that its own unit tests do not take."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
JUDGEMENT = ("podpass.verify", "podpass.policy", "podpass.guard.decide")


@pytest.mark.slow
def test_judgement_is_covered_branch_by_branch(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--cov-branch", "--cov-fail-under=100"]
    command += ["--cov-report=term-missing:skip-covered", *(f"--cov={name}" for name in JUDGEMENT)]
    command += ["tests/unit/verify", "tests/unit/policy", "tests/unit/guard"]
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    environment = {**plain, "COVERAGE_FILE": str(tmp_path / "coverage")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
