# SPDX-License-Identifier: Apache-2.0
"""A thing that podpass keeps: its address, where it lives, what it holds.

Everything in it is JSON, so a plan can be written to a file and read back unchanged.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from podpass.federate.model.marks import Mark

JSON: TypeAlias = Any
"""A JSON value. `Any`, because mypy's recursive aliases buy nothing where values are only compared, kept and sent."""


def nothing() -> Mapping[str, JSON]:
    """Return no fields, unchangeable."""
    return MappingProxyType({})


class Kind(StrEnum):
    """What an address begins with. The order is that of making; taking away goes the other way round."""

    API = "api"
    BUCKET = "bucket"
    OBJECT = "object"
    POOL = "pool"
    PROVIDER = "provider"
    ACCOUNT = "account"
    BINDING = "binding"
    GRANT = "grant"
    CONFIG_MAP = "configmap"

    @property
    def is_policy_item(self) -> bool:
        """Whether it is one member in one binding of an IAM policy, which has no place for a mark."""
        return self in {Kind.BINDING, Kind.GRANT}

    @property
    def is_soft_deleted(self) -> bool:
        """Whether Google keeps it for 30 days after its deletion, and its id with it."""
        return self in {Kind.POOL, Kind.PROVIDER}


@dataclass(frozen=True, slots=True)
class Resource:
    """One thing that the federation file asks for.

    Attributes:
        address: `kind/name`, unique in a federation; what people type.
        identity: Where it lives; enough to read it and to take it away without the file.
        body: What is kept in line: field to value. For pools and providers the fields are Google's update masks.
        at_birth: Further fields that are only said when it is made.
        needs: Addresses that must be in place before it.
        origin: Path of the entry of the file whose selector asks for it; empty: the file asks for it by name.
    """

    address: str
    identity: Mapping[str, JSON]
    body: Mapping[str, JSON] = field(default_factory=nothing)
    at_birth: Mapping[str, JSON] = field(default_factory=nothing)
    needs: tuple[str, ...] = ()
    origin: str = ""

    @property
    def kind(self) -> Kind:
        """The part of the address before the first slash."""
        return kind_of(self.address)

    def as_json(self) -> dict[str, JSON]:
        """Return it as plan files hold it."""
        return {
            "address": self.address,
            "identity": dict(self.identity),
            "body": dict(self.body),
            "atBirth": dict(self.at_birth),
            "needs": list(self.needs),
            "origin": self.origin,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, JSON]) -> "Resource":
        """Read what `as_json` wrote; KeyError, TypeError or ValueError for anything else."""
        kind_of(value["address"])
        needs, origin = tuple(value["needs"]), str(value.get("origin", ""))
        return cls(value["address"], dict(value["identity"]), dict(value["body"]), dict(value["atBirth"]), needs, origin)


def kind_of(address: str) -> Kind:
    """Return the kind that an address begins with; ValueError if there is none such."""
    return Kind(address.partition("/")[0])


def is_address(text: str) -> bool:
    """Tell whether a text is an address, or a pattern of one."""
    kind, slash, name = text.partition("/")
    return bool(slash and name) and kind in set(Kind)


@dataclass(frozen=True, slots=True)
class Observed:
    """One resource as it is now.

    Attributes:
        status: `deleted` is Google's soft deletion: gone, but its id is taken.
        body: The same fields as in `Resource.body`, as far as they are there.
        mark: Who signed it; None: nobody, or its kind has no place for a mark.
        uid: What tells it from a later thing of the same name, where its kind has such.
    """

    status: Literal["absent", "present", "deleted"]
    body: Mapping[str, JSON] = field(default_factory=nothing)
    mark: Mark | None = None
    uid: str | None = None


ABSENT = Observed("absent")
