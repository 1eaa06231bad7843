# SPDX-License-Identifier: Apache-2.0
"""Where a rotation's state lives: a config map in podpass-system, replaced by compare-and-swap, gone when the rotation has ended.

It has one place, whatever is rotated, so there is one rotation at a time.
"""

from abc import ABC, abstractmethod
from typing import Generic, Protocol, TypeVar

from podpass.errors import PlanError
from podpass.federate import under_way
from podpass.federate.issuer_move import KIND as MOVE
from podpass.federate.issuer_move import IssuerMove
from podpass.federate.own_namespace import create_in, remove_if_empty
from podpass.federate.receipt import NAMESPACE
from podpass.federate.rotation.rotation import Rotation
from podpass.kube.client import KubeClient
from podpass.kube.config_maps import ConfigMap, create_config_map, delete_config_map, get_config_map, replace_config_map


class _Text(Protocol):
    def to_text(self) -> str:
        """Write it."""
        ...


S = TypeVar("S", bound=_Text)


class _Ledger(ABC, Generic[S]):
    """The rotation of one federation's cluster."""

    def __init__(self, client: KubeClient, federation: str) -> None:
        self._client = client
        self._name = under_way.name_of(federation)
        self._known: ConfigMap | None = None

    @abstractmethod
    def _read(self, text: str, origin: str) -> S:
        """Read the state."""

    def read(self) -> S | None:
        """Return the rotation that is under way; None: there is none.

        Raises:
            PlanError: There is one of another kind.
            ConfigError: What is there cannot be read.
        """
        self._known = get_config_map(self._client, NAMESPACE, self._name)
        if self._known is None:
            return None
        return self._read(self._known.data.get(under_way.KEY, ""), f"The config map {NAMESPACE}/{self._name}")

    def write(self, state: S) -> None:
        """Write the successor of what was read or written last."""
        data = {under_way.KEY: state.to_text()}
        if self._known is None:
            new = ConfigMap(NAMESPACE, self._name, data)
            self._known = create_in(self._client, lambda: create_config_map(self._client, new))
        else:
            self._known = replace_config_map(self._client, self._known.with_data(data))

    def remove(self) -> None:
        """Delete it, and the namespace where podpass made it and nothing else is in it."""
        if self._known is not None:
            delete_config_map(self._client, self._known)
            self._known = None
        remove_if_empty(self._client)


class Ledger(_Ledger[Rotation]):
    """The rotation of the signing key."""

    def _read(self, text: str, origin: str) -> Rotation:
        if under_way.kind_of(text, origin=origin) == MOVE:
            raise _other("a move of the issuer", "--issuer")
        return Rotation.from_text(text, origin=origin)


class MoveLedger(_Ledger[IssuerMove]):
    """The move of the issuer."""

    def _read(self, text: str, origin: str) -> IssuerMove:
        if under_way.kind_of(text, origin=origin) != MOVE:
            raise _other("a rotation of the signing key", "--key")
        return IssuerMove.from_text(text, origin=origin)


def _other(what: str, option: str) -> PlanError:
    return PlanError(
        f"Nothing was changed: {what} is under way.",
        "There is one rotation at a time.",
        f"End it with `podpass rotate {option} --resume`, or go back with --abort.",
        code="plan.rotation-other",
    )
