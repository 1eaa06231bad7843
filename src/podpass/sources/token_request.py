# SPDX-License-Identifier: Apache-2.0
"""TokenRequest as a source: the API server signs a token for a service account, with no pod in between."""

from dataclasses import dataclass
from datetime import timedelta

from podpass.errors import SourceUnavailableError
from podpass.kube.client import KubeClient
from podpass.kube.fault import FaultKind, KubeRefusedError
from podpass.kube.tokens import request_token
from podpass.names import Secret, ServiceAccountRef

# Kubernetes' least, since the token is used once and at once.
LEAST_EXPIRATION = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class TokenRequestSource:
    """A token that the API server signs on demand.

    Attributes:
        client: Who asks.
        account: Whose token.
        audience: For whom.
        expiration: Its life.
    """

    client: KubeClient
    account: ServiceAccountRef
    audience: str
    expiration: timedelta = LEAST_EXPIRATION

    def read(self) -> Secret[str]:
        """Ask for a new token.

        Raises:
            SourceUnavailableError: The account is not there, or the caller may not ask for its tokens.
            NeighbourError: No answer, or another refusal.
        """
        try:
            return request_token(self.client, self.account, audiences=[self.audience], expiration=self.expiration).value
        except KubeRefusedError as error:
            if error.kind is FaultKind.NOT_FOUND:
                cure = f"Run `kubectl create serviceaccount {self.account.name} --namespace {self.account.namespace}`."
            elif error.kind is FaultKind.FORBIDDEN:
                cure = "Ask the cluster's administrator for the verb create on serviceaccounts/token."
            else:
                raise
            what = f"The API server gave no token of the service account {self.account}."
            raise SourceUnavailableError(what, error.why, cure, code="credential.token-request") from error

    def __str__(self) -> str:
        return f"TokenRequest for {self.account}"
