# SPDX-License-Identifier: Apache-2.0
"""One rotation of a signing key: how far it is, which keys stay and which leave. Pure.

The order keeps every token good at the cluster and at Google: a key is known everywhere before the first token is signed with it, and
stays known until the last one has ended. Going back is the same walk with the keys' parts exchanged, which is safe up to the step `retire`.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Self

from podpass.errors import PlanError
from podpass.federate.records import state_text
from podpass.verify.compact import KID_LIMIT_CHARS

_KIND: Final = "Rotation"


class Phase(StrEnum):
    """What is done next; `control plane` marks what a person does there."""

    ANNOUNCE = "announce"  # control plane: every API server accepts and publishes the new key beside the old
    PUBLISH = "publish"  # Google learns the new key beside the old
    SWITCH = "switch"  # control plane: every API server signs with the key that stays
    WAIT = "wait"  # the last token that the leaving key has signed ends
    RETIRE = "retire"  # control plane: no API server accepts the leaving key any more
    FORGET = "forget"  # Google forgets it
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Rotation:
    """A rotation.

    Attributes:
        phase: What is done next.
        old: The ids of the keys that were served at the beginning.
        signer: The one of them that signed.
        new: The id of the new key; empty until it has been seen.
        longest_token: How long a token lives at most; says how long to wait.
        switched_at: When every server was seen to sign with the key that stays.
        is_back: The old keys are to stay after all.
    """

    phase: Phase
    old: frozenset[str]
    signer: str
    longest_token: timedelta
    new: str = ""
    switched_at: datetime | None = None
    is_back: bool = False

    @classmethod
    def begin(cls, served: Collection[str], signer: str, longest_token: timedelta) -> Self:
        """Return a rotation of which nothing is done."""
        return cls(Phase.ANNOUNCE, frozenset(served), signer, longest_token)

    @property
    def stays(self) -> str:
        """The key that signs in the end."""
        return self.signer if self.is_back else self.new

    @property
    def leaves(self) -> frozenset[str]:
        """The keys that nobody accepts in the end."""
        return frozenset({self.new} - {""}) if self.is_back else self.old

    @property
    def remains(self) -> frozenset[str]:
        """The keys that are accepted in the end."""
        return self.all_kids - self.leaves

    @property
    def all_kids(self) -> frozenset[str]:
        """The keys that are accepted on the way."""
        return self.old | frozenset({self.new} - {""})

    @property
    def wait_ends(self) -> datetime | None:
        """When the last token of a leaving key has ended: computed from the longest life, not measured; None before the switch."""
        return self.switched_at + self.longest_token if self.switched_at else None

    def announced(self, kid: str) -> "Rotation":
        """Return it after every server was seen to serve the new key."""
        return replace(self, phase=Phase.PUBLISH, new=kid)

    def switched(self, now: datetime) -> "Rotation":
        """Return it after every server was seen to sign with the key that stays."""
        return replace(self, phase=Phase.WAIT, switched_at=now)

    def unswitched(self) -> "Rotation":
        """Return it after a server was seen to sign with a leaving key again: its tokens are waited for, too."""
        return replace(self, phase=Phase.SWITCH, switched_at=None)

    def waiting(self) -> "Rotation":
        """Return it where it was said to be further than the last token lets it be."""
        return replace(self, phase=Phase.WAIT)

    def stepped(self) -> "Rotation":
        """Return it after a step that nothing has to be remembered of."""
        phases = list(Phase)
        return replace(self, phase=phases[phases.index(self.phase) + 1])

    def turned_back(self) -> "Rotation":
        """Return the way back from here.

        Raises:
            PlanError: It is too late: a leaving key may be gone from some server already; or this is the way back.
        """
        if self.is_back:
            raise PlanError(
                "This rotation goes back already.", next_step="Go on with `podpass rotate --key --resume`.", code="plan.rotation"
            )
        if self.phase in {Phase.RETIRE, Phase.FORGET, Phase.DONE}:
            raise PlanError(
                "Nothing was changed: this rotation cannot go back any more.",
                "From the step `retire` on, servers may refuse the old key already.",
                "End it with `podpass rotate --key --resume`, then begin another one.",
                code="plan.rotation",
            )
        # Once the switch has begun, some server may have signed with the new key.
        has_signed = self.phase in {Phase.SWITCH, Phase.WAIT}
        return replace(self, phase=Phase.SWITCH if has_signed else Phase.RETIRE, is_back=True, switched_at=None)

    def to_text(self) -> str:
        """Write it."""
        return state_text.write(
            _KIND,
            {
                "phase": self.phase.value,
                "old": sorted(self.old),
                "signer": self.signer,
                "new": self.new,
                "longestTokenSeconds": int(self.longest_token.total_seconds()),
                "switchedAt": self.switched_at.isoformat() if self.switched_at else None,
                "isBack": self.is_back,
            },
        )

    @classmethod
    def from_text(cls, text: str, *, origin: str) -> Self:
        """Read what `to_text` wrote.

        Raises:
            ConfigError: It is no rotation, or one of another version.
        """
        return state_text.read(text, _KIND, cls._read, origin=origin)

    @classmethod
    def _read(cls, value: dict[str, Any]) -> Self:
        found = cls(
            phase=Phase(value["phase"]),
            old=frozenset(_kid(each) for each in value["old"]) if isinstance(value["old"], list) else frozenset(),
            signer=_kid(value["signer"]),
            longest_token=timedelta(seconds=int(value["longestTokenSeconds"])),
            new=_kid(value["new"]) if value["new"] else "",
            switched_at=state_text.moment(value["switchedAt"]),
            is_back=value["isBack"] is True,
        )
        if not found._is_sound():
            raise ValueError(value["phase"])
        return found

    def _is_sound(self) -> bool:
        """Tell whether a walk can have got here."""
        has_new = bool(self.new) or self.phase is Phase.ANNOUNCE or (self.is_back and self.phase not in {Phase.SWITCH, Phase.WAIT})
        # Forward nobody comes past the wait without it; back it is left out where the new key has never signed.
        must_wait = {Phase.WAIT} if self.is_back else {Phase.WAIT, Phase.RETIRE, Phase.FORGET, Phase.DONE}
        has_moment = self.wait_ends is not None or self.phase not in must_wait
        are_keys = self.signer in self.old and self.new not in self.old
        return has_new and has_moment and are_keys and timedelta() < self.longest_token <= state_text.LONGEST_TOKEN


def _kid(value: object) -> str:
    """Read a key's id; it is shown on terminals."""
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= KID_LIMIT_CHARS:
        raise TypeError
    return value
