# SPDX-License-Identifier: Apache-2.0
"""Make the virtual environment and install podpass into it, from the lock file alone.

Usage: python3 tools/bootstrap.py DIRECTORY. Runs on the machine's own Python, so it uses the standard library only.
"""

import subprocess
import sys
from pathlib import Path

OLDEST = (3, 11)


def main() -> int:
    """Return the exit code: 0 installed, 1 an installer failed, 2 this Python cannot."""
    directory = Path(sys.argv[1])
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if sys.version_info < OLDEST:
        print(f"podpass needs Python 3.11 or later; {sys.executable} is {version}. Name another: make PYTHON=python3.12 …", file=sys.stderr)
        return 2
    try:
        import ensurepip  # noqa: F401, PLC0415 - Debian ships Python without it
        import venv  # noqa: F401, PLC0415
    except ImportError:
        print(
            f"Python {version} has no venv module. On Debian and Ubuntu it is a package of its own:\n"
            f"  apt-get install python{version}-venv",
            file=sys.stderr,
        )
        return 2
    python = str(directory / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    steps = [
        [sys.executable, "-m", "venv", str(directory)],
        [*pip, "--require-hashes", "-r", "requirements.lock"],
        [*pip, "--no-deps", "--no-build-isolation", "-e", "."],
    ]
    print(f"Installing into {directory}, once; this takes about a minute …", file=sys.stderr)
    for step in steps:
        if subprocess.run(step, check=False).returncode != 0:
            print(f"This step failed: {' '.join(step)}", file=sys.stderr)
            if "--require-hashes" in step:
                print(
                    "The packages come from PyPI, or the index that PIP_INDEX_URL names. Once it answers, run make again.", file=sys.stderr
                )
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
