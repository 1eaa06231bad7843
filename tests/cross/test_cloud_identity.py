# SPDX-License-Identifier: Apache-2.0
"""The guard's own questions about Google groups, asked of the sandbox in the place of Google."""

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parent / "programs/cloud_identity_groups.py"


def test_cloud_identity_says_who_is_in_a_group(inside: dict[str, str]) -> None:
    done = subprocess.run([sys.executable, PROGRAM], env=inside, capture_output=True, text=True, check=False, timeout=60)
    assert json.loads(done.stdout or "null") == {
        "someone": True,
        "nobody": False,
        "a group that is not there": "groups.unavailable",
    }, done.stderr
