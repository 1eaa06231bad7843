# SPDX-License-Identifier: Apache-2.0
"""Refuse files that hold a private key or a token: `python tools/no_secrets.py FILE …`, run before each commit.

Test keys live in tests/assets only; tokens in tests are made when the test runs.
"""

import re
import sys
from pathlib import Path

PATTERNS = {
    "a private key": re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=]{40}"),
    "a signed token": re.compile(rb"\beyJ[A-Za-z0-9_-]{20,}\.eyJ[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{43,}"),
    "a Google access token": re.compile(rb"\bya29\.[A-Za-z0-9_-]{60,}"),
}


def findings(path: Path) -> list[str]:
    """Return a line for each secret that `path` seems to hold."""
    content = path.read_bytes()
    return [f"{path}: {kind}" for kind, pattern in PATTERNS.items() if pattern.search(content)]


def main() -> int:
    """Return 1 when a file holds a secret."""
    found = [line for name in sys.argv[1:] for line in findings(Path(name))]
    print("\n".join(found))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
