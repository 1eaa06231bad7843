# SPDX-License-Identifier: Apache-2.0
"""The API server of the cluster that this process runs in, asked with the pod's own account.

The pod's token goes to that one address, under that one certificate authority, past every proxy, and nowhere else.
"""

import os
import threading
from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from podpass.discovery import web
from podpass.discovery.origin import Published
from podpass.errors import ConfigError, RefusedError, SourceUnavailableError, UnexpectedAnswerError, UnreachableError
from podpass.kube.fault import KubeFault
from podpass.names import Secret, ServiceAccountRef
from podpass.net.deadline import Deadline
from podpass.net.forks import survive
from podpass.verify import KeySet
from podpass.verify.algorithms import DEFAULT_ALGORITHMS

if TYPE_CHECKING:
    import httpx2

FOLDER: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
REVIEWS_PATH: Final = "/apis/authentication.k8s.io/v1/tokenreviews"
_JWKS_PATH: Final = "/openid/v1/jwks"
# A real API server has no plain JSON for its keys, and answers 406 to whoever accepts nothing else.
_KEY_TYPES: Final = "application/jwk-set+json, application/json;q=0.9"
_TOKEN_LIMIT_BYTES: Final = 64 * 1024


class ApiServer(Protocol):
    """Asks one API server; `str` names it for people."""

    def keys(self, algorithms: Collection[str] = DEFAULT_ALGORITHMS) -> Published:
        """Return the public keys of the server's service account tokens, as far as they are for these algorithms.

        Raises:
            NeighbourError, SourceUnavailableError, KeySetError: They cannot be had.
        """
        ...

    def review(self, token: Secret[str], audience: str) -> Mapping[str, Any]:
        """Return the status of a TokenReview.

        Raises:
            NeighbourError, SourceUnavailableError: There is none.
        """
        ...


class ApiServerOrigin:
    """The API server as an origin of keys. Which issuer its tokens name is the policy's to say: it may accept several."""

    def __init__(self, api: ApiServer, algorithms: Collection[str] = DEFAULT_ALGORITHMS) -> None:
        self._api = api
        self._algorithms = algorithms

    def fetch(self, now: datetime) -> Published:  # noqa: ARG002 - every origin is told
        """Ask for the keys; see `KeyOrigin`."""
        return self._api.keys(self._algorithms)

    def __str__(self) -> str:
        return str(self._api)


def review_body(token: Secret[str], audience: str) -> dict[str, Any]:
    """Return a TokenReview.

    Source:
        Kubernetes API, authentication.k8s.io/v1: without `audiences`, the token is reviewed for the API server's own.
    """
    spec = {"token": token.reveal(), "audiences": [audience]}
    return {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}


def status_of(review: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the status of a TokenReview's answer.

    Raises:
        UnexpectedAnswerError: It has none.
    """
    status = review.get("status")
    if not isinstance(status, dict):
        raise UnexpectedAnswerError("The API server answered a TokenReview without a status.")
    return status


class InClusterApi:
    """The API server at the address that kubelet gives to each container. Safe for threads, and after a fork.

    Args:
        address: `https://HOST:PORT`.
        folder: With `token` and `ca.crt`, both read again as kubelet changes them.
        deadline_s: For each question.
    """

    def __init__(self, address: str, folder: Path = FOLDER, deadline_s: float = web.DEADLINE_S) -> None:
        self._address = address
        self._folder = folder
        self._deadline_s = deadline_s
        self._lock = threading.Lock()
        self._http: httpx2.Client | None = None
        self._made_for: tuple[int, int] | None = None
        survive(self)
        web.import_now()

    @classmethod
    def find(cls, environ: Mapping[str, str] | None = None, folder: Path = FOLDER) -> "InClusterApi":
        """Return the API server of this pod.

        Raises:
            ConfigError: This is no pod, or one without an account's token.
        """
        environ = os.environ if environ is None else environ
        host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT", "443")
        if not host or not (folder / "token").is_file():
            missing = "KUBERNETES_SERVICE_HOST is not set" if not host else f"{folder}/token does not exist"
            raise ConfigError(
                "The API server cannot be asked.",
                f"This is not a pod with a service account: {missing}.",
                "Run this in a pod, without automountServiceAccountToken: false; or take the keys from a file or by discovery.",
                code="config.not-in-cluster",
            )
        return cls(f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}", folder)

    def keys(self, algorithms: Collection[str] = DEFAULT_ALGORITHMS) -> Published:
        """Return the public keys; see `ApiServer`."""
        cure = "Bind the ClusterRole system:service-account-issuer-discovery to this pod's service account."
        answer = self._ask(web.Question(self._address + _JWKS_PATH, _KEY_TYPES), cure)
        return Published(KeySet.parse(answer.content, algorithms=algorithms), answer.max_age)

    def review(self, token: Secret[str], audience: str) -> Mapping[str, Any]:
        """Return the status of a TokenReview; see `ApiServer`."""
        cure = "Bind the ClusterRole system:auth-delegator to this pod's service account."
        url = self._address + REVIEWS_PATH
        return status_of(web.parse_object(self._ask(web.Question(url, body=review_body(token, audience)), cure), url))

    def annotations(self, account: ServiceAccountRef) -> Mapping[str, str]:
        """Return the annotations of a service account.

        Raises:
            RefusedError: This pod's account may not read that one.
            NeighbourError, SourceUnavailableError: They cannot be had.
        """
        cure = f"Let this pod's account read it: a Role with the verb get on serviceaccounts, resourceNames [{account.name}]."
        url = f"{self._address}/api/v1/namespaces/{account.namespace}/serviceaccounts/{account.name}"
        metadata = web.parse_object(self._ask(web.Question(url), cure), url).get("metadata")
        annotations = (metadata.get("annotations") or {}) if isinstance(metadata, dict) else None
        if not isinstance(annotations, dict) or not all(isinstance(value, str) for value in annotations.values()):
            raise UnexpectedAnswerError(f"The API server sent the service account {account} in a form that Kubernetes does not have.")
        return annotations

    def __str__(self) -> str:
        return f"the API server {self._address}"

    def _ask(self, question: web.Question, cure: str) -> web.Answer:
        headers = {"authorization": f"Bearer {self._token().reveal()}"}
        asked = web.Question(question.url, question.accept, headers, question.body)
        with Deadline(self._deadline_s, self._connection()) as deadline:
            try:
                answer = web.ask(self._connection(), asked, deadline)
            except UnreachableError:
                # A kept connection may have been closed from there just now; both questions may be asked twice.
                if deadline.left_s < self._deadline_s / 2:
                    raise
                answer = web.ask(self._connection(), asked, deadline)
        if answer.status in {401, 403}:
            fault = KubeFault.parse(answer.status, answer.content)
            raise RefusedError(f"{self} refused the request of this pod ({answer.status} {fault.reason}).", fault.message, cure)
        web.require_success(answer, question.url)
        return answer

    def _token(self) -> Secret[str]:
        try:
            with (self._folder / "token").open("rb") as file:
                text = file.read(_TOKEN_LIMIT_BYTES).decode("ascii").strip()
        except (OSError, UnicodeDecodeError):
            text = ""
        if not text:
            what = f"There is no token of this pod's service account in {self._folder}."
            raise SourceUnavailableError(what, "", "Remove automountServiceAccountToken: false from the pod and its account.")
        return Secret(text, "service account token")

    def _connection(self) -> "httpx2.Client":
        """Return the connections of this process, made for the certificate authority as it is now."""
        ca_file = self._folder / "ca.crt"
        made_for = (os.getpid(), ca_file.stat().st_mtime_ns if ca_file.exists() else 0)
        with self._lock:
            if self._http is None or self._made_for != made_for:
                self._http, self._made_for = web.new_http(ca_file, trust_env=False), made_for
            return self._http

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            if self._http is not None:
                self._http.close()
            self._http = None

    def wake_in_child(self) -> None:
        """Start anew after a fork; see `forks`."""
        self._lock = threading.Lock()
