# SPDX-License-Identifier: Apache-2.0
"""Where a rotation's state lives: a config map in podpass-system, replaced by compare-and-swap, gone when the rotation has ended.

It has one place, whatever is rotated, so there is one rotation at a time. Beside it stand the API servers that the rotation has met, so
that one that goes down later is missed.

Whoever may write config maps here can write any state. No moment in it counts that lies before the config map itself was made: the API
server says when that was, and lets nobody change it.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final, Generic, Protocol, TypeVar

from podpass.errors import ConfigError, PlanError, UnexpectedAnswerError
from podpass.federate.records import under_way
from podpass.federate.records.own_config_map import OwnConfigMap
from podpass.federate.records.own_namespace import remove_if_empty
from podpass.federate.rotation.servers import AT_MOST
from podpass.kube.client import KubeClient
from podpass.kube.fault import FaultKind, KubeRefusedError

_SERVERS: Final = "servers.json"
_NAME_LIMIT_CHARS: Final = 300
_WRITTEN_MEANWHILE: Final = frozenset({FaultKind.CONFLICT, FaultKind.ALREADY_EXISTS})


class _Text(Protocol):
    def to_text(self) -> str:
        """Write it."""
        ...


S = TypeVar("S", bound=_Text)


class Ledger(ABC, Generic[S]):
    """The rotation of one federation's cluster."""

    def __init__(self, client: KubeClient, federation: str) -> None:
        self._client = client
        self._kept = OwnConfigMap(client, under_way.name_of(federation))
        self._servers: frozenset[str] = frozenset()

    @property
    def servers(self) -> frozenset[str]:
        """The API servers that the rotation has met, by the addresses that the cluster lists."""
        return self._servers

    @abstractmethod
    def _read(self, text: str, origin: str, made_at: datetime) -> S:
        """Read the state; no moment in it counts that lies before `made_at`."""

    def read(self) -> S | None:
        """Return the rotation that is under way; None: there is none.

        Raises:
            PlanError: There is one of another kind.
            ConfigError: What is there cannot be read.
        """
        found = self._kept.read()
        if found is None:
            return None
        origin, made_at = f"The {self._kept}", found.created_at
        if made_at is None:
            raise UnexpectedAnswerError(f"{origin} has no creationTimestamp.")
        self._servers = _servers(found.data.get(_SERVERS, "[]"), origin)
        return self._read(found.data.get(under_way.KEY, ""), origin, made_at)

    def write(self, state: S) -> None:
        """Write the successor of what was read or written last."""
        self._write({under_way.KEY: state.to_text(), _SERVERS: _text(self._servers)})

    def met(self, servers: Collection[str]) -> None:
        """Keep API servers that the rotation has met.

        Raises:
            UnexpectedAnswerError: There are more than can be; kept, they could not be read any more.
        """
        after = self._servers | frozenset(servers)
        if len(after) > AT_MOST:
            raise UnexpectedAnswerError(
                f"The cluster lists {len(servers)} API servers, {len(after)} with those that this rotation has met.",
                f"Nobody has more than {AT_MOST}.",
                "Look who writes the EndpointSlice kubernetes in the namespace default, then resume; --removed-server gives one up.",
            )
        if after != self._servers and self._kept.known is not None:
            self._write({**self._kept.known.data, _SERVERS: _text(after)})
        self._servers = after

    def lost(self, servers: Collection[str]) -> None:
        """Forget API servers that were removed for good; kept with the next `write`.

        Raises:
            ConfigError: The rotation does not know one.
        """
        if unknown := sorted(set(servers) - self._servers):
            raise ConfigError(
                f"This rotation has met no API server {unknown[0]}.",
                f"It has met {', '.join(sorted(self._servers)) or 'none that the cluster lists'}.",
                "Name one of those, with --removed-server.",
                code="config.rotation-server",
            )
        self._servers -= frozenset(servers)

    def _write(self, data: Mapping[str, str]) -> None:
        """Write; may be repeated where the answer was lost."""
        try:
            self._kept.write(data)
        except KubeRefusedError as error:
            there = self._kept.look() if error.kind in _WRITTEN_MEANWHILE else None
            if there is None or dict(there.data) != dict(data):
                raise
            self._kept.known = there

    def remove(self) -> None:
        """Delete it, and the namespace where podpass made it and nothing else is in it."""
        self._kept.remove()
        remove_if_empty(self._client)


def since(made_at: datetime, moment: datetime | None) -> datetime | None:
    """Return a moment of a state, or the one at which the state was first kept where that is later."""
    return max(made_at, moment) if moment else None


def _text(servers: Collection[str]) -> str:
    return json.dumps(sorted(servers))


def _servers(text: str, origin: str) -> frozenset[str]:
    """Read the servers; their names are shown on terminals."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, list) or len(value) > AT_MOST or not all(_is_name(each) for each in value):
        raise ConfigError(
            f"{origin} does not say which API servers the rotation has met.",
            f"Its {_SERVERS} is no list of addresses.",
            "Find out who has changed it, and write back what was there; until then nothing is taken from it.",
            code="config.rotation",
        )
    return frozenset(value)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value.startswith("https://") and value.isprintable() and len(value) <= _NAME_LIMIT_CHARS


def other(what: str, option: str) -> PlanError:
    """Return the error of one who asks for a rotation while one of another kind is under way."""
    return PlanError(
        f"Nothing was changed: {what} is under way.",
        "There is one rotation at a time.",
        f"End it with `podpass rotate {option} --resume`, or go back with --abort.",
        code="plan.rotation-other",
    )
