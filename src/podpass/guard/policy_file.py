# SPDX-License-Identifier: Apache-2.0
"""A policy file that may change while it is served.

Requests trigger the look at the file, at most once a second, since a host may freeze a process between requests. What has changed is read
on a thread of its own; meanwhile, and for good if the new file is wrong, the last good policy stays.
"""

import os
import threading
from collections.abc import Callable, Iterable
from time import monotonic
from typing import TYPE_CHECKING

from podpass.errors import ConfigError
from podpass.guard.decide import Judge
from podpass.policy import InvokerPolicy

if TYPE_CHECKING:
    from pathlib import Path

# More than any policy that people write; config.tree refuses what is larger.
_LIMIT_BYTES = 1024 * 1024 + 1
_PAUSE_S = 1.0

Fingerprint = tuple[tuple[int, int, int] | None, ...]
Build = Callable[[InvokerPolicy], Judge]


class PolicyFile:
    """Reads a policy, and tells when to read it again.

    Args:
        path: Of the policy.
        build: Makes a judge of it; reads key files.
        tick: A clock that never goes back, in seconds.

    Attributes:
        look_at_s: When to look at the file again, by `tick`.
    """

    def __init__(self, path: "Path", build: Build, tick: Callable[[], float] = monotonic) -> None:
        self._path = path
        self._build = build
        self.tick = tick
        self._files: tuple[Path, ...] = (path,)
        self._seen: Fingerprint = ()
        self.look_at_s = tick() + _PAUSE_S
        self._busy = threading.Lock()

    def load(self) -> Judge:
        """Read the policy and the key files it names.

        Raises:
            ConfigError: The file cannot be read, or anything in it is wrong.
            KeySetError: A key file is wrong, or two issuers cannot be told apart.
        """
        # Taken before the reading, so that what changes meanwhile is seen the next time.
        self._seen = _fingerprint(self._files)
        policy = read_policy(self._path)
        self._files = (self._path, *(issuer.keys for issuer in policy.issuers if not isinstance(issuer.keys, str)))
        self._seen = (self._seen[0], *_fingerprint(self._files[1:]))
        return self._build(policy)

    def has_changed(self) -> bool:
        """Tell whether one of the files is another one than at the last reading; looks once a second at most."""
        now_s = self.tick()
        if now_s < self.look_at_s:
            return False
        self.look_at_s = now_s + _PAUSE_S
        return _fingerprint(self._files) != self._seen

    def reload(self, then: Callable[[], None]) -> None:
        """Do something on a thread of its own, unless it is being done already."""
        if self._busy.acquire(blocking=False):
            threading.Thread(target=self._run, args=(then,), name="podpass-policy", daemon=True).start()

    def _run(self, then: Callable[[], None]) -> None:
        try:
            then()
        finally:
            self._busy.release()

    def __str__(self) -> str:
        return str(self._path)


def read_policy(path: "Path") -> InvokerPolicy:
    """Read a policy file, once.

    Raises:
        ConfigError: It cannot be read, anything in it is wrong, or the extra that reads such files is not installed.
    """
    return _parser()(_read(path), path)


def _parser() -> "Callable[[bytes, Path], InvokerPolicy]":
    # YAML and CEL are an extra, and cost more to import than all of the guard.
    try:
        from podpass.policy.reading import parse  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"A policy file needs the package {error.name}, which is not installed.",
            "podpass was installed without the extra that brings it.",
            "Install it as podpass[policy], from where you had it: `pip install 'podpass[policy] @ …'`.",
            code="config.extra",
        ) from error
    return parse


def _read(path: "Path") -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LIMIT_BYTES)
    except OSError as error:
        cure = "Write an InvokerPolicy there, or name another file: in PODPASS_POLICY for a guard, by --policy on the command line."
        raise ConfigError(f"The policy {path} cannot be read.", f"{error.strerror or error}.", cure, code="config.unreadable") from error


def _fingerprint(files: "Iterable[Path]") -> Fingerprint:
    return tuple(map(_stat, files))


def _stat(path: "Path") -> tuple[int, int, int] | None:
    """Return what changes with a file; kubelet swaps a link above it, and then the inode is another one."""
    try:
        found = os.stat(path)  # noqa: PTH116 - half the cost of Path.stat, once a second in the way of a request
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
