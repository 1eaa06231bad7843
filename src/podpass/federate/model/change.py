# SPDX-License-Identifier: Apache-2.0
"""One change of a plan: an address, an action, and the fields that differ."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from podpass.federate.model.resource import JSON, Kind, kind_of, nothing

OWN_MARK: Final = "it carries this federation's mark, but the receipt does not know it"
"""What is said of the owner of a thing whose entry in the receipt was lost."""
LOST_MARK: Final = "the receipt says that podpass made it, but it does not bear the mark"
"""What is said of the owner of a thing whose mark was removed, or of which a receipt says too much."""
OF_MANY: Final = "it holds providers that are not this cluster's: "
"""Begins what is said of the owner of a pool that others use, too."""
UNWITNESSED: Final = "only the receipt says that podpass made it"
"""What is said of the owner of a member of a policy for which nobody speaks but the receipt."""


class Action(StrEnum):
    """What happens to a resource."""

    CREATE = "create"
    UPDATE = "update"
    UNDELETE = "undelete"
    ADOPT = "adopt"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field, as it is and as it will be."""

    name: str
    before: JSON
    after: JSON


@dataclass(frozen=True, slots=True)
class Change:
    """One change.

    Attributes:
        address: The resource's.
        action: See `Action`.
        identity: The resource's.
        before: What is there now; for a policy item that moves: the old identity.
        after: What will be there.
        fields: Where the two differ. An undeleted thing comes back as it was, then these are corrected.
        known: Whether the receipt knows the thing.
        owner: For `adopt`: whose it seems to be, as half a sentence; empty: nobody signed it. For `delete`: `UNWITNESSED`, or empty.
            For `create`: which other federation has given the same, so that it is there. For `undelete`: who comes back with a pool.
        origin: Path of the entry of the file whose selector asks for it; empty: the file asks for it by name.
        lapsed: For `delete`: a selector had found its account and does not find it any more; the file says the same as before.
    """

    address: str
    action: Action
    identity: Mapping[str, JSON]
    before: Mapping[str, JSON] = field(default_factory=nothing)
    after: Mapping[str, JSON] = field(default_factory=nothing)
    fields: tuple[FieldChange, ...] = ()
    known: bool = False
    owner: str = ""
    origin: str = ""
    lapsed: bool = False

    @property
    def is_anothers(self) -> bool:
        """Whether there is evidence that another cluster or federation rests on what is to be adopted or undeleted."""
        return self.action in {Action.ADOPT, Action.UNDELETE} and self.owner not in {"", OWN_MARK, LOST_MARK}

    @property
    def is_unwitnessed(self) -> bool:
        """Whether only the receipt says that what is to be deleted is podpass's."""
        return self.action is Action.DELETE and self.owner == UNWITNESSED

    @property
    def kind(self) -> Kind:
        """The part of the address before the first slash."""
        return kind_of(self.address)

    def as_json(self) -> dict[str, JSON]:
        """Return it as plan files hold it."""
        return {
            "address": self.address,
            "action": self.action.value,
            "identity": dict(self.identity),
            "before": dict(self.before),
            "after": dict(self.after),
            "fields": [{"name": field.name, "before": field.before, "after": field.after} for field in self.fields],
            "known": self.known,
            "owner": self.owner,
            "origin": self.origin,
            "lapsed": self.lapsed,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, JSON]) -> "Change":
        """Read what `as_json` wrote; KeyError, TypeError or ValueError for anything else."""
        kind_of(value["address"])
        fields = tuple(FieldChange(one["name"], one["before"], one["after"]) for one in value["fields"])
        action, known, owner = Action(value["action"]), bool(value["known"]), str(value["owner"])
        identity, before, after = (dict(value[name]) for name in ("identity", "before", "after"))
        origin, lapsed = str(value.get("origin", "")), bool(value.get("lapsed", False))
        return cls(value["address"], action, identity, before, after, fields, known, owner, origin, lapsed)
