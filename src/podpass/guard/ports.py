# SPDX-License-Identifier: Apache-2.0
"""What the guard asks of others, as small protocols: keys that stay fresh, and a second opinion on a token.

Neither may wait for the network. Where an answer is not at hand, both raise an `UnavailableError`; if something is under way to get it,
the error carries the flight, and shells that can wait do so once, within a deadline, and judge again.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from podpass.names import Secret
from podpass.policy import TrustedIssuer
from podpass.verify import KeySet, VerificationKey
from podpass.verify.identity import Identity


class IssuerKeys(Protocol):
    """The keys of one issuer."""

    @property
    def generation(self) -> int:
        """A number that changes whenever keys are added, removed or dropped for their age.

        Read for each request, those answered from the cache of results included: a source may take it as its heartbeat.
        """
        ...

    def known(self) -> KeySet | None:
        """Return the keys at hand, without any effect; None where there are none, or none young enough."""
        ...

    def find(self, kid: str | None) -> VerificationKey:
        """Return the key that a token names, without waiting.

        Raises:
            UnknownKeyError: The issuer has no such key, as far as it was asked lately.
            KeysUnavailableError: Nobody can tell now.
        """
        ...


class KeyProvider(Protocol):
    """Finds the keys of the issuers that a policy names. Called when a policy is loaded, for each of its issuers."""

    def keys_of(self, issuer: TrustedIssuer) -> IssuerKeys:
        """Return the keys of an issuer; the same object for the same issuer, so that a reload forgets no keys.

        Raises:
            ConfigError: They can never be had.
            KeySetError: A file holds none.
        """
        ...


class GroupResolver(Protocol):
    """Knows who is in which Google group."""

    def is_member(self, email: str, groups: Sequence[str], *, now: datetime) -> bool:
        """Tell whether an account is in one of the groups, directly or by way of others. Does not wait.

        Raises:
            GroupsUnavailableError: Nobody can tell now.
        """
        ...


class Reviewer(Protocol):
    """Asks the API server whether it stands by a token whose signature holds already (TokenReview)."""

    def review(self, token: Secret[str], identity: Identity, *, now: datetime) -> None:
        """Refuse a token whose pod or account is gone, or that is not for `identity.audience`. Does not wait.

        Raises:
            TokenRevokedError: The API server says no.
            ReviewUnavailableError: It has not said anything yet, or not lately enough.
        """
        ...
