# SPDX-License-Identifier: Apache-2.0
"""TokenRequest: a token of a service account, for an audience, for a time."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from podpass.errors import UnexpectedAnswerError
from podpass.kube.client import Json, KubeClient, Request
from podpass.names import Secret, ServiceAccountRef


@dataclass(frozen=True, slots=True)
class ServiceAccountToken:
    """A token that the API server signed."""

    value: Secret[str]
    expires_at: datetime


def request_token(
    client: KubeClient, account: ServiceAccountRef, *, audiences: Iterable[str] = (), expiration: timedelta | None = None
) -> ServiceAccountToken:
    """Ask the API server for a token, bound to the account only.

    Args:
        client: Who asks; needs `create` on `serviceaccounts/token`.
        account: Whose token.
        audiences: For whom; none: the API server's own, which is fit for nobody else.
        expiration: 10 minutes at least; the server may give less, and says so in `expires_at`. None leaves it to the server (1 hour).

    Raises:
        KubeRefusedError: `FaultKind.NOT_FOUND`: no such account; `FaultKind.FORBIDDEN`; `FaultKind.INVALID`: the expiration.
    """
    spec: Json = {"audiences": list(audiences)}
    if expiration:
        spec["expirationSeconds"] = int(expiration.total_seconds())
    body: Json = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    path = f"/api/v1/namespaces/{account.namespace}/serviceaccounts/{account.name}/token"
    answer = client.call(Request("POST", path, f"issue a token for the service account {account}", body=body, is_question=True))
    status = answer.get("status")
    token, until = (status.get("token"), status.get("expirationTimestamp")) if isinstance(status, dict) else (None, None)
    if not isinstance(token, str) or not token or not isinstance(until, str):
        raise UnexpectedAnswerError(f"The cluster's TokenRequest for {account} has no token or no expirationTimestamp.")
    try:
        expires_at = datetime.fromisoformat(until)
    except ValueError:
        raise UnexpectedAnswerError(f"The cluster's TokenRequest for {account} has an expirationTimestamp that is no time.") from None
    return ServiceAccountToken(Secret(token, "subject token"), expires_at)
