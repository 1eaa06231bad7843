# SPDX-License-Identifier: Apache-2.0
"""The process between the node agent and a container's: it builds what the container sees, starts it, and never outlives the agent.

Run as a file by `python -I -S`, so it imports the standard library only and little of it. Its standard input is a socket to the agent. It
reads one JSON line, the order, then lines that each hold a signal number for the container; it writes one JSON line for
each of `started`, `error` and `ended`. End of file on the socket means that the agent is gone: everything is killed.

With `root` in the order, the container gets a mount namespace and a root of its own, built from `steps` (see `mounts.py`).
"""

import ctypes
import json
import os
import select
import signal
import sys

CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_SLAVE = 1, 32, 4096, 16384, 1 << 19
MNT_DETACH = 2
PR_SET_CHILD_SUBREAPER = 36
# nosuid, nodev and noexec of the mount below are locked in a user namespace: a remount has to repeat them (mount_namespaces(7)).
LOCKED_FLAGS = 2 | 4 | 8
libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: object) -> None:
    """Call the C library's `name`; a result other than 0 becomes an OSError that names the call."""
    prepared = [os.fsencode(value) if isinstance(value, str) else value for value in arguments]
    if getattr(libc, name)(*prepared) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}", next((value for value in arguments if isinstance(value, str)), None))


def mount(source: str | None, target: str, kind: str | None = None, flags: int = 0, data: str | None = None) -> None:
    """Lay one mount over `target`, or change the one that is there."""
    call("mount", source, target, kind, ctypes.c_ulong(flags), data)


def unshare() -> None:
    """Enter a mount namespace; without the right to, a user namespace first, in which this user keeps its own number."""
    if libc.unshare(CLONE_NEWNS) != 0:
        user, group = os.geteuid(), os.getegid()
        call("unshare", CLONE_NEWUSER | CLONE_NEWNS)
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123 - pathlib costs a third of this program's start
                file.write(text)
    mount("none", "/", None, MS_REC | MS_SLAVE)


def place(source: str, target: str) -> None:
    """Bind `source` to `target`, which is made where it is missing: a directory for a directory, an empty file for anything else."""
    if os.path.isdir(source):  # noqa: PTH112
        os.makedirs(target, exist_ok=True)  # noqa: PTH103
    elif not os.path.exists(target):  # noqa: PTH110
        os.makedirs(os.path.dirname(target), exist_ok=True)  # noqa: PTH103, PTH120
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    mount(source, target, None, MS_BIND | MS_REC)


def take(root: str, step: list) -> None:  # type: ignore[type-arg]  # a step is what json.loads gave
    """Carry out one step of the plan below `root`."""
    verb, path, source, mode, read_only = step
    target = root + path
    if verb == "directory":
        os.makedirs(target, exist_ok=True)  # noqa: PTH103
        os.chmod(target, mode)  # noqa: PTH101
    elif verb == "link":
        os.symlink(source, target)  # noqa: PTH211
    elif verb == "hide":
        mount("tmpfs", target, "tmpfs", 0, "mode=755")
    elif verb == "keep":
        try:
            place(path, target)
        except OSError:  # an entry that cannot be bound (a dead network mount) is left empty: the pod did not ask for it
            return
    elif verb == "bind":
        place(source, target)
        if read_only:
            mount(None, target, None, MS_BIND | MS_REMOUNT | MS_RDONLY | (os.statvfs(target).f_flag & LOCKED_FLAGS))


def enter(root: str, steps: list) -> None:  # type: ignore[type-arg]  # as json.loads gave them
    """Build the container's file system at `root` and make it this process's own."""
    unshare()
    mount("tmpfs", root, "tmpfs", 0, "mode=755")
    for step in steps:
        take(root, step)
    os.chdir(root)
    call("pivot_root", ".", ".")
    call("umount2", ".", MNT_DETACH)
    os.chdir("/")


def tell(**message: object) -> None:
    """Write one line to the agent; that it has gone shows at the next read."""
    try:
        os.write(0, json.dumps(message).encode() + b"\n")
    except OSError:
        return


def read_line() -> bytes:
    """Read up to a line's end, and no further: what follows it are signals."""
    line = b""
    while not line.endswith(b"\n"):
        got = os.read(0, 1 if line else 65536)
        if not got:
            sys.exit(1)
        line += got
    return line


def start(order: dict) -> int:  # type: ignore[type-arg]  # as json.loads gave it
    """Start the container's process, in a session of its own; return its id."""
    os.chdir(order["cwd"])
    os.environ["PATH"] = order["env"].get("PATH", os.defpath)
    return os.posix_spawnp(
        order["argv"][0],
        order["argv"],
        order["env"],
        file_actions=[(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0)],
        setsid=True,
        setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
    )


def send(process: int, number: int) -> None:
    """Send a signal as a container runtime does: to the first process, which may see to the others; the last one goes to all."""
    try:
        (os.killpg if number == signal.SIGKILL else os.kill)(process, number)
    except ProcessLookupError:
        return


def end_descendants() -> None:
    """Kill and await whatever the container left running: it was handed to this process, the nearest subreaper."""
    while True:
        try:
            with open(f"/proc/self/task/{os.getpid()}/children") as file:  # noqa: PTH123
                for child in file.read().split():
                    os.kill(int(child), signal.SIGKILL)
        except OSError:  # no such file in this kernel: the process group was all that could be reached
            return
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def watch(process: int) -> int:
    """Pass signals on until the container's process ends; return its exit code, 128 and the signal's number for a signal."""
    handle = os.pidfd_open(process)
    while True:
        ready, _, _ = select.select([0, handle], [], [])
        if handle in ready:
            code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
            return 128 - code if code < 0 else code
        orders = os.read(0, 4096)
        for number in orders.split() if orders else [signal.SIGKILL]:
            send(process, int(number))


def main() -> None:
    """Serve one container."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    call("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    order = json.loads(read_line())
    try:
        if order["root"]:
            enter(order["root"], order["steps"])
    except OSError as error:
        tell(error=str(error), during="mount")
        return
    try:
        process = start(order)
    except OSError as error:
        tell(error=f"{error.strerror}: {error.filename or order['argv'][0]!r}", during="start")
        return
    tell(started=process)
    code = watch(process)
    send(process, signal.SIGKILL)
    end_descendants()
    tell(ended=code)


if __name__ == "__main__":
    main()
