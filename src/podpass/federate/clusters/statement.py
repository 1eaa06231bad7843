# SPDX-License-Identifier: Apache-2.0
"""What a file says about service accounts, whatever distribution it is written for. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from podpass.federate.clusters.flags import ServiceAccountFlags

Node = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ProjectedToken:
    """A token that a pod asks for.

    Attributes:
        pod: What asks: `Job wif-demo`.
        audience: For whom; empty: the API server.
        life: For how long.
    """

    pod: str
    audience: str
    life: timedelta


@dataclass(frozen=True, slots=True)
class Statement:
    """What one document of a file says.

    Attributes:
        where: Which file and document, for people.
        form: What it is: `Talos JSON patch`.
        settings: Flags of kube-apiserver that it gives, by name and value, in order; each replaces what was there before.
        kept: Flags whose former values stay beside the new ones (`+=` and `-=` of k3s).
        is_change: It is laid over a configuration that is there, so what it gives takes another's place.
        private_key: The PEM of the signing key that it gives; held for its public half only.
        accepted_keys: Whether it gives other keys that verify, too.
        replaced: What it replaces as a whole, though it means a part: paths of JSON patches.
        is_json_patch: It is a patch of RFC 6902.
        refused: Flags that the distribution does not let anybody set.
        options: Options of commands that are no more.
        tokens: Tokens that its pods ask for.
        required_audiences: What the distribution's own parts need among the API audiences.
    """

    where: str
    form: str
    settings: tuple[tuple[str, str], ...] = ()
    kept: frozenset[str] = frozenset()
    is_change: bool = False
    private_key: str = field(default="", repr=False)
    accepted_keys: bool = False
    replaced: tuple[str, ...] = ()
    is_json_patch: bool = False
    refused: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    tokens: tuple[ProjectedToken, ...] = ()
    required_audiences: tuple[str, ...] = ()

    @property
    def flags(self) -> ServiceAccountFlags:
        """The flags about service accounts."""
        return ServiceAccountFlags.of(self.settings)

    def gives(self, name: str) -> bool:
        """Whether it says anything about this flag."""
        return any(one == name for one, _ in self.settings)


def mapping(value: object, *path: str) -> Node:
    """Return the mapping below a value; empty where there is none."""
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def items(value: object) -> list[Any]:
    """Return a list; empty where it is none."""
    return value if isinstance(value, list) else []


def text(value: object) -> str:
    """Return a value as a flag's text: YAML's true is `true`."""
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)


def from_map(arguments: object) -> tuple[tuple[str, str], ...]:
    """Read flags given as a map of texts, or of lists of texts."""
    return tuple((str(name), text(one)) for name, value in mapping(arguments).items() for one in (items(value) or [value]))


def from_pairs(arguments: Iterable[object]) -> tuple[tuple[str, str], ...]:
    """Read flags given as a list of `{name, value}`."""
    return tuple((text(one["name"]), text(one.get("value"))) for one in arguments if isinstance(one, Mapping) and "name" in one)
