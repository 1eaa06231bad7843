# SPDX-License-Identifier: Apache-2.0
"""What the cluster and the project say about themselves; no file can say it for them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from podpass.errors import ConfigError
from podpass.names import ServiceAccountRef


@dataclass(frozen=True, slots=True)
class Facts:
    """The two sides, as they are now.

    Attributes:
        cluster: The uid of the namespace kube-system.
        issuer: The `iss` of the tokens that the cluster makes now.
        jwks: The cluster's public keys, as `/openid/v1/jwks` answers.
        project: The project's id.
        project_number: Its number, which is in every name that Google writes.
        account_uids: The workloads' Kubernetes accounts that are there, with their uids.
        api_audiences: What the API server takes tokens for; None if it could not be found out.
    """

    cluster: str
    issuer: str
    jwks: str
    project: str
    project_number: str
    account_uids: Mapping[ServiceAccountRef, str] = field(default_factory=dict)
    api_audiences: frozenset[str] | None = None

    def account(self) -> ServiceAccountRef:
        """Return a workload's account, whose tokens show who signs; the same one each time.

        Raises:
            ConfigError: None is there.
        """
        if not self.account_uids:
            raise ConfigError(
                "No workload's Kubernetes account is there, so no token can show who signs.",
                "",
                "Create one of those that the federation file names.",
                code="config.workload",
            )
        return min(self.account_uids)
