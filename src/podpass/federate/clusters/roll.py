# SPDX-License-Identifier: Apache-2.0
"""Brings one stage to every API server, one after the other, and stops at the first that does not come back.

Nothing is kept between two runs: what a machine is told says how far an earlier run came. So a roll that was stopped is run again, and one
that went wrong is taken back from whatever it reached, in the opposite order.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal, Protocol

from podpass.errors import NeighbourError, PartlyAppliedError, UnsafePlanError
from podpass.federate.clusters.evidence import Node
from podpass.federate.clusters.flags import ServiceAccountFlags
from podpass.federate.clusters.move import Stage, StageName
from podpass.federate.clusters.probe import Look, Sight

PATIENCE: Final = timedelta(minutes=5)
"""How long a static pod may take to come back: an image that is there already, and minutes of back-off after a failed start."""
_PAUSE_S: Final = 1.0
Happened = Literal["there already", "changed", "came back"]


@dataclass(frozen=True, slots=True)
class Changed:
    """What a change of a machine leads to.

    Attributes:
        restarts: Whether its server is started anew.
        undo: What takes it back on the machine itself, should nothing else work any more; empty: podpass alone.
    """

    restarts: bool = True
    undo: str = ""


class Machines(Protocol):
    """The machines of a control plane."""

    def flags(self, node: Node) -> ServiceAccountFlags:
        """Return what the node's kube-apiserver is told."""

    def preview(self, node: Node, flags: ServiceAccountFlags) -> str:
        """Return what telling it something else would write, for people; what follows is that, or a refusal."""

    def unfinished(self, node: Node) -> bool:
        """Whether a change was written and not brought to its end."""

    def change(self, node: Node, flags: ServiceAccountFlags) -> Changed:
        """Tell it something else; returns before it has come back."""


@dataclass(frozen=True, slots=True)
class Times:
    """The clock of a roll.

    Attributes:
        patience: How long a server may take to come back.
        now_s: A clock that only goes on.
        sleep: Waits so many seconds.
    """

    patience: timedelta = PATIENCE
    now_s: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class Roll:
    """One control plane.

    Args:
        machines: Its machines.
        look: Looks at a node's API server.
        notify: Hears what has happened to which node.
        times: The clock.
    """

    def __init__(
        self, machines: Machines, look: Look, *, notify: Callable[[Node, Happened], None] = lambda _, __: None, times: Times | None = None
    ) -> None:
        self._machines = machines
        self._look = look
        self._notify = notify
        self._times = times or Times()

    def run(self, stage: Stage, nodes: Sequence[Node]) -> None:
        """Bring a stage to every node, in their order. May be run again, after whatever stopped it.

        Raises:
            UnsafePlanError: A server is not well, or they do not have the same keys; nothing was changed.
            PartlyAppliedError: A server did not come back; no later one was touched.
            NeighbourError: A machine cannot be asked or refuses the change; no later one was touched.
        """
        self._check(nodes)
        for node in nodes:
            self._bring(node, stage.flags, done=lambda told: is_done(told, stage.flags, stage.name))

    def abort(self, before: ServiceAccountFlags, nodes: Sequence[Node]) -> None:
        """Take a stage back, from the node that was changed last. Servers need not be well: one that is not is what is mended.

        Raises:
            PartlyAppliedError: A server did not come back.
            NeighbourError: A machine cannot be asked or refuses the change.
        """
        for node in reversed(nodes):
            self._bring(node, before, done=lambda told: _same(told, before))

    def finish(self, nodes: Sequence[Node]) -> None:
        """Bring to its end what an earlier run has written and not finished; whatever each machine is told stays.

        Raises:
            UnsafePlanError: A server is not well, or they do not have the same keys; nothing was changed.
            PartlyAppliedError: A server did not come back; no later one was touched.
            NeighbourError: A machine cannot be asked or refuses the change; no later one was touched.
        """
        self._check(nodes)
        for node in nodes:
            self._bring(node, self._machines.flags(node), done=lambda _: True)

    def _check(self, nodes: Iterable[Node]) -> None:
        kids: dict[frozenset[str], str] = {}
        for node in nodes:
            try:
                kids.setdefault(self._look(node, frozenset()).kids, node.name)
            except NeighbourError as error:
                raise UnsafePlanError(
                    f"Nothing was changed: the API server of {node.name} is not well.",
                    error.what,
                    "Look after it first. If a change has brought it down, take that back.",
                ) from error
        if len(kids) > 1:
            raise UnsafePlanError(
                "Nothing was changed: the API servers do not verify with the same keys.",
                f"{' and '.join(kids.values())} differ.",
                "Give every node the same key of service accounts.",
            )

    def _bring(self, node: Node, flags: ServiceAccountFlags, *, done: Callable[[ServiceAccountFlags], bool]) -> None:
        told, before = self._machines.flags(node), self._glance(node)
        issuers = frozenset((*told.issuers, *flags.issuers))
        if done(told) and self._machines.unfinished(node):
            flags = told
        elif done(told):
            # An earlier run may have been stopped before this server was back with what it is told.
            self._wait(node, issuers, lambda sight: _lack(sight, told))
            self._notify(node, "there already")
            return
        changed = self._machines.change(node, flags)
        self._notify(node, "changed")
        self._wait(node, issuers, lambda sight: _lack(sight, flags, before if changed.restarts else None), changed.undo)
        self._notify(node, "came back")

    def _wait(self, node: Node, issuers: frozenset[str], lack: Callable[[Sight], str], undo: str = "") -> None:
        """Wait until a server is ready and lacks nothing."""
        end_s = self._times.now_s() + self._times.patience.total_seconds()
        while True:
            try:
                missing = lack(self._look(node, issuers))
            except NeighbourError as error:
                missing = error.what
            if not missing:
                return
            if self._times.now_s() >= end_s:
                raise PartlyAppliedError(
                    f"The API server of {node.name} has not come back within {self._times.patience.total_seconds():g} s.",
                    missing,
                    "No other was touched after it. Look at its log, then run this again, or take the change back"
                    + (f": `podpass roll back`; where that finds no API server any more, on the node `{undo}`." if undo else "."),
                )
            self._times.sleep(_PAUSE_S)

    def _glance(self, node: Node) -> Sight | None:
        try:
            return self._look(node, frozenset())
        except NeighbourError:
            return None


def is_done(told: ServiceAccountFlags, wanted: ServiceAccountFlags, stage: StageName) -> bool:
    """Whether a machine is told what a stage asks for; what a later stage brought is no reason to go back to accepting."""
    if stage == "accept":
        return set(told.issuers) >= set(wanted.issuers) and set(told.accepted_audiences) >= set(wanted.accepted_audiences)
    return _same(told, wanted)


def _same(told: ServiceAccountFlags, wanted: ServiceAccountFlags) -> bool:
    return told.issuers == wanted.issuers and set(told.accepted_audiences) == set(wanted.accepted_audiences)


def _lack(sight: Sight, told: ServiceAccountFlags, before: Sight | None = None) -> str:
    """Say what a server lacks yet of what it is told; empty: nothing.

    Args:
        sight: The server, asked about every issuer that comes or goes.
        told: What it is told.
        before: The server before it was changed; None: it was not changed now, or was not there.
    """
    if before and sight.started_s <= before.started_s:
        return "It has not been restarted yet."
    if sight.issuer != told.issuers[0]:
        return f"It signs as {sight.issuer}; {told.issuers[0]} is wanted."
    if sight.accepted != frozenset(told.issuers):
        return f"It takes tokens of {', '.join(sorted(sight.accepted)) or 'nobody'}; {', '.join(told.issuers)} are wanted."
    if before and not before.kids <= sight.kids:
        return "It does not verify with every key that it had before."
    return ""
