# SPDX-License-Identifier: Apache-2.0
"""How a pod's volumes come to lie at the paths where its containers look for them.

There is no container engine, so a container sees the machine's own files, with its volumes laid over them. The way to do that is the first
of these that works here (`choose`):

1. `bubblewrap`: the program bwrap builds a root of its own for each container.
2. `unshare`: the shim does the same with a mount namespace (in a user namespace, unless it is privileged).
3. `lease`: as root without the right to either, the real path becomes a symbolic link to the volume while the pod runs (`lease.py`).
4. `none`: pods with volumes get a FailedMount event that names the cure.

Both roots follow one plan: every entry of / is bound as it is; where a mount path does not exist, its nearest existing parent is opened,
that is, made anew with its entries bound one by one, so that nothing is ever created on the machine itself.
"""

import contextlib
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from podpass.errors import PodpassError

Way = Literal["bubblewrap", "unshare", "lease", "none"]
SHIM = (sys.executable, "-I", "-S", str(Path(__file__).with_name("shim.py")))
CURE = (
    "Install bubblewrap (apt-get install bubblewrap), or allow user namespaces "
    "(sysctl user.max_user_namespaces=10000; on Ubuntu also kernel.apparmor_restrict_unprivileged_userns=0), or run the sandbox as root."
)


class MountError(PodpassError):
    """A volume cannot be laid where a container wants it."""

    code = "sandbox.mount"


@dataclass(frozen=True, slots=True)
class Bind:
    """One volume, or one path in it, at one path of a container."""

    source: Path
    target: str
    read_only: bool


class Step(NamedTuple):
    """One step in building a root: `verb` is directory, keep (as on the machine), link (to `source`), hide, or bind (`source`)."""

    verb: Literal["directory", "keep", "link", "hide", "bind"]
    path: str
    source: str = ""
    mode: int = 0o755
    read_only: bool = False


def plan(binds: Sequence[Bind], hidden: Sequence[Path] = ()) -> list[Step]:
    """Say step by step how a root with `binds` is built from the machine's own, `hidden` directories being empty in it."""
    laid = sorted(((os.path.realpath(bind.target), bind) for bind in binds), key=lambda pair: pair[0].count("/"))
    opened = {Path("/")}
    for target, _ in laid:
        missing_below = _nearest_existing(Path(target))
        if missing_below != Path(target):
            opened |= {missing_below, *missing_below.parents}
    steps = list(_open(Path("/"), opened))
    steps += [Step("hide", str(path.resolve())) for path in hidden]
    return steps + [Step("bind", target, str(bind.source), read_only=bind.read_only) for target, bind in laid]


def _nearest_existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _open(directory: Path, opened: set[Path]) -> Iterator[Step]:
    """Yield the entries of `directory`, and in the place of an opened one what is in it."""
    for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
        path = Path(entry.path)
        if entry.is_symlink():
            with contextlib.suppress(FileNotFoundError):  # another pod's lease, which has just ended
                yield Step("link", entry.path, str(path.readlink()))
        elif path in opened:
            yield Step("directory", entry.path, mode=stat.S_IMODE(path.stat().st_mode))
            yield from _open(path, opened)
        else:
            yield Step("keep", entry.path)


def bubblewrap_command(steps: Sequence[Step]) -> list[str]:
    """Write the plan as bwrap's arguments."""
    command = ["bwrap"]
    for step in steps:
        if step.verb == "directory":
            command += ["--perms", f"{step.mode:04o}", "--dir", step.path]
        elif step.verb == "keep":
            command += ["--dev-bind-try", step.path, step.path]
        elif step.verb == "link":
            command += ["--symlink", step.source, step.path]
        elif step.verb == "hide":
            command += ["--tmpfs", step.path]
        else:
            command += ["--ro-bind" if step.read_only else "--bind", step.source, step.path]
    return [*command, "--"]


def choose() -> Way:
    """Return the first way that works on this machine."""
    steps = plan([])
    if shutil.which("bwrap") and succeeds([*bubblewrap_command(steps), "true"]):
        return "bubblewrap"
    if succeeds(["unshare", "-m", "true"]) or succeeds(["unshare", "-Urm", "true"]):
        return "unshare"
    return "lease" if os.geteuid() == 0 else "none"


def succeeds(command: list[str]) -> bool:
    """Tell whether a command that tries what this machine allows ends well."""
    try:
        return subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 0  # noqa: S603 - our own words
    except (OSError, subprocess.TimeoutExpired):
        return False
