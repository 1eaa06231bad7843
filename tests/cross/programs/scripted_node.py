# SPDX-License-Identifier: Apache-2.0
"""Stands for `ssh` and for `docker`: runs what it is given in the root of a node, as root there, and nowhere else.

Called as `ssh NODE sudo -n sh` or as `docker exec --interactive NODE sh`; `docker port NODE 6443/tcp` says where its API server is.

NODES/NODE/root          the node's own files: etc, run, node/bin (first on its PATH)
NODES/NODE/unreachable   is there: nobody answers
NODES/NODE/port          where its API server is
NODES/NODE/cut           is there: so many bytes of a script arrive, then the line is dead
NODES/calls              one line a call: node, how
"""

import os
import subprocess
import sys
from pathlib import Path


def main(nodes: Path, words: list[str]) -> int:
    match words:
        case ["ssh", node, "sudo", "-n", "sh"] | ["docker", "exec", "--interactive", node, "sh"]:
            pass
        case ["docker", "port", node, "6443/tcp"]:
            print((nodes / node / "port").read_text())
            return 0
        case _:
            print(f"unknown command {words}", file=sys.stderr)
            return 125
    with (nodes / "calls").open("a") as log:
        log.write(f"{node} {words[0]}\n")
    folder = nodes / node
    if not folder.is_dir() or (folder / "unreachable").exists():
        print(f"ssh: connect to host {node} port 22: No route to host", file=sys.stderr)
        return 255
    script = sys.stdin.buffer.read()
    if (folder / "cut").exists():
        script = script[: int((folder / "cut").read_text())]
    print("Welcome to this node.")  # as a login shell may
    sys.stdout.flush()
    done = subprocess.run([*sandbox(folder / "root"), "sh"], input=script, check=False)
    return done.returncode if done.returncode >= 0 else 128 - done.returncode


def sandbox(root: Path) -> list[str]:
    """Return the words that make a folder the root of what follows; the programs are this machine's."""
    binds = [word for name in ("etc", "run", "node") for word in ("--bind", str(root / name), f"/{name}")]
    links = [word for name in ("bin", "sbin", "lib", "lib64") for word in ("--symlink", f"usr/{name}", f"/{name}")]
    path = "/node/bin:/usr/bin:/bin"
    return [
        *("bwrap", "--unshare-pid", "--die-with-parent", "--ro-bind", "/usr", "/usr"),
        *(*links, *binds, "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--clearenv", "--setenv", "PATH", path),
    ]


if __name__ == "__main__":
    sys.exit(main(Path(os.environ["NODES"]), [Path(sys.argv[1]).name, *sys.argv[2:]]))
