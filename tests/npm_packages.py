# SPDX-License-Identifier: Apache-2.0
"""Packages for Node, as a lock file names them, in a cache outside the checkout."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

_TIME_LIMIT_S = 120
_FLAGS = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier")
# A registry that does not answer is given up before the suite's own limit is at risk.
_LIMITS = ("--fetch-timeout=15000", "--fetch-retries=1", "--fetch-retry-mintimeout=500")


def obtain(locked: Path) -> Path:
    """Return a directory with the `node_modules` that the lock file in `locked` pins; skip the test where they cannot be had."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("Node.js and npm are not installed: https://nodejs.org, 20 or newer")
    files = [locked / name for name in ("package.json", "package-lock.json")]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "podpass" / "npm"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (cache / digest).is_dir():
            _install(files, cache / digest)
    return cache / digest


def _install(files: list[Path], directory: Path) -> None:
    with tempfile.TemporaryDirectory(dir=directory.parent) as temporary:
        for file in files:
            shutil.copy(file, temporary)
        try:
            done = subprocess.run(
                ["npm", "ci", *_FLAGS, *_LIMITS], cwd=temporary, capture_output=True, text=True, timeout=_TIME_LIMIT_S, check=False
            )
        except subprocess.TimeoutExpired:
            pytest.skip("npm's registry does not answer in time")
        assert "EINTEGRITY" not in done.stderr, done.stderr
        if done.returncode != 0:
            pytest.skip(f"npm's registry cannot be had: {done.stderr.strip().splitlines()[-1:]}")
        Path(temporary).rename(directory)
        Path(temporary).mkdir()  # what TemporaryDirectory expects to find
