# SPDX-License-Identifier: Apache-2.0
"""What decides about tokens and requests, and about what is taken away, has no line and no branch that its own unit tests do not take."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
JUDGEMENT = ("podpass.verify", "podpass.policy", "podpass.guard.decide")
SAFETY = tuple(
    f"podpass.federate.{name}"
    for name in (
        *(f"safety.{name}" for name in ("refusals", "allowances", "other_providers", "situation")),
        *(f"ownership.{name}" for name in ("foreign_receipt", "witness")),
        *("model.objection", "model.differences", "records.identities", "planning.diff"),
    )
)
UNIT = "tests/unit"
OF_SAFETY = tuple(
    f"{UNIT}/federate/{name}.py"
    for name in (
        *("safety/test_refusals", "safety/test_other_providers", "ownership/test_witness", "ownership/test_siblings"),
        *("records/test_bookkeeping", "planning/test_diff"),
    )
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("modules", "tests"),
    [(JUDGEMENT, (f"{UNIT}/verify", f"{UNIT}/policy", f"{UNIT}/guard")), (SAFETY, OF_SAFETY)],
    ids=["judgement", "safety"],
)
def test_judgement_is_covered_branch_by_branch(tmp_path: Path, modules: tuple[str, ...], tests: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--cov-branch", "--cov-fail-under=100"]
    command += ["--cov-report=term-missing:skip-covered", *(f"--cov={name}" for name in modules)]
    command += tests
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    environment = {**plain, "COVERAGE_FILE": str(tmp_path / "coverage")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
