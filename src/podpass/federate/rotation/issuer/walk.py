# SPDX-License-Identifier: Apache-2.0
"""Goes from step to step of a move to another issuer. What Google and the config maps are told follows from the state that was written."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ClassVar, Final, Protocol

from podpass.config.federation import Workload
from podpass.exchange.exchanger import Exchanger
from podpass.federate.model.resource import Kind
from podpass.federate.records.issuer_move import IssuerMove, MovePhase, Standing
from podpass.federate.rotation.gates import answered
from podpass.federate.rotation.issuer import gates, instructions
from podpass.federate.rotation.servers import ControlPlane, Server
from podpass.federate.rotation.walk import Asked, Step, Walk, moment, refused, who

# Kubernetes (ConfigMap, mounted ConfigMaps are updated automatically): kubelet's sync period, a minute and up to half as long again, and
# the life of what it has in its cache, a minute where it does not watch.
BROUGHT: Final = timedelta(seconds=150)
"""After how long every kubelet has brought what a config map says."""
_TOO_EARLY: Final = "The last token of the leaving issuer has not ended yet: nothing is taken away."
# A token that is kept to see that its issuer is still taken; it lives an hour.
_KEPT: Final = timedelta(minutes=50)


class Sides(Asked, Protocol):
    """What a walk asks of cluster and Google."""

    def act(self, move: IssuerMove) -> tuple[str, ...]:
        """Bring about what the step at hand asks for, as its state is written down; return the addresses of what was changed."""
        ...

    def known_kids(self, move: IssuerMove, standing: Standing) -> frozenset[str]:
        """Return the ids of the keys that Google has of an issuer."""
        ...

    def exchanger(self, standing: Standing) -> Exchanger:
        """Return what trades a subject token at a provider."""
        ...

    def asking(self, standing: Standing) -> list[str] | None:
        """Return the pods that ask for tokens for a provider whose audience the file does not keep; None where nobody may look."""
        ...

    def older(self, moment: datetime) -> list[str] | None:
        """Return the pods that were there before a moment; None where nobody may look."""
        ...


@dataclass(slots=True)
class MoveWalk(Walk[IssuerMove]):
    """One run of a move.

    Attributes:
        workloads: Whom the move concerns, for what is said about their pods.
        brought: After how long every kubelet has brought what a config map says.
    """

    option: ClassVar[str] = "--issuer"
    thing: ClassVar[str] = "issuer"

    sides: Sides
    workloads: tuple[Workload, ...] = ()
    brought: timedelta = field(default_factory=lambda: BROUGHT)
    _kept: tuple[Server, ...] = field(default=(), init=False)

    def steps(self) -> Mapping[str, Step[IssuerMove]]:
        """Return what is done in each phase."""
        return {
            MovePhase.PUBLISH: self._publish,
            MovePhase.TELL: self._tell,
            MovePhase.ACCEPT: self._accept,
            MovePhase.SWITCH: self._switch,
            MovePhase.CONFIGURE: self._configure,
            MovePhase.WAIT: self._wait,
            MovePhase.DROP: self._drop,
            MovePhase.FORGET: self._forget,
        }

    def _publish(self, move: IssuerMove) -> tuple[IssuerMove, str]:
        if move.coming.keys == "discovery":
            self.listener.do(instructions.documents(move))
        self._act(move)
        plane = self.until(answered)
        for standing in (move.former, move.coming):
            self.poll(lambda one=standing: gates.known_to_google(plane.kids, self.sides.known_kids(move, one), one.provider))  # type: ignore[misc]
        detail = f"Google has {move.coming.provider} beside {move.former.provider}, with the cluster's keys for each."
        return move.published(), detail

    def _tell(self, move: IssuerMove) -> tuple[IssuerMove, str]:
        self._act(move)
        now = max(server.signed_at for server in self.until(answered).servers)
        return move.told(
            now
        ), f"The config maps list both providers; kubelets have brought that by {moment(now + self.brought)} (computed)."

    def _accept(self, move: IssuerMove) -> tuple[IssuerMove, str]:
        self.listener.do(instructions.control_plane(move, self.distribution))
        plane = self.until(lambda plane: gates.accepted(move, plane))
        return move.stepped(), f"{who(plane, 'take', 'takes')} tokens of both issuers."

    def _switch(self, move: IssuerMove) -> tuple[IssuerMove, str]:
        if move.told_at is not None:
            by = move.told_at + self.brought
            self.until(lambda plane: gates.brought(by, plane))
        before = self.until(answered)
        self._keep(move, before)
        # Once a server signs with the coming issuer, a pod that starts may have its token, and the configuration of the former one.
        if not move.is_back and all(server.issuer == move.leaves.issuer for server in before.servers):
            self.listener.do(instructions.before_switch(self.workloads))
        self.listener.do(instructions.control_plane(move, self.distribution))
        plane = self.until(lambda plane: self._unswitched(move, plane))
        last = max(server.signed_at for server in plane.servers)
        old = f", and those of {move.leaves.provider} still" if self._kept else ""
        detail = f"{who(plane, 'sign', 'signs')} with {move.stays.issuer}; Google takes their tokens at {move.stays.provider}{old}."
        return move.switched(last), detail

    def _unswitched(self, move: IssuerMove, plane: ControlPlane) -> list[str]:
        """Say what lacks: at a server, or at Google for a token of either issuer."""
        self._keep(move, plane)
        return (
            gates.switched(move, plane)
            or refused(self.sides.exchanger(move.stays), plane.servers)
            or refused(self.sides.exchanger(move.leaves), self._kept)
        )

    def _keep(self, move: IssuerMove, plane: ControlPlane) -> None:
        """Keep the last token of the leaving issuer from each server: running pods have such tokens."""
        now = max((server.signed_at for server in plane.servers), default=None)
        fresh = {server.name: server for server in plane.servers if server.issuer == move.leaves.issuer}
        kept = {server.name: server for server in self._kept if now and now - server.signed_at < _KEPT}
        self._kept = tuple({**kept, **fresh}.values())

    def _configure(self, move: IssuerMove) -> tuple[IssuerMove, str]:
        self._act(move)
        now = max(server.signed_at for server in self.until(answered).servers)
        self.listener.do(instructions.after_switch(move, self.sides.older(now)))
        return move.stepped(), f"The credential configurations name {move.stays.provider}."

    def _wait(self, move: IssuerMove) -> tuple[IssuerMove, str]:
        assert move.wait_ends is not None
        return self.outlive(move, move.wait_ends, has_switched=lambda server: server.issuer == move.stays.issuer)

    def _drop(self, move: IssuerMove) -> tuple[IssuerMove, str]:
        plane = self.until(answered)
        if gates.unswitched(move, plane):
            return move.unswitched(), "The leaving issuer still signs: nothing is taken away."
        if gates.outlived(move, plane):
            return move.waiting(), _TOO_EARLY
        if gates.dropped(move, plane):
            self.listener.do(instructions.control_plane(move, self.distribution))
        plane = self.until(lambda plane: gates.dropped(move, plane))
        return move.stepped(), f"{who(plane, 'take', 'takes')} tokens of {move.stays.issuer} alone."

    def _forget(self, move: IssuerMove) -> tuple[IssuerMove, str]:
        plane = self.until(lambda plane: gates.dropped(move, plane))  # again, since a run may go on days later
        if gates.outlived(move, plane):
            return move.waiting(), _TOO_EARLY
        self.poll(lambda: gates.unasked(move, self.sides.asking(move.leaves)))
        provider = move.leaves.provider
        is_deleted = f"{Kind.PROVIDER}/{provider}" in self._act(move)
        detail = (
            f"Provider {provider} is deleted; Google can bring it back for 30 days." if is_deleted else f"There is no provider {provider}."
        )
        return move.stepped(), detail

    def _act(self, move: IssuerMove) -> set[str]:
        """Act; a side that does not answer is asked again. Return the addresses of what was changed."""
        changed: set[str] = set()

        def act() -> list[str]:
            changed.update(self.sides.act(move))
            return []

        self.poll(act)
        return changed
