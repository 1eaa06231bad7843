# SPDX-License-Identifier: Apache-2.0
"""Whose turn it is to change a federation: a Lease in podpass-system, held while changes are made.

The second of two people is told who is at it and since when. A run that was killed leaves its lease behind: the same machine sees that the
process is gone and takes over at once, others when the lease has run out. Clocks may differ, so a lease is a courtesy; what keeps two runs
from undoing each other is the compare-and-swap of the receipt and of each policy.
"""

import getpass
import logging
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Self, TypeVar

from podpass.clock import Clock, SystemClock
from podpass.errors import DriftSincePlanError, PodpassError
from podpass.federate.execution.run import GRACE
from podpass.federate.records.own_namespace import create_in
from podpass.federate.records.receipt import NAMESPACE, config_map_name
from podpass.kube.client import KubeClient
from podpass.kube.fault import FaultKind, KubeRefusedError
from podpass.kube.leases import Lease, create_lease, delete_lease, get_lease, replace_lease
from podpass.names.secret import redact
from podpass.net.flights import within

log = logging.getLogger(__name__)

LASTS: Final = timedelta(seconds=60)
_RENEWED_EVERY_S: Final = 20.0
# A cluster that has just taken what was written to it; where something failed, it may have been the cluster.
_ENDS_WITHIN: Final = timedelta(seconds=15)
# A clock that is further ahead gets its machine no token of Google's, so nobody works there.
_AHEAD: Final = timedelta(minutes=10)
_NAME_LIMIT_CHARS: Final = 200
_PROCESS: Final = "podpass.dev/process"
# How often a lease that somebody gives back at this very moment is asked for again.
_TRIES: Final = 3
# proc(5), /proc/PID/stat after the name: the state first, of which these are a process that has ended; the moment of the start.
_ENDED: Final = frozenset("ZX")
_STARTED: Final = 19
_PID: Final = re.compile("[1-9][0-9]{0,6}")  # proc(5): pid_max is 2^22 at most
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Runner:
    """Who is at work.

    Attributes:
        name: In words, for the other person: `ada@laptop (podpass apply, process 4711)`.
        process: Tells this process from every other one on every machine; empty where the system does not tell.
    """

    name: str
    process: str

    @classmethod
    def this(cls, command: str) -> Self:
        """Return this process."""
        pid = os.getpid()
        return cls(f"{_user()}@{socket.gethostname()} (podpass {command}, process {pid})", _process(pid))


@contextmanager
def turn(client: KubeClient, federation: str, command: str, *, clock: Clock | None = None) -> Iterator[None]:
    """Hold the turn while the block runs.

    Raises:
        DriftSincePlanError: Somebody else has it.
        NeighbourError: The cluster does not allow it, or gives no answer.
    """
    held = _Held(client, clock or SystemClock(), _take(client, federation, Runner.this(command), clock or SystemClock()))
    ended = threading.Event()
    renewing = threading.Thread(target=held.keep, args=(ended,), name="podpass-turn", daemon=True)
    renewing.start()
    patience = GRACE

    def end() -> None:
        renewing.join()
        held.give_back()

    try:
        yield
        patience = _ENDS_WITHIN
    finally:
        ended.set()
        try:
            within(end, patience.total_seconds())
        except TimeoutError:
            log.warning("The turn could not be given back in time; it ends by itself after %.0f s.", LASTS.total_seconds())


def sweep(client: KubeClient, federation: str, *, own: bool = False, clock: Clock | None = None) -> None:
    """Take away what a run has left that was killed. Who may not leaves it to run out.

    Args:
        client: The cluster.
        federation: Whose turn it is about.
        own: What this very process could not give back counts, too; for one whose turn is over.
        clock: The present moment.
    """
    mine = _process(os.getpid())
    try:
        left = get_lease(client, NAMESPACE, config_map_name(federation))
        if left and ((own and _is_of(left, mine)) or not _is_held(left, (clock or SystemClock()).now(), mine)):
            delete_lease(client, left)
    except KubeRefusedError as error:
        if error.kind not in {FaultKind.FORBIDDEN, FaultKind.CONFLICT}:  # a conflict: somebody has taken it over at this moment
            raise


class _Held:
    """A lease that is ours."""

    def __init__(self, client: KubeClient, clock: Clock, lease: Lease) -> None:
        self._client = client
        self._clock = clock
        self._lease = lease

    def keep(self, ended: threading.Event) -> None:
        """Renew it again and again. A renewal that fails is tried again; the lease outlives two of them."""
        while not ended.wait(_RENEWED_EVERY_S):
            try:
                self._lease = self._write(lambda lease: replace_lease(self._client, replace(lease, renewed_at=self._clock.now())))
            except PodpassError as error:
                log.warning("The turn could not be renewed: %s", error)

    def give_back(self) -> None:
        """Delete it; where that fails it runs out by itself."""
        try:
            self._write(lambda lease: delete_lease(self._client, lease))
        except PodpassError as error:
            log.warning("The turn could not be given back; it ends by itself after %.0f s: %s", LASTS.total_seconds(), error)

    def _write(self, write: Callable[[Lease], T]) -> T:
        """Write a successor of what was seen last; where only the answer to the write before was lost, of what that one left."""
        mine = self._lease
        try:
            return write(mine)
        except KubeRefusedError as error:
            there = get_lease(self._client, mine.namespace, mine.name) if error.kind is FaultKind.CONFLICT else None
            if there is None or (there.uid, there.acquired_at) != (mine.uid, mine.acquired_at):
                raise
        self._lease = there
        return write(there)


def _take(client: KubeClient, federation: str, runner: Runner, clock: Clock) -> Lease:
    now = clock.now()
    mine = Lease(NAMESPACE, config_map_name(federation), runner.name, now, now, LASTS, {_PROCESS: runner.process})
    for _ in range(_TRIES):
        try:
            return create_in(client, lambda: create_lease(client, mine))
        except KubeRefusedError as error:
            if error.kind is not FaultKind.ALREADY_EXISTS:
                raise
        other = get_lease(client, mine.namespace, mine.name)
        if other is None:  # given back in between
            continue
        if _is_held(other, now, runner.process):
            raise _busy(federation, other)
        try:
            return replace_lease(client, replace(mine, resource_version=other.resource_version, uid=other.uid))
        except KubeRefusedError as error:
            if error.kind not in {FaultKind.CONFLICT, FaultKind.NOT_FOUND}:
                raise
    raise DriftSincePlanError("Nothing was changed: others are at this federation too, and were quicker.", code="plan.concurrent")


def _is_of(lease: Lease, process: str) -> bool:
    return bool(process) and lease.annotations.get(_PROCESS) == process


def _is_held(lease: Lease, now: datetime, mine: str) -> bool:
    return _lasts(lease, now) and not _is_dead(lease.annotations.get(_PROCESS, ""), mine)


def _lasts(lease: Lease, now: datetime) -> bool:
    """Whether somebody is at it. Whoever may write leases can write any moment and any length: neither locks others out for long."""
    return -_AHEAD < now - lease.renewed_at < min(lease.duration, LASTS)


def _busy(federation: str, other: Lease) -> DriftSincePlanError:
    return DriftSincePlanError(
        f"Nothing was changed: {_words(other.holder) or 'somebody'} is changing the federation {federation}.",
        f"Since {other.acquired_at:%Y-%m-%d %H:%M:%S} UTC; last seen at {other.renewed_at:%H:%M:%S}.",
        f"Wait for the end of that run. If it was killed on another machine, its turn ends {LASTS.total_seconds():.0f} s after that.",
        code="plan.concurrent",
    )


def _words(holder: str) -> str:
    """Return a name that others have written, on one line and short."""
    return " ".join(redact(holder).split())[:_NAME_LIMIT_CHARS]


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return str(os.getuid())


def _process(pid: int) -> str:
    """Name a process for ever: boot, namespace of process ids, id, moment of its start; empty where there is no such process."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        space = os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116 - the namespace itself, not a file
        facts = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if facts[0] in _ENDED else f"{boot}/{space}/{pid}/{facts[_STARTED]}"


def _is_dead(other: str, mine: str) -> bool:
    """Whether a process of this machine has ended; False for one that cannot be seen from here."""
    boot_and_space, _, rest = mine.rpartition("/")[0].rpartition("/")
    pid = other.removeprefix(f"{boot_and_space}/").partition("/")[0]
    if not rest or not other.startswith(f"{boot_and_space}/") or _PID.fullmatch(pid) is None:
        return False
    return _process(int(pid)) != other and not _is_hidden(int(pid))


def _is_hidden(pid: int) -> bool:
    """Whether a process is another user's, on a machine that shows nobody those (proc(5), hidepid)."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return not Path(f"/proc/{pid}").exists()
    except OSError:
        pass
    return False
