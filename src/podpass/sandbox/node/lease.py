# SPDX-License-Identifier: Apache-2.0
"""Real paths that one pod has at a time: a symbolic link at the mount path, for as long as the pod runs.

The last resort of `mounts.choose`, for root in a container that may not make namespaces. Two pods that want one path take turns. A link
that a killed sandbox left behind is known by its node agent's lock, which nobody holds any more, and is taken over.
"""

import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from podpass.sandbox.node.mounts import Bind, MountError

LOCK = "sandbox.lock"
"""File in a directory of a sandbox's that is kept locked while the sandbox lives."""
# What a mount of a pod leads to (`pod_sandbox.py`): WORKDIR/pods/UID/volumes/NAME.
_OF_AN_AGENT = re.compile(r"/pods/[^/]+/volumes/")

_FRESH_S = 60


def lock(workdir: Path) -> int:
    """Lock `workdir` for one sandbox; the descriptor holds the lock.

    Raises:
        MountError: Another sandbox has it.
    """
    descriptor = os.open(workdir / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise MountError(f"{workdir} belongs to a running sandbox.", "", "Give each sandbox a state directory of its own.") from error
    return descriptor


class Lease:
    """The links of one pod."""

    def __init__(self) -> None:
        self._links: list[Path] = []
        self._parents: list[Path] = []

    def take(self, binds: Iterable[Bind]) -> None:
        """Put a link at each mount path; a path that this pod has already is left as it is.

        Raises:
            MountError: Something else is at the path; nothing is left behind then.
        """
        for bind in sorted(binds, key=lambda bind: bind.target.count("/")):
            path = Path(bind.target)
            if path in self._links:
                continue
            if path.is_symlink() and _is_left_behind(path):
                path.unlink()
            try:
                self._make_parents(path.parent)
                path.symlink_to(bind.source)
            except OSError as error:
                self.release()
                raise MountError(
                    f"The path {bind.target} cannot be leased.", f"{error.strerror}: a pod or this machine has it.", ""
                ) from error
            self._links.append(path)

    def _make_parents(self, parent: Path) -> None:
        missing = [path for path in (parent, *parent.parents) if not path.exists()]
        for path in reversed(missing):
            path.mkdir()
            self._parents.append(path)

    def release(self) -> None:
        """Take the links away, and the parents that were made for them where nobody else uses them."""
        for link in self._links:
            link.unlink(missing_ok=True)
        for parent in reversed(self._parents):
            try:
                parent.rmdir()
            except OSError:  # something else lies in it by now
                continue
        self._links, self._parents = [], []


def _is_left_behind(link: Path) -> bool:
    """Tell whether the node agent that made `link` is gone."""
    target = link.readlink()
    owner = next((parent / LOCK for parent in target.parents if (parent / LOCK).exists()), None)
    if owner is None:
        # The agent's directory is gone with it. Another dangling link may be the machine's own, to something not mounted now.
        return not link.exists() and target.is_absolute() and _OF_AN_AGENT.search(str(target)) is not None
    return is_free(owner)


def is_free(lock_file: Path) -> bool:
    """Tell whether no sandbox that lives has locked this file."""
    with lock_file.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def sweep(temporary: Path, prefix: str, lock_file: str = LOCK) -> None:
    """Remove what killed sandboxes left below `temporary`: this user's directories whose lock nobody holds any more.

    Args:
        temporary: Where temporary directories are made.
        prefix: How the names of a sandbox's begin.
        lock_file: The path of the lock in each.
    """
    for found in temporary.glob(f"{prefix}*/{lock_file}"):
        directory = temporary / found.relative_to(temporary).parts[0]
        try:
            status = found.stat()
            # A lock that has only just been made may be taken in a moment.
            if status.st_uid == os.geteuid() and time.time() - status.st_mtime > _FRESH_S and is_free(found):
                shutil.rmtree(directory, ignore_errors=True)
        except OSError:  # another sandbox was faster
            continue
