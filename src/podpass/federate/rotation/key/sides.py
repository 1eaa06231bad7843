# SPDX-License-Identifier: Apache-2.0
"""The sides of a key's rotation as they are: a cluster, Google, and what of the federation file leads to them."""

from collections.abc import Collection
from dataclasses import dataclass

import httpx2

from podpass.config.federation import Federation
from podpass.exchange.exchanger import Exchanger
from podpass.federate import doctor
from podpass.federate.desired import desired
from podpass.federate.execution.key_sync import sync_keys
from podpass.federate.model.facts import Facts
from podpass.federate.planning.prepared import Prepared, prepare
from podpass.federate.rotation.key import gates
from podpass.federate.rotation.servers import ControlPlane, ask_all
from podpass.google.rest import GoogleClient
from podpass.kube.client import KubeClient
from podpass.verify import KeySet


@dataclass(frozen=True, slots=True)
class KeySides:
    """A cluster and Google; `walk.Sides`.

    Attributes:
        federation: The file.
        google: Google, as the operator.
        cluster: The cluster, as the operator.
        http: For what strangers may read, and for the exchange.
        facts: What the sides say about themselves.
    """

    federation: Federation
    google: GoogleClient
    cluster: KubeClient
    http: httpx2.Client
    facts: Facts

    def control_plane(self, *, thoroughly: bool = True) -> ControlPlane:
        """Ask every API server."""
        return ask_all(self.cluster, self.facts.account(), self._audience, thoroughly=thoroughly)

    def publish(self, needed: Collection[str]) -> list[str]:
        """Let Google have the keys that the cluster serves now, and no others; nothing, with the reasons, where a needed one is missing."""
        prepared = self._prepared()
        assert prepared.facts is not None
        # Whichever server has answered this time: another one may serve other keys.
        unmet = gates.publishable(needed, KeySet.parse(prepared.facts.jwks).keys)
        if not unmet:
            sync_keys(prepared)
        return unmet

    def known_kids(self) -> frozenset[str]:
        """Return the ids of the keys that Google has."""
        return frozenset(doctor.Patient(self.federation, self.facts, self._prepared(), self.http).keys().keys)

    def exchanger(self) -> Exchanger:
        """Return what trades a subject token at Google."""
        return Exchanger(desired.provider_name(self.federation, self.facts), http=self.http)

    def _prepared(self) -> Prepared:
        return prepare(self.federation, self.google, self.cluster)

    @property
    def _audience(self) -> str:
        return desired.provider_name(self.federation, self.facts).audience
