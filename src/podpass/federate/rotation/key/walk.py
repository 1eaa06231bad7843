# SPDX-License-Identifier: Apache-2.0
"""Goes from step to step of a key's rotation. What Google is told is what the cluster serves, as `podpass keys sync` does it."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

from podpass.exchange.exchanger import Exchanger
from podpass.federate.rotation.gates import answered
from podpass.federate.rotation.key import gates
from podpass.federate.rotation.key.instructions import instruction
from podpass.federate.rotation.key.rotation import Phase, Rotation
from podpass.federate.rotation.walk import Asked, Step, Walk, refused, who

_TOO_EARLY: Final = "The last token of the leaving key has not ended yet: nothing is taken away."


class Sides(Asked, Protocol):
    """What a walk asks of cluster and Google."""

    def publish(self, needed: Collection[str]) -> list[str]:
        """Let Google have the keys that the cluster serves now, and no others; nothing, with the reasons, where a needed one is missing."""
        ...

    def known_kids(self) -> frozenset[str]:
        """Return the ids of the keys that Google has."""
        ...

    def exchanger(self) -> Exchanger:
        """Return what trades a subject token at Google."""
        ...


@dataclass(slots=True)
class KeyWalk(Walk[Rotation]):
    """One run of a key's rotation."""

    option: ClassVar[str] = "--key"
    thing: ClassVar[str] = "key"

    sides: Sides

    def steps(self) -> Mapping[str, Step[Rotation]]:
        """Return what is done in each phase."""
        return {
            Phase.ANNOUNCE: self._announce,
            Phase.PUBLISH: self._publish,
            Phase.SWITCH: self._switch,
            Phase.WAIT: self._wait,
            Phase.RETIRE: self._retire,
            Phase.FORGET: self._forget,
        }

    def _announce(self, rotation: Rotation) -> tuple[Rotation, str]:
        self.listener.do(instruction(Phase.ANNOUNCE, self.distribution))
        plane = self.until(lambda plane: gates.announced(rotation, plane))
        (kid,) = plane.kids - rotation.old
        return rotation.announced(kid), f"{who(plane)} {kid[:12]}… beside the old."

    def _publish(self, rotation: Rotation) -> tuple[Rotation, str]:
        # Again, since a run may go on days later: a server that has lost a key must not have Google lose it, too.
        self.until(lambda plane: gates.served(rotation, plane))
        self._google(rotation.all_kids, lambda kids: gates.known_to_google(rotation, kids))
        return rotation.stepped(), f"Google has {len(rotation.all_kids)} keys."

    def _switch(self, rotation: Rotation) -> tuple[Rotation, str]:
        self.listener.do(instruction(Phase.SWITCH, self.distribution))
        plane = self.until(lambda plane: gates.switched(rotation, plane) or refused(self.sides.exchanger(), plane.servers))
        last = max(server.signed_at for server in plane.servers)
        return rotation.switched(last), f"{who(plane, 'sign', 'signs')} with {rotation.stays[:12]}…, and Google takes its tokens."

    def _wait(self, rotation: Rotation) -> tuple[Rotation, str]:
        assert rotation.wait_ends is not None
        return self.outlive(rotation, rotation.wait_ends, has_switched=lambda server: server.signer == rotation.stays)

    def _retire(self, rotation: Rotation) -> tuple[Rotation, str]:
        plane = self.until(answered)
        if gates.unswitched(rotation, plane):
            return rotation.unswitched(), "A leaving key still signs: nothing is taken away."
        if gates.outlived(rotation, plane):
            return rotation.waiting(), _TOO_EARLY
        # On the way back a key may be there that was brought in and never seen.
        if rotation.leaves or plane.kids - rotation.remains:
            self.listener.do(instruction(Phase.RETIRE, self.distribution))
            plane = self.until(lambda plane: gates.retired(rotation, plane))
            return rotation.stepped(), f"{who(plane, 'accept', 'accepts')} {rotation.stays[:12]}… alone."
        return rotation.stepped(), "No key was new."

    def _forget(self, rotation: Rotation) -> tuple[Rotation, str]:
        plane = self.until(lambda plane: gates.retired(rotation, plane))  # again, as in `_publish`
        if gates.outlived(rotation, plane):
            return rotation.waiting(), _TOO_EARLY
        self._google(rotation.remains, lambda kids: gates.forgotten(rotation, kids))
        return rotation.stepped(), "Google has forgotten the leaving key."

    def _google(self, needed: Collection[str], gate: Callable[[frozenset[str]], list[str]]) -> None:
        """Publish, then see what strangers and the provider say."""
        self.poll(lambda: self.sides.publish(needed))
        self.poll(lambda: gate(self.sides.known_kids()))
