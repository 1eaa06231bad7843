# SPDX-License-Identifier: Apache-2.0
"""The page of errors is as the source is."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_of_errors_is_as_the_source_is() -> None:
    check = subprocess.run([sys.executable, ROOT / "tools/errors_reference.py", "--check"], check=False)
    assert check.returncode == 0, "docs/reference/errors.md is old: run `make errors`"
