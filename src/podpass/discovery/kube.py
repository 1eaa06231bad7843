# SPDX-License-Identifier: Apache-2.0
"""The API server of a kubeconfig's context, for processes that are not pods. Needs lightkube."""

from collections.abc import Collection, Mapping
from typing import Any

from podpass.discovery.api_server import REVIEWS_PATH, review_body, status_of
from podpass.discovery.origin import Published
from podpass.kube.client import KubeClient, Request
from podpass.kube.issuer import get_jwks
from podpass.names import Secret
from podpass.verify import KeySet
from podpass.verify.algorithms import DEFAULT_ALGORITHMS


class KubeApi:
    """An `ApiServer` that is asked with the credentials of a kubeconfig."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    def keys(self, algorithms: Collection[str] = DEFAULT_ALGORITHMS) -> Published:
        """Return the public keys; see `ApiServer`."""
        return Published(KeySet.parse(get_jwks(self._client), algorithms=algorithms))

    def review(self, token: Secret[str], audience: str) -> Mapping[str, Any]:
        """Return the status of a TokenReview; see `ApiServer`."""
        return status_of(self._client.call(Request("POST", REVIEWS_PATH, "review a token", body=review_body(token, audience))))

    def __str__(self) -> str:
        return f"the API server {self._client.access.server}"
