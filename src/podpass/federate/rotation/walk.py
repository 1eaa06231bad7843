# SPDX-License-Identifier: Apache-2.0
"""A walk of `podpass rotate`: steps in their order, gates that are measured until they open, and the wait for a last token.

It goes from step to step: it shows what a person has to do, measures the gate, and remembers how far it came before the next one. Each
step may be stopped and repeated.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import ClassVar, Final, Generic, Protocol, Self, TypeVar

from podpass.clock import Clock, SystemClock
from podpass.errors import CredentialError, KeySetError, NeighbourError, PlanError, UnexpectedAnswerError, UnreachableError
from podpass.exchange.exchanger import Exchanger
from podpass.federate.rotation import gates
from podpass.federate.rotation.instruction import Instruction
from podpass.federate.rotation.servers import ControlPlane, Server

POLL_S: Final = 1.0
# Clocks of servers that are further apart refuse each other's tokens.
_SKEW: Final = timedelta(hours=1)


class State(Protocol):
    """How far a rotation is."""

    @property
    def phase(self) -> StrEnum:
        """What is done next; `done` at the end."""
        ...

    @property
    def longest_token(self) -> timedelta:
        """How long a token lives at most."""
        ...

    def stepped(self) -> Self:
        """Return it after a step that nothing has to be remembered of."""
        ...

    def unswitched(self) -> Self:
        """Return it after a server was seen to sign as before the switch."""
        ...


S = TypeVar("S", bound=State)
S_contra = TypeVar("S_contra", bound=State, contravariant=True)


class Asked(Protocol):
    """The servers that a walk measures."""

    def control_plane(self, *, thoroughly: bool = True) -> ControlPlane:
        """Ask every API server; not `thoroughly`: a first look, which may miss some."""
        ...


class Keeper(Protocol[S_contra]):
    """Where the state is kept, and which servers there are; `ledger` has them."""

    @property
    def servers(self) -> frozenset[str]:
        """The servers that this rotation has met, by the addresses that the cluster lists."""
        ...

    def met(self, servers: Collection[str], /) -> None:
        """Keep further ones."""
        ...

    def write(self, state: S_contra, /) -> None:
        """Write the successor of what was read or written last."""
        ...

    def remove(self) -> None:
        """Delete it: the rotation has ended."""
        ...


class Listener(Protocol[S_contra]):
    """Who is told how the walk goes."""

    def step(self, rotation: S_contra, /) -> None:
        """A step begins."""
        ...

    def do(self, work: Instruction) -> None:
        """A person has to do something now."""
        ...

    def waiting(self, unmet: list[str]) -> None:
        """The gate is closed, for these reasons."""
        ...

    def passed(self, rotation: S_contra, detail: str, /) -> None:
        """The step is done."""
        ...


Step = Callable[[S], tuple[S, str]]
"""Does a step; returns the state after it, and what was seen."""


@dataclass(slots=True)
class Walk(ABC, Generic[S]):
    """One run of a rotation.

    Attributes:
        sides: Cluster and Google.
        ledger: Where the state is kept.
        listener: Who is told.
        distribution: For the instructions; None: unknown.
        patience: How long to wait at a gate in this run.
        clock: Tells the time.
        sleep: Waits; tests put their own in its place.
    """

    option: ClassVar[str]
    """As `podpass rotate` names what is rotated."""
    thing: ClassVar[str]
    """What leaves, in a word."""

    sides: Asked
    ledger: Keeper[S]
    listener: Listener[S]
    distribution: str | None = None
    patience: timedelta = timedelta(minutes=10)
    clock: Clock = field(default_factory=SystemClock)
    sleep: Callable[[float], None] = time.sleep

    @abstractmethod
    def steps(self) -> Mapping[str, Step[S]]:
        """Return what is done in each phase."""

    def go(self, rotation: S) -> S:
        """Walk on until the rotation is done.

        Raises:
            PlanError: A gate did not open in time, or the waiting takes longer; `plan.rotation-waits`. Nothing is lost: go on later.
            NeighbourError: A side gave no answer.
        """
        self._remember(rotation)
        steps = self.steps()
        while rotation.phase in steps:
            self.listener.step(rotation)
            after, detail = steps[rotation.phase](rotation)
            self._remember(after)
            self.listener.passed(rotation, detail)
            rotation = after
        self.ledger.remove()
        return rotation

    def _remember(self, state: S) -> None:
        """Write how far it is; a control plane that restarts is waited for."""
        give_up = self.clock.now() + self.patience
        told = ""
        while True:
            try:
                return self.ledger.write(state)
            except UnreachableError as error:
                if self.clock.now() >= give_up:
                    raise
                if error.what != told:
                    self.listener.waiting([error.what])
                    told = error.what
            self.sleep(POLL_S)

    def until(self, gate: Callable[[ControlPlane], list[str]]) -> ControlPlane:
        """Measure until the gate is open for every server, and return them as they were then."""
        seen: list[ControlPlane] = []

        def unmet() -> list[str]:
            reasons = self._unmet(gate, self.sides.control_plane(thoroughly=False))
            if not reasons:
                seen.append(self.sides.control_plane())
                reasons = self._unmet(gate, seen[-1])
            return reasons

        self.poll(unmet)
        return seen[-1]

    def _unmet(self, gate: Callable[[ControlPlane], list[str]], plane: ControlPlane) -> list[str]:
        """Ask a gate, which stays closed while a server that was met before is not there to be asked."""
        self.ledger.met(plane.listed)
        return [*gates.listed(self.ledger.servers, plane), *gate(plane)]

    def poll(self, unmet: Callable[[], list[str]]) -> None:
        """Ask again and again until nothing is unmet, as long as the patience lasts."""
        give_up = self.clock.now() + self.patience
        told: list[str] = []
        while reasons := _reasons(unmet):
            if reasons != told:
                self.listener.waiting(reasons)
                told = reasons
            if self.clock.now() >= give_up:
                raise self.waits(" ".join(reasons))
            self.sleep(POLL_S)

    def outlive(self, rotation: S, ends: datetime, *, has_switched: Callable[[Server], bool]) -> tuple[S, str]:
        """Wait for the end of the last token by the servers' clocks: it is they who refuse it then, and this machine's may be wrong.

        Where the state says that the switch is yet to come, nobody has seen it: it is measured again.
        """
        told = False
        while True:
            plane = self.until(gates.answered)
            if again := {server.name for server in plane.servers if not has_switched(server)}:
                names = ", ".join(sorted(again))
                return rotation.unswitched(), f"Signed with another {self.thing} meanwhile: {names}. The wait begins again."
            left = ends - min(server.signed_at for server in plane.servers)
            if left > rotation.longest_token + _SKEW:
                return rotation.unswitched(), "The switch cannot have been seen when its state says: it is measured again."
            if left <= timedelta(0):
                return rotation.stepped(), f"The last token of the leaving {self.thing} has ended ({moment(ends)}, computed)."
            if left > self.patience:
                raise self.waits(f"the last token of the leaving {self.thing} ends at {moment(ends)} (computed from the longest life)")
            if not told:
                self.listener.waiting([f"The last token of the leaving {self.thing} ends at {moment(ends)}."])
                told = True
            self.sleep(left.total_seconds())

    def waits(self, why: str) -> PlanError:
        """Return the error of a run that ends before the rotation does."""
        return PlanError(
            "The rotation is not at its end.",
            f"{sentence(why).rstrip('.')}.",
            f"Go on later with `podpass rotate {self.option} --resume`; `--abort` goes back.",
            code="plan.rotation-waits",
        )


def refused(exchanger: Exchanger, servers: tuple[Server, ...]) -> list[str]:
    """Have Google take a token of each server; return its first refusal."""
    for server in servers:
        try:
            exchanger.federated_token(server.token)
        except CredentialError as error:
            return [f"Google refuses a token of {server.name}: {error.why or error.what}"]
    return []


def _reasons(unmet: Callable[[], list[str]]) -> list[str]:
    """Ask; a control plane that restarts gives no answer for a while. One that answers nonsense goes on until somebody does something."""
    try:
        return unmet()
    except UnexpectedAnswerError as error:
        return [" ".join(filter(None, (error.what, error.next_step)))]
    except (NeighbourError, KeySetError) as error:
        return [error.what]


def who(plane: ControlPlane, plural: str = "serve", singular: str = "serves") -> str:
    """Begin a sentence about the servers: `All 3 API servers serve`."""
    if not plane.is_complete:
        return f"The API server, asked {len(plane.servers)} times at its one address, {singular}"
    count = len(plane.servers)
    return f"The API server {singular}" if count == 1 else f"All {count} API servers {plural}"


def sentence(words: str) -> str:
    """Begin with a capital; an address stays as it is."""
    return words if words.startswith(("https://", "http://")) else f"{words[:1].upper()}{words[1:]}"


def moment(at: datetime) -> str:
    """Write a moment for people."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
