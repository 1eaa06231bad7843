# SPDX-License-Identifier: Apache-2.0
"""Nodes with a shell: a folder each, in which what is delivered runs as root of that folder (bubblewrap), reached by a program named ssh.

Its `systemctl` keeps a list of what was restarted. A file `etc/node/die-at-NAME` kills the script when it comes to that program.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from podpass.federate.clusters.evidence import Node

_PROGRAM: Final = Path(__file__).parent / "programs" / "scripted_node.py"
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
_DIE = 'if [ -f /etc/node/die-at-{name} ]; then kill -9 "$PPID"; exit 1; fi'
_SYSTEMCTL = f"""#!/bin/sh
case "$1" in
  cat) grep -qx "$2" /etc/node/service;;
  show) cat "/etc/node/$(echo "$2" | sed 's/--property=//')";;
  restart) {_DIE.format(name="restart")}; [ ! -f /etc/node/no-restart ] || exit 1; echo "$3" >> /etc/node/restarts;;
esac
"""


def is_possible() -> bool:
    """Whether this machine has bubblewrap, and lets it work."""
    program = shutil.which("bwrap")
    return bool(program) and subprocess.run([str(program), "--ro-bind", "/", "/", "true"], check=False, capture_output=True).returncode == 0


class ScriptedNodes:
    """The nodes, and the programs that reach them.

    Args:
        folder: Where they are kept.
        names: Theirs; each has a loopback address.
        service: The service that runs kube-apiserver; empty: there is none.
    """

    def __init__(self, folder: Path, names: tuple[str, ...], *, service: str = "", kubelet_version: str = "") -> None:
        self.folder = folder / "nodes"
        self.bin = folder / "bin"
        self.nodes = tuple(
            Node(name, addresses=(f"127.0.0.{number}",), machine_id=f"{number:032x}", boot_id=BOOT_ID, kubelet_version=kubelet_version)
            for number, name in enumerate(names, 1)
        )
        for node in self.nodes:
            self._make(node, service)
        self.bin.mkdir()
        for name in ("ssh", "docker"):
            self._write(self.bin / name, f'#!/bin/sh\nNODES={self.folder} exec {sys.executable} {_PROGRAM} {name} "$@"\n')

    def _make(self, node: Node, service: str) -> None:
        for name in ("etc/node", "run", "node/bin"):
            (self.root(node) / name).mkdir(parents=True)
        self.file(node, "etc/machine-id").write_text(f"{node.machine_id}\n")
        self.file(node, "etc/node/service").write_text(f"{service}\n")
        self.file(node, "etc/node/ExecStart").write_text(f"{{ path=/usr/local/bin/k3s ; argv[]=/usr/local/bin/{service} server ; }}\n")
        self.file(node, "etc/node/EnvironmentFiles").write_text("/etc/node/env (ignore_errors=yes)\n")
        self.file(node, "etc/node/env").write_text("K3S_TOKEN=secret\n")
        self._write(self.root(node) / "node/bin/systemctl", _SYSTEMCTL)
        self._write(self.root(node) / "node/bin/sync", f"#!/bin/sh\n{_DIE.format(name='sync')}\n")

    def _write(self, path: Path, content: str) -> None:
        path.write_text(content)
        path.chmod(0o700)

    def root(self, node: Node) -> Path:
        return self.folder / node.name / "root"

    def file(self, node: Node, path: str) -> Path:
        return self.root(node) / path

    def have(self, program: Path) -> None:
        """Give every node a program."""
        for node in self.nodes:
            os.link(program, self.root(node) / "node/bin" / program.name) if _same_device(program, self.folder) else shutil.copy(
                program, self.root(node) / "node/bin" / program.name
            )

    def set_mark(self, node: Node, name: str, content: str | None = "") -> None:
        """Set or, with None, take away what goes wrong on a node: a path below the node's folder."""
        path = self.folder / node.name / name
        path.unlink(missing_ok=True) if content is None else path.write_text(content)

    def calls(self) -> list[str]:
        """Return the names of the nodes that were reached, in order."""
        file = self.folder / "calls"
        return [line.split()[0] for line in file.read_text().splitlines()] if file.exists() else []

    def restarts(self, node: Node) -> int:
        """Return how often its service was restarted."""
        file = self.file(node, "etc/node/restarts")
        return len(file.read_text().splitlines()) if file.exists() else 0


def _same_device(one: Path, other: Path) -> bool:
    return one.stat().st_dev == other.stat().st_dev
