# SPDX-License-Identifier: Apache-2.0
"""Print the sandbox's share of the source lines; fail at 35 % or more.

A line counts if it is neither blank nor a comment.
"""

import sys
from pathlib import Path

LIMIT_PERCENT = 35


def lines_of(folder: Path) -> int:
    """Count the lines of code below `folder`."""
    texts = (path.read_text() for path in folder.rglob("*.py"))
    return sum(1 for text in texts for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))


def main() -> int:
    """Return 0 while the sandbox keeps below its limit."""
    source = Path("src/podpass")
    sandbox, whole = lines_of(source / "sandbox"), lines_of(source)
    share = 100 * sandbox / whole
    print(f"The sandbox is {share:.1f} % of the source ({sandbox} of {whole} lines; limit {LIMIT_PERCENT} %).")
    return int(share >= LIMIT_PERCENT)


if __name__ == "__main__":
    sys.exit(main())
