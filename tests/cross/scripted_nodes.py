# SPDX-License-Identifier: Apache-2.0
"""Nodes with a shell: a folder each, in which what is delivered runs as root of that folder (bubblewrap), reached by a program named ssh.

Called as `ssh NODE sudo -n sh` or `docker exec --interactive NODE sh`; `docker port NODE 6443/tcp` says where the API server is. A greeting
comes first, as a login shell may give one. Its `systemctl` keeps a list of what was restarted. What goes wrong, below a node's folder:

unreachable               nobody answers
cut                       so many bytes of a script arrive, then the line is dead
root/etc/node/die-at-NAME kills the script when it comes to that program
"""

import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Final

from podpass.federate.clusters.evidence import Node

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
_DIE = 'if [ -f /etc/node/die-at-{name} ]; then kill -9 "$PPID"; exit 1; fi'
_SYSTEMCTL = f"""#!/bin/sh
case "$1" in
  cat) grep -qx "$2" /etc/node/service;;
  show) cat "/etc/node/$(echo "$2" | sed 's/--property=//')";;
  restart) {_DIE.format(name="restart")}; echo "$3" >> /etc/node/restarts;;
esac
"""
_SSH = """#!/bin/sh
[ "$*" = "$1 sudo -n sh" ] || { echo "unknown command $*" >&2; exit 125; }
node=$1
"""
_DOCKER = """#!/bin/sh
case "$*" in
  "exec --interactive $3 sh") node=$3;;
  "port $2 6443/tcp") exec cat "$NODES/$2/port";;
  *) echo "unknown command $*" >&2; exit 125;;
esac
"""
_REACH = """cd "$NODES" && echo "$node" >> calls
if [ ! -d "$node" ] || [ -f "$node/unreachable" ]; then echo "ssh: connect to host $node port 22: No route to host" >&2; exit 255; fi
echo "Welcome to this node."
if [ -f "$node/cut" ]; then head -c "$(cat "$node/cut")"; else cat; fi | "$node/enter" sh
"""


def sandbox(root: Path) -> list[str]:
    """Return the words that make a folder the root of what follows; the programs are this machine's."""
    binds = [word for name in ("etc", "run", "node") for word in ("--bind", str(root / name), f"/{name}")]
    links = [word for name in ("bin", "sbin", "lib", "lib64") for word in ("--symlink", f"usr/{name}", f"/{name}")]
    path = "/node/bin:/usr/bin:/bin"
    return [
        *("bwrap", "--unshare-pid", "--die-with-parent", "--ro-bind", "/usr", "/usr"),
        *(*links, *binds, "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--clearenv", "--setenv", "PATH", path),
    ]


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
        for name, program in (("ssh", _SSH), ("docker", _DOCKER)):
            self.write(self.bin / name, program.replace("\n", f"\nNODES={self.folder}\n", 1) + _REACH)

    def _make(self, node: Node, service: str) -> None:
        for name in ("etc/node", "run", "node/bin"):
            (self.root(node) / name).mkdir(parents=True)
        self.write(self.folder / node.name / "enter", f'#!/bin/sh\nexec {shlex.join(sandbox(self.root(node)))} "$@"\n')
        self.file(node, "etc/machine-id").write_text(f"{node.machine_id}\n")
        self.file(node, "etc/node/service").write_text(f"{service}\n")
        self.file(node, "etc/node/ExecStart").write_text(f"{{ path=/usr/local/bin/k3s ; argv[]=/usr/local/bin/{service} server ; }}\n")
        self.file(node, "etc/node/Environment").write_text("Environment=\n")
        self.file(node, "etc/node/EnvironmentFiles").write_text("/etc/node/env (ignore_errors=yes)\n")
        self.file(node, "etc/node/env").write_text("K3S_TOKEN=secret\n")
        self.write(self.root(node) / "node/bin/systemctl", _SYSTEMCTL)
        self.write(self.root(node) / "node/bin/sync", f"#!/bin/sh\n{_DIE.format(name='sync')}\n")

    def write(self, path: Path, content: str) -> None:
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
        return file.read_text().splitlines() if file.exists() else []

    def restarts(self, node: Node) -> int:
        """Return how often its service was restarted."""
        file = self.file(node, "etc/node/restarts")
        return len(file.read_text().splitlines()) if file.exists() else 0


def _same_device(one: Path, other: Path) -> bool:
    return one.stat().st_dev == other.stat().st_dev
