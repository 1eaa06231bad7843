# SPDX-License-Identifier: Apache-2.0
"""Run the unit tests under every Python from 3.11 on that PATH and pyenv offer, each in an environment of its own.

Environments live in .venv/pythons; a Python that cannot install what the lock file names is told and counts as a failure.
"""

import subprocess
import sys
from pathlib import Path
from shutil import which

OLDEST_MINOR, NEWEST_MINOR = 11, 14


def pythons() -> dict[str, str]:
    """Return version -> interpreter."""
    found: dict[str, str] = {}
    for minor in range(OLDEST_MINOR, NEWEST_MINOR + 1):
        version = f"3.{minor}"
        kept = sorted((Path.home() / ".pyenv/versions").glob(f"{version}.*/bin/python"))
        candidate = str(kept[-1]) if kept else which(f"python{version}")
        if candidate and runs(candidate, version):
            found[version] = candidate
    return found


def runs(candidate: str, version: str) -> bool:
    """Tell whether `candidate` really is that Python; a shim may only pretend."""
    ask = [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    answer = subprocess.run(ask, capture_output=True, text=True, check=False)
    return answer.stdout.strip() == version


def run(version: str, interpreter: str) -> bool:
    """Install into an environment of this Python and run the unit tests there."""
    directory = Path(".venv/pythons") / version
    python = str(directory / "bin/python")
    steps = [[python, "-m", "pytest", "-q", "-n", "2", "tests/unit", "tests/architecture"]]
    if not Path(python).exists():
        steps.insert(0, [interpreter, "tools/bootstrap.py", str(directory)])
    return all(subprocess.run(step, check=False).returncode == 0 for step in steps)


def main() -> int:
    """Return 0 when every Python that was found passes."""
    found = pythons()
    results = {version: run(version, interpreter) for version, interpreter in found.items()}
    for version, passed in results.items():
        print(f"Python {version}: {'passed' if passed else 'FAILED'}")
    if not found:
        print("No Python from 3.11 on was found.")
    return int(not results or not all(results.values()))


if __name__ == "__main__":
    sys.exit(main())
