# SPDX-License-Identifier: Apache-2.0
"""Goes from step to step of a rotation: shows what a person has to do, measures the gate, remembers how far it came.

Each step may be stopped and repeated. What Google is told is what the cluster serves, as `podpass keys sync` does it.
"""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol

from podpass.clock import Clock, SystemClock
from podpass.errors import CredentialError, KeySetError, NeighbourError, PlanError
from podpass.exchange.exchanger import Exchanger
from podpass.federate.rotation import gates
from podpass.federate.rotation.instructions import Instruction, instruction
from podpass.federate.rotation.ledger import Ledger
from podpass.federate.rotation.rotation import Phase, Rotation
from podpass.federate.rotation.servers import ControlPlane

_POLL_S: Final = 1.0


class Sides(Protocol):
    """What a walk asks of cluster and Google."""

    def control_plane(self, *, thoroughly: bool = True) -> ControlPlane:
        """Ask every API server; not `thoroughly`: a first look, which may miss some."""
        ...

    def publish(self, needed: Collection[str]) -> list[str]:
        """Let Google have the keys that the cluster serves now, and no others; nothing, with the reasons, where a needed one is missing."""
        ...

    def known_kids(self) -> frozenset[str]:
        """Return the ids of the keys that Google has."""
        ...

    def exchanger(self) -> Exchanger:
        """Return what trades a subject token at Google."""
        ...


class Listener(Protocol):
    """Who is told how the walk goes."""

    def step(self, rotation: Rotation) -> None:
        """A step begins."""
        ...

    def do(self, work: Instruction) -> None:
        """A person has to do something now."""
        ...

    def waiting(self, unmet: list[str]) -> None:
        """The gate is closed, for these reasons."""
        ...

    def passed(self, rotation: Rotation, detail: str) -> None:
        """The step is done."""
        ...


@dataclass(slots=True)
class Walk:
    """One run of a rotation.

    Attributes:
        sides: Cluster and Google.
        ledger: Where the rotation is kept.
        listener: Who is told.
        distribution: For the instructions; None: unknown.
        patience: How long to wait at a gate in this run.
        clock: Tells the time.
        sleep: Waits; tests put their own in its place.
    """

    sides: Sides
    ledger: Ledger
    listener: Listener
    distribution: str | None = None
    patience: timedelta = timedelta(minutes=10)
    clock: Clock = field(default_factory=SystemClock)
    sleep: Callable[[float], None] = time.sleep

    def go(self, rotation: Rotation) -> Rotation:
        """Walk on until the rotation is done.

        Raises:
            PlanError: A gate did not open in time, or the waiting takes longer; `plan.rotation-waits`. Nothing is lost: go on later.
            NeighbourError: A side gave no answer.
        """
        self.ledger.write(rotation)
        steps = {
            Phase.ANNOUNCE: self._announce,
            Phase.PUBLISH: self._publish,
            Phase.SWITCH: self._switch,
            Phase.WAIT: self._wait,
            Phase.RETIRE: self._retire,
            Phase.FORGET: self._forget,
        }
        while rotation.phase is not Phase.DONE:
            self.listener.step(rotation)
            after, detail = steps[rotation.phase](rotation)
            self.ledger.write(after)
            self.listener.passed(rotation, detail)
            rotation = after
        self.ledger.remove()
        return rotation

    def _announce(self, rotation: Rotation) -> tuple[Rotation, str]:
        self.listener.do(instruction(Phase.ANNOUNCE, self.distribution))
        plane = self._until(lambda plane: gates.announced(rotation, plane))
        (kid,) = plane.kids - rotation.old
        return rotation.announced(kid), f"{_servers(plane)} {kid[:12]}… beside the old."

    def _publish(self, rotation: Rotation) -> tuple[Rotation, str]:
        # Again, since a run may go on days later: a server that has lost a key must not have Google lose it, too.
        self._until(lambda plane: gates.served(rotation, plane))
        self._google(rotation.all_kids, lambda kids: gates.known_to_google(rotation, kids))
        return rotation.stepped(), f"Google has {len(rotation.all_kids)} keys."

    def _switch(self, rotation: Rotation) -> tuple[Rotation, str]:
        self.listener.do(instruction(Phase.SWITCH, self.distribution))
        plane = self._until(lambda plane: gates.switched(rotation, plane) or self._refused(plane))
        last = max(server.signed_at for server in plane.servers)
        return rotation.switched(last), f"{_servers(plane, 'sign', 'signs')} with {rotation.stays[:12]}…, and Google takes its tokens."

    def _wait(self, rotation: Rotation) -> tuple[Rotation, str]:
        """Wait by the servers' clocks: it is they who refuse tokens that have ended, and this machine's may be wrong."""
        ends = rotation.wait_ends
        assert ends is not None
        told = False
        while True:
            plane = self._until(gates.answered)
            if again := {server.name for server in plane.servers if server.signer != rotation.stays}:
                return rotation.unswitched(), f"Signed with another key meanwhile: {', '.join(sorted(again))}. The wait begins again."
            left = ends - min(server.signed_at for server in plane.servers)
            if left <= timedelta(0):
                return rotation.stepped(), f"The last token of the leaving key has ended ({_moment(ends)}, computed)."
            if left > self.patience:
                raise _waits(f"the last token that the old key signed ends at {_moment(ends)} (computed from the longest life)")
            if not told:
                self.listener.waiting([f"The last token of the leaving key ends at {_moment(ends)}."])
                told = True
            self.sleep(left.total_seconds())

    def _retire(self, rotation: Rotation) -> tuple[Rotation, str]:
        if rotation.leaves:
            self.listener.do(instruction(Phase.RETIRE, self.distribution))
            plane = self._until(lambda plane: gates.retired(rotation, plane))
            return rotation.stepped(), f"{_servers(plane, 'accept', 'accepts')} {rotation.stays[:12]}… alone."
        return rotation.stepped(), "No key was new."

    def _forget(self, rotation: Rotation) -> tuple[Rotation, str]:
        self._until(lambda plane: gates.retired(rotation, plane))  # again, as in `_publish`
        self._google(rotation.remains, lambda kids: gates.forgotten(rotation, kids))
        return rotation.stepped(), "Google has forgotten the leaving key."

    def _google(self, needed: Collection[str], gate: Callable[[frozenset[str]], list[str]]) -> None:
        """Publish, then see what strangers and the provider say."""
        self._poll(lambda: self.sides.publish(needed))
        self._poll(lambda: gate(self.sides.known_kids()))

    def _until(self, gate: Callable[[ControlPlane], list[str]]) -> ControlPlane:
        seen: list[ControlPlane] = []

        def unmet() -> list[str]:
            reasons = gate(self.sides.control_plane(thoroughly=False))
            if not reasons:
                seen.append(self.sides.control_plane())
                reasons = gate(seen[-1])
            return reasons

        self._poll(unmet)
        return seen[-1]

    def _poll(self, unmet: Callable[[], list[str]]) -> None:
        give_up = self.clock.now() + self.patience
        told: list[str] = []
        while reasons := _reasons(unmet):
            if reasons != told:
                self.listener.waiting(reasons)
                told = reasons
            if self.clock.now() >= give_up:
                raise _waits(" ".join(reasons))
            self.sleep(_POLL_S)

    def _refused(self, plane: ControlPlane) -> list[str]:
        exchanger = self.sides.exchanger()
        for server in plane.servers:
            try:
                exchanger.federated_token(server.token)
            except CredentialError as error:
                return [f"Google refuses a token of {server.name}: {error.why or error.what}"]
        return []


def _reasons(unmet: Callable[[], list[str]]) -> list[str]:
    """Ask; a control plane that restarts gives no answer for a while."""
    try:
        return unmet()
    except (NeighbourError, KeySetError) as error:
        return [error.what]


def _waits(why: str) -> PlanError:
    return PlanError(
        "The rotation is not at its end.",
        f"{why[:1].upper()}{why[1:].rstrip('.')}.",
        "Go on later with `podpass rotate --key --resume`; `--abort` goes back.",
        code="plan.rotation-waits",
    )


def _servers(plane: ControlPlane, plural: str = "serve", singular: str = "serves") -> str:
    if not plane.is_complete:
        return f"The API server, asked {len(plane.servers)} times at its one address, {singular}"
    count = len(plane.servers)
    return f"The API server {singular}" if count == 1 else f"All {count} API servers {plural}"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
