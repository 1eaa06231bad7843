# SPDX-License-Identifier: Apache-2.0
"""A directory whose files change all at once, as kubelet writes configMap, secret, downwardAPI and projected volumes.

Every visible name is a link through `..data`, itself a link to a directory with a timestamp in its name. A change writes a new such
directory and renames a new `..data` over the old one: a reader sees all old files or all new ones.

Source: Kubernetes, pkg/volume/util/atomic_writer.go (its order of steps).
"""

import os
import shutil
import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from podpass.sandbox.node.mounts import MountError

_DATA, _NEW_DATA = "..data", "..data_tmp"


class Content(NamedTuple):
    """What one file holds, and its permission bits."""

    data: bytes
    mode: int


Payload = Mapping[str, Content]
"""The files of a volume by their path in it."""


def write(directory: Path, payload: Payload, now: datetime) -> bool:
    """Make `directory` hold exactly `payload`; return whether anything had to be written.

    Raises:
        MountError: A path leaves the directory or begins with `..`, which is kept for the links themselves.
    """
    for path in payload:
        _check(path)
    old = directory / (directory / _DATA).readlink() if (directory / _DATA).is_symlink() else None
    if old is not None and _read(old) == dict(payload):
        return False
    # 1. The new files, in a directory of their own.
    new = Path(tempfile.mkdtemp(prefix=now.strftime("..%Y_%m_%d_%H_%M_%S."), dir=directory))
    new.chmod(0o755)
    for path, content in payload.items():
        _write_file(new / path, content)
    # 2. The swap.
    (directory / _NEW_DATA).unlink(missing_ok=True)
    (directory / _NEW_DATA).symlink_to(new.name)
    (directory / _NEW_DATA).replace(directory / _DATA)
    # 3. The visible names, new ones and those that are no more; then the old files.
    names = {PurePosixPath(path).parts[0] for path in payload}
    for name in names:
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(f"{_DATA}/{name}")
    for entry in directory.iterdir():
        if not entry.name.startswith("..") and entry.name not in names:
            entry.unlink()
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)
    return True


def _check(path: str) -> None:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or parts[0].startswith(".."):
        raise MountError(
            f"{path!r} cannot be a file of a volume.", "A path is relative, does not begin with '..' and does not leave the volume."
        )


def _write_file(path: Path, content: Content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content.data)
    path.chmod(content.mode)


def _read(directory: Path) -> dict[str, Content]:
    if not directory.is_dir():
        return {}
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {str(path.relative_to(directory)): Content(path.read_bytes(), path.stat().st_mode & 0o777) for path in files}
