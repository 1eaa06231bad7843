# SPDX-License-Identifier: Apache-2.0
import os
import subprocess
import sys
from pathlib import Path


def test_server_without_a_policy_it_can_use_ends_and_says_why(tmp_path: Path) -> None:
    environment = os.environ | {"PODPASS_POLICY": str(tmp_path / "nothing.yaml"), "PORT": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "podpass.demo.auth_server"], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert f"The policy {tmp_path}/nothing.yaml cannot be read." in done.stdout


def test_server_that_is_to_fail_fast_ends_where_it_could_only_deny() -> None:
    environment = os.environ | {"PODPASS_POLICY": "", "PORT": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "podpass.demo.auth_server", "--fail-fast"],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "The guard would deny every request." in done.stdout
