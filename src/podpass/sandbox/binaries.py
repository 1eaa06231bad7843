# SPDX-License-Identifier: Apache-2.0
"""Where the programs of a real control plane are: one directory with kube-apiserver, kube-controller-manager, kubeadm and etcd.

`make cluster` fills that directory; the sandbox and the tests read it by the functions here.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from podpass.errors import ConfigError

VERSION = "v1.36.3"
"""The Kubernetes that `make cluster` obtains; equal to the one that tools/control_plane/go.mod requires."""
PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kubeadm", "etcd")


def cache_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Return `$PODPASS_CONTROL_PLANE`, else the place in the user's cache that `make cluster` fills. It need not exist."""
    if named := environ.get("PODPASS_CONTROL_PLANE"):
        return Path(named).expanduser().resolve()
    cache = environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME", "~")).expanduser() / ".cache"
    return Path(cache) / "podpass" / "control-plane" / VERSION


@dataclass(frozen=True, slots=True)
class Binaries:
    """The programs that a sandbox starts."""

    api_server: Path
    controller_manager: Path
    etcd: Path

    @classmethod
    def find(cls, directory: Path) -> "Binaries":
        """Look into `directory`; kubeadm may be absent, no sandbox starts it.

        Raises:
            ConfigError: A program is not there, or may not be executed.
        """
        wanted = ("kube-apiserver", "kube-controller-manager", "etcd")
        missing = [name for name in wanted if not os.access(directory / name, os.X_OK)]
        if missing:
            raise ConfigError(
                f"There is no control plane in {directory}.",
                f"Not found there, or not executable: {', '.join(missing)}.",
                "Run `make cluster` once, or name a directory that has them: --control-plane DIR, or PODPASS_CONTROL_PLANE for the tests.",
                code="config.control-plane",
            )
        return cls(*(directory / name for name in wanted))
