# SPDX-License-Identifier: Apache-2.0
"""What podpass made for a federation, entry by entry; kept in the cluster, in the namespace podpass-system.

An entry is written before the act (`creating`, `undeleting`) and confirmed after it (`made`), so no crash can leave a thing that
nobody knows to be podpass's. What was there before and was adopted says so (`adopted`) and is never taken away.

A receipt holds no time, no counter and no name of a run: the same federation in the same state has the same receipt, whatever
happened on the way. Two runs at once are told apart by the config map's resourceVersion (`own_config_map` writes it).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from podpass.errors import ConfigError
from podpass.federate.model.resource import JSON, kind_of
from podpass.federate.records import identities
from podpass.names.project import check_project_id

NAMESPACE: Final = "podpass-system"
KEY: Final = "receipt.json"
_VERSION: Final = "podpass.dev/v1alpha1"
_KIND: Final = "Receipt"


class State(StrEnum):
    """How far podpass is with a thing."""

    CREATING = "creating"
    UNDELETING = "undeleting"
    MADE = "made"
    ADOPTED = "adopted"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing.

    Attributes:
        state: See `State`.
        identity: The resource's, so that it can be taken away without the federation file.
        uid: What tells it from a later thing of the same name; None until it is known, and for kinds that have none.
        former: For a member of a policy that is being replaced: what it was, until its removal is confirmed.
        selected: A selector asked for it, not a name in the file: it goes when the selector does not find its account any more.
    """

    state: State
    identity: Mapping[str, JSON]
    uid: str | None = None
    former: tuple[Mapping[str, JSON], ...] = ()
    selected: bool = False

    @property
    def is_open(self) -> bool:
        """Whether the act was announced and not confirmed."""
        return self.state in {State.CREATING, State.UNDELETING}

    def as_json(self) -> dict[str, JSON]:
        """Return it as the receipt holds it."""
        uid = {} if self.uid is None else {"uid": self.uid}
        former = {"former": [dict(one) for one in self.former]} if self.former else {}
        selected = {"selected": True} if self.selected else {}
        return {"state": self.state.value, "identity": dict(self.identity), **uid, **former, **selected}


@dataclass(frozen=True, slots=True)
class Receipt:
    """All that podpass made for one federation of one cluster."""

    federation: str
    cluster: str
    project: str
    entries: Mapping[str, Entry] = field(default_factory=lambda: MappingProxyType({}))

    def with_entries(self, entries: Mapping[str, Entry]) -> "Receipt":
        """Return the same receipt with these entries instead."""
        return replace(self, entries=MappingProxyType(dict(sorted(entries.items()))))

    @property
    def open_addresses(self) -> frozenset[str]:
        """Addresses whose act was announced and not confirmed."""
        return frozenset(address for address, entry in self.entries.items() if entry.is_open)

    def to_text(self) -> str:
        """Write it: the same receipt, the same bytes."""
        value = {
            "apiVersion": _VERSION,
            "kind": _KIND,
            "federation": self.federation,
            "cluster": self.cluster,
            "project": self.project,
            "entries": {address: entry.as_json() for address, entry in sorted(self.entries.items())},
        }
        return json.dumps(value, indent=1)

    @classmethod
    def from_text(cls, text: str, *, origin: str) -> "Receipt":
        """Read what `to_text` wrote, also inside the config map's manifest as JSON.

        Args:
            text: The receipt.
            origin: Where it comes from, for the error.

        Raises:
            ConfigError: It is no receipt, or one of another version.
        """
        try:
            value = json.loads(text)
            if value["kind"] == "ConfigMap":
                value = json.loads(value["data"][KEY])
            if (value["apiVersion"], value["kind"]) != (_VERSION, _KIND):
                raise ValueError(value["apiVersion"])  # noqa: TRY301 - one place says what is wrong
            entries = {address: _entry(address, one) for address, one in value["entries"].items()}
            project = check_project_id(str(value["project"]))
            return cls(str(value["federation"]), str(value["cluster"]), project).with_entries(entries)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ConfigError) as error:
            raise ConfigError(
                f"{origin} is not a receipt that this podpass can read.",
                f"A receipt is JSON with apiVersion {_VERSION} and kind {_KIND}.",
                "Use the podpass that wrote it, or restore it from a backup: without it podpass does not know what is its own.",
                code="config.receipt",
            ) from error


def _entry(address: str, value: Mapping[str, JSON]) -> Entry:
    former = tuple(dict(one) for one in value.get("former", ()))
    for identity in (value["identity"], *former):
        identities.check(address, identity)
    state = State(value["state"])
    if state is State.UNDELETING and not kind_of(address).is_soft_deleted:
        raise ValueError(state)
    uid = value.get("uid")
    return Entry(state, dict(value["identity"]), None if uid is None else str(uid), former, value.get("selected") is True)


def config_map_name(federation: str) -> str:
    """Return the name of the config map that holds a federation's receipt."""
    return f"federation-{federation}"
