# SPDX-License-Identifier: Apache-2.0
"""What is examined: a federation, as its two sides were seen."""

from dataclasses import dataclass
from typing import Literal

import httpx2

from podpass.config.federation import Federation
from podpass.federate.desired import desired
from podpass.federate.doctor.published import published_keys
from podpass.federate.model.change import Action
from podpass.federate.model.facts import Facts
from podpass.federate.model.resource import Kind, Observed
from podpass.federate.planning.prepared import Prepared
from podpass.google.rest import GoogleClient
from podpass.names import Issuer
from podpass.verify import KeySet
from podpass.wif import Provider


@dataclass(frozen=True, slots=True)
class Patient:
    """What is examined.

    Attributes:
        federation: The file.
        facts: What the sides say about themselves.
        prepared: The plan, for what was seen when it was made.
        http: For what strangers may read, and for the exchange.
    """

    federation: Federation
    facts: Facts
    prepared: Prepared
    http: httpx2.Client

    @property
    def google(self) -> GoogleClient:
        """Google, as the operator."""
        return self.prepared.sides.google

    @property
    def issuer(self) -> Issuer:
        """The declared issuer."""
        return desired.declared_issuer(self.federation, self.facts)

    def seen(self, kind: Literal[Kind.POOL, Kind.PROVIDER]) -> Observed:
        """Return the declared pool or provider as it was seen."""
        google = self.federation.google
        return self.prepared.observed[f"{kind}/{google.pool.id if kind is Kind.POOL else google.provider.id}"]

    def provider(self) -> Provider:
        """Return the provider as Google has it."""
        pool, provider = self.seen(Kind.POOL), self.seen(Kind.PROVIDER)
        body = provider.body
        return Provider(
            name=desired.provider_name(self.federation, self.facts),
            issuer_uri=str(body.get("oidc.issuerUri", "")),
            attribute_mapping=body.get("attributeMapping") or {},
            attribute_condition=body.get("attributeCondition") or None,
            allowed_audiences=tuple(body.get("oidc.allowedAudiences") or ()),
            jwks_json=body.get("oidc.jwksJson") or None,
            disabled=bool(body.get("disabled")),
            pool_disabled=bool(pool.body.get("disabled")),
        )

    def provider_drift(self) -> frozenset[str]:
        """Return the fields of the provider that are not as the file says."""
        address = f"{Kind.PROVIDER}/{self.federation.google.provider.id}"
        changes = (one for one in self.prepared.plan.changes if one.address == address and one.action is not Action.ADOPT)
        return frozenset(field.name for change in changes for field in change.fields)

    def is_referred(self, kind: Kind) -> bool:
        """Whether somebody else keeps the pool or the provider, so that `podpass apply` cures nothing of it."""
        google = self.federation.google
        return google.pool.existing if kind is Kind.POOL else google.provider.existing

    def keys(self) -> KeySet:
        """Return the keys that Google has of the issuer."""
        inline = self.provider().jwks_json
        return KeySet.parse(inline) if inline else published_keys(self.http, self.issuer)
