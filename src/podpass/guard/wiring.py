# SPDX-License-Identifier: Apache-2.0
"""What a guard is connected to: where keys, second opinions and the time come from.

By default keys are found by `podpass.discovery`, and the API server of this pod is asked where a rule wants it. Both are made when the
first policy needs them, and then stay: a reload forgets neither keys nor verdicts.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from podpass.clock import Clock, SystemClock
from podpass.errors import ConfigError
from podpass.guard.decide import Judge
from podpass.policy import InvokerPolicy

if TYPE_CHECKING:  # ports are for types alone; the authenticator brings the verifier, which is made with the first judge
    from podpass.guard.authenticator import Results
    from podpass.guard.ports import GroupResolver, IssuerKeys, KeyProvider, Reviewer


def remember() -> "Results":
    """Make the usual memory for accepted tokens."""
    from podpass.verify.cache import ResultCache  # noqa: PLC0415 - as above

    return ResultCache()


class Wiring:
    """Connects judges to their surroundings.

    Args:
        keys: Where issuers' keys come from; None: a `KeyRing` of its own.
        reviewer: Who is asked about tokens where a rule has `tokenReview`; None: the API server of this pod.
        results: Makes the memory for accepted tokens, a new one for each policy; None: nothing is remembered.
        groups: Who is asked about Google groups where a policy wants it; None: Cloud Identity, with this process's credentials.
        clock: Tells the time; None: the machine's.
    """

    def __init__(
        self,
        *,
        keys: "KeyProvider | None" = None,
        reviewer: "Reviewer | None" = None,
        results: "Callable[[], Results] | None" = remember,
        groups: "GroupResolver | None" = None,
        clock: Clock | None = None,
    ) -> None:
        self.clock = clock or SystemClock()
        self._keys = keys
        self._reviewer = reviewer
        self._results = results
        self._groups = groups

    def judge(self, policy: InvokerPolicy) -> Judge:
        """Make what applies a policy.

        Raises:
            ConfigError: Issuers without an audience, keys that can never be had, or a `tokenReview` that nobody can do.
            KeySetError: Two issuers cannot be told apart, or a file has no keys.
        """
        from podpass.guard.authenticator import TokenAuthenticator  # noqa: PLC0415 - as above

        reviewed = next((rule.name for rule in policy.rules if rule.token_review), None)
        reviewer = None if reviewed is None else self._find_reviewer(reviewed)
        keys = self._find_keys(policy)
        groups = self._find_groups() if policy.group_resolver else None
        authenticator = TokenAuthenticator(policy, keys, self._results() if self._results else None)
        return Judge(policy, authenticator, reviewer, groups, authenticator.young)

    def _find_keys(self, policy: InvokerPolicy) -> "dict[str, IssuerKeys]":
        if self._keys is None and policy.issuers:
            from podpass.discovery.key_ring import KeyRing  # noqa: PLC0415 - more than half of the guard, for a policy with issuers only

            self._keys = KeyRing(clock=self.clock)
        return {issuer.name: self._keys.keys_of(issuer) for issuer in policy.issuers} if self._keys is not None else {}

    def _find_groups(self) -> "GroupResolver":
        if self._groups is None:
            try:
                from podpass.discovery.cloud_identity import CloudIdentity  # noqa: PLC0415 - google-auth, for policies with groups only
            except ImportError as error:
                raise ConfigError(
                    "The policy has a groupResolver, and google-auth is not installed.",
                    "It finds the Google credentials by which Cloud Identity is asked.",
                    "Install podpass[cli], or remove groupResolver.",
                    code="config.group-resolver",
                ) from error
            from podpass.discovery.group_lookup import GroupLookup  # noqa: PLC0415 - as above

            self._groups = GroupLookup(CloudIdentity())
        return self._groups

    def _find_reviewer(self, rule: str) -> "Reviewer":
        if self._reviewer is None:
            from podpass.discovery.api_server import InClusterApi  # noqa: PLC0415 - as above
            from podpass.discovery.token_review import TokenReviewer  # noqa: PLC0415 - as above

            try:
                self._reviewer = TokenReviewer(InClusterApi.find())
            except ConfigError as error:
                raise ConfigError(
                    f"The rule {rule} has tokenReview, and no API server can be asked.",
                    error.why,
                    "Run the guard in the cluster whose tokens are reviewed, or remove tokenReview.",
                    code="config.token-review",
                ) from error
        return self._reviewer
