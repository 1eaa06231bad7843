# SPDX-License-Identifier: Apache-2.0
"""The sides of a move to another issuer as they are: a cluster, Google, and what of the federation file leads to them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

import httpx2

from podpass.config.federation import Federation, Workload
from podpass.exchange.exchanger import Exchanger
from podpass.federate import doctor
from podpass.federate.desired import desired
from podpass.federate.execution.apply import apply
from podpass.federate.model.change import Action, Change
from podpass.federate.model.facts import Facts
from podpass.federate.model.resource import Kind
from podpass.federate.planning.prepared import Prepared, prepare
from podpass.federate.records.issuer_move import IssuerMove, Standing
from podpass.federate.rotation.issuer import pods
from podpass.federate.rotation.servers import ControlPlane, ask_all
from podpass.federate.safety.allowances import Allowances
from podpass.google.rest import GoogleClient
from podpass.kube.client import KubeClient
from podpass.names import PoolName, ProviderName

# What a move is about; everything else that a plan may hold is left to `podpass apply`.
_OF_A_MOVE: Final = frozenset({Kind.API, Kind.BUCKET, Kind.OBJECT, Kind.PROVIDER, Kind.CONFIG_MAP})
_OF_ITS_END: Final = frozenset({Kind.PROVIDER, Kind.CONFIG_MAP})


@dataclass(frozen=True, slots=True)
class MoveSides:
    """A cluster and Google; `walk.Sides`.

    Attributes:
        federation: The file.
        google: Google, as the operator.
        cluster: The cluster, as the operator.
        http: For what strangers may read, and for the exchange.
        facts: What the sides say about themselves.
        issuers: The two issuers.
        audience: Whom the tokens are for that the servers are asked for: the provider that pods know.
        workloads: The file's, and those that its selectors found.
    """

    federation: Federation
    google: GoogleClient
    cluster: KubeClient
    http: httpx2.Client
    facts: Facts
    issuers: frozenset[str]
    audience: str
    workloads: tuple[Workload, ...]

    @classmethod
    def of(cls, file: Federation, prepared: Prepared, move: IssuerMove, http: httpx2.Client) -> Self:
        """Return the sides of a move.

        Args:
            file: The federation file.
            prepared: Its plan, made a moment ago.
            move: The move.
            http: For what strangers may read, and for the exchange.
        """
        facts, found, cluster = prepared.facts, prepared.federation, prepared.sides.cluster
        assert facts is not None
        assert found is not None
        assert cluster is not None
        audience = PoolName(facts.project_number, move.pool).provider(move.former.provider).audience
        issuers = frozenset({move.former.issuer, move.coming.issuer})
        return cls(file, prepared.sides.google, cluster, http, facts, issuers, audience, found.workloads)

    def control_plane(self, *, thoroughly: bool = True) -> ControlPlane:
        """Ask every API server."""
        return ask_all(self.cluster, self.facts.account(), self.audience, self.issuers, thoroughly=thoroughly)

    def act(self, move: IssuerMove) -> tuple[str, ...]:
        """Bring about what the step at hand asks for, as its state is written down; return the addresses of what was changed."""
        prepared = self._prepared()
        found = prepared.only(of_a_move(prepared.plan.changes, move))
        allowed = (f"{Kind.PROVIDER}/{move.leaves.provider}",) if len(move.standings) == 1 else ()
        return tuple(change.address for change in apply(found, Allowances(delete=allowed)).changes)

    def known_kids(self, move: IssuerMove, standing: Standing) -> frozenset[str]:
        """Return the ids of the keys that Google has of an issuer."""
        return known_kids(move.as_file(self.federation, standing), self._prepared(), self.http)

    def exchanger(self, standing: Standing) -> Exchanger:
        """Return what trades a subject token at a provider."""
        return Exchanger(self._name(standing), http=self.http)

    def asking(self, standing: Standing) -> list[str] | None:
        """Return the pods that ask for tokens for a provider whose audience the file does not keep; None where nobody may look."""
        if standing.provider in self.federation.google.provider.former_ids:
            return []
        found = pods.read(self.cluster, self.workloads)
        return None if found is None else pods.asking_for(found, desired.audiences(self._name(standing)))

    def older(self, moment: datetime) -> list[str] | None:
        """Return the pods that were there before a moment; None where nobody may look."""
        found = pods.read(self.cluster, self.workloads)
        return None if found is None else [pod.name for pod in found if pod.started_at < moment]

    def _name(self, standing: Standing) -> ProviderName:
        return PoolName(self.facts.project_number, self.federation.google.pool.id).provider(standing.provider)

    def _prepared(self) -> Prepared:
        return prepare(self.federation, self.google, self.cluster)


def of_a_move(changes: tuple[Change, ...], move: IssuerMove) -> Iterator[Change]:
    """Yield the changes that are the move's own: what publishes the two issuers, their providers, and what the config maps say.

    Of deletions only the leaving provider's: what has published its issuer may serve others, and goes when somebody says so. At the end
    nothing is published any more: a move that goes back before it has published anything makes nothing of it either.
    """
    is_ending = len(move.standings) == 1
    kinds = _OF_ITS_END if is_ending else _OF_A_MOVE
    for change in changes:
        if change.action is Action.DELETE:
            if change.address == f"{Kind.PROVIDER}/{move.leaves.provider}":
                yield change
        elif change.kind in kinds or (change.identity.get("member") == "allUsers" and not is_ending):
            yield change


def known_kids(federation: Federation, prepared: Prepared, http: httpx2.Client) -> frozenset[str]:
    """Return the ids of the keys that Google has of the issuer that a file declares."""
    assert prepared.facts is not None
    return frozenset(doctor.Patient(federation, prepared.facts, prepared, http).keys().keys)
