# SPDX-License-Identifier: Apache-2.0
"""A provider of a workload identity pool, as far as its judgement of tokens needs it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from podpass.names import ProviderName


@dataclass(frozen=True, slots=True)
class Provider:
    """An OIDC provider with the state of its pool.

    Attributes:
        name: Full name; its project is the number, as in every name that Google writes.
        issuer_uri: `oidc.issuerUri`, compared with `iss` byte for byte.
        attribute_mapping: Attribute to CEL expression, in the order it was given.
        attribute_condition: CEL expression, or None.
        allowed_audiences: `oidc.allowedAudiences`; empty means the provider's own name, with and without `https:`.
        jwks_json: `oidc.jwksJson`; with it nothing is fetched from the issuer.
        disabled: The provider is disabled.
        deleted: The provider is soft-deleted.
        pool_disabled: Its pool is disabled.
        pool_deleted: Its pool is soft-deleted.
    """

    name: ProviderName
    issuer_uri: str
    attribute_mapping: Mapping[str, str] = field(default_factory=dict)
    attribute_condition: str | None = None
    allowed_audiences: tuple[str, ...] = ()
    jwks_json: str | None = None
    disabled: bool = False
    deleted: bool = False
    pool_disabled: bool = False
    pool_deleted: bool = False

    @property
    def accepted_audiences(self) -> tuple[str, ...]:
        """What `aud` may be. Setting a list switches the default off."""  # [R][M]
        return self.allowed_audiences or (self.name.audience, f"https:{self.name.audience}")
