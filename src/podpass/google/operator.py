# SPDX-License-Identifier: Apache-2.0
"""The operator's credentials: whose rights podpass uses when it changes things at Google.

Found by google-auth's default chain: GOOGLE_APPLICATION_CREDENTIALS, then gcloud's application default credentials, then the metadata
server. google-auth does the rest over our own HTTP client, so it needs no `requests` package.
"""

import logging
import os
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import google.auth
import google.auth.credentials
import google.auth.exceptions
import google.auth.transport
import httpx2

from podpass.errors import ConfigError, NeighbourError, PodpassError, SourceUnavailableError
from podpass.google.fault import FaultKind, GoogleFault
from podpass.google.rest import UNIVERSE, unreachable
from podpass.names.secret import redact

log = logging.getLogger(__name__)

SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
_LOG_IN = "Run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to a credential file."


class HttpResponse(google.auth.transport.Response):
    """An answer, as google-auth reads it."""

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response

    @property
    def status(self) -> int:
        """HTTP status."""
        return self._response.status_code

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers, whatever their case."""
        return self._response.headers

    @property
    def data(self) -> bytes:
        """The whole body."""
        return self._response.content


class HttpRequest(google.auth.transport.Request):
    """Lets google-auth send its requests over our client. Redirects are not followed: the bodies hold tokens."""

    def __init__(self, http: httpx2.Client) -> None:
        self._http = http

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_: object,
    ) -> HttpResponse:
        """Send one request.

        Raises:
            google.auth.exceptions.TransportError: No answer.
        """
        limit: Any = httpx2.USE_CLIENT_DEFAULT if timeout is None else timeout
        try:
            response = self._http.request(method, url, content=body, headers=headers, timeout=limit, follow_redirects=False)
        except (httpx2.RequestError, httpx2.InvalidURL, RuntimeError) as error:
            # RuntimeError: the client was closed, while google-auth still looks something up in a thread of its own.
            raise google.auth.exceptions.TransportError(error) from error
        return HttpResponse(response)


class Operator:
    """Somebody's credentials, renewed when needed; safe for threads. It is an `Authorizer`.

    Attributes:
        account: Whose, as far as the credentials say: an email, or what kind of credentials they are.
        project: The project that the environment or the credentials name; None if neither does.
    """

    def __init__(self, credentials: google.auth.credentials.Credentials, http: httpx2.Client, *, project: str | None = None) -> None:
        self._credentials: Any = credentials  # google-auth's methods are not typed
        self._request = HttpRequest(http)
        self._lock = threading.Lock()
        self.account = _account(credentials)
        self.project = project

    def __repr__(self) -> str:
        return f"<Operator {self.account}>"

    @property
    def universe(self) -> str:
        """The universe domain that the credentials belong to."""
        return str(getattr(self._credentials, "universe_domain", UNIVERSE))

    def headers(self) -> dict[str, str]:
        """Return the headers of a request; renews the token first if its time is over.

        Raises:
            SourceUnavailableError: The credentials give no token: expired, revoked, or to be confirmed by logging in again.
            UnreachableError: The token endpoint gave no answer.
        """
        headers: dict[str, str] = {}
        with self._lock, _as_ours(self.account):
            self._credentials.before_request(self._request, "GET", "https://iam.googleapis.com/", headers)
        return {name.lower(): value for name, value in headers.items()}

    def renew(self, stale: Mapping[str, str]) -> None:
        """Renew the token, unless somebody did since `stale` was made."""
        with self._lock, _as_ours(self.account):
            if stale.get("authorization") == f"Bearer {self._credentials.token}":
                self._credentials.refresh(self._request)


def find(http: httpx2.Client) -> Operator:
    """Find the operator's credentials by google-auth's default chain; asks for no token yet.

    Args:
        http: The connection pool, usually the `GoogleClient`'s own; whoever made it closes it.

    Raises:
        ConfigError: The credentials belong to another universe than googleapis.com: no token of theirs is sent there.
        SourceUnavailableError: There are none, or the file that is named cannot be used.
        UnreachableError: The project of credentials that are themselves federated could not be looked up.
    """
    with warnings.catch_warnings(), _as_ours("the default credentials"):
        # google-auth warns of end-user credentials without a quota project; Google's refusal says it better, if it comes.
        warnings.simplefilter("ignore", UserWarning)
        credentials, project = google.auth.default(scopes=[SCOPE], request=HttpRequest(http))
    operator = Operator(credentials, http, project=project)
    if operator.universe != UNIVERSE:
        raise ConfigError(
            f"The Google credentials belong to the universe {operator.universe!r}.",
            f"podpass speaks to {UNIVERSE}, and sends no token of another universe there.",
            "Use credentials of a project on Google Cloud.",
            code="config.universe",
        )
    log.info("operator: %s", operator.account)
    return operator


def _account(credentials: object) -> str:
    for name in ("service_account_email", "signer_email", "account"):
        value = getattr(credentials, name, None)
        if isinstance(value, str) and "@" in value:
            return value
    module = type(credentials).__module__.rpartition(".")[2].strip("_")
    return {"credentials": "the user logged in with gcloud", "identity_pool": "a federated identity"}.get(module, module.replace("_", " "))


@contextmanager
def _as_ours(account: str) -> Iterator[None]:
    """Turn google-auth's errors into ours, without the bodies that may hold tokens."""
    try:
        yield
    except google.auth.exceptions.GoogleAuthError as error:
        raise _told(account, error) from error
    except OSError as error:  # a folder, a file of somebody else's: google-auth leaves that to its caller
        if named := os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
            raise _unusable(named, error.strerror or str(error)) from error
        raise


def _unusable(named: str, why: str) -> SourceUnavailableError:
    return SourceUnavailableError(
        f"The Google credentials in {named} cannot be used.",
        f"{why.rstrip('.')}.",
        "GOOGLE_APPLICATION_CREDENTIALS names that file: correct it, or unset it to use gcloud's.",
        code="credential.operator-none",
    )


def _told(account: str, error: google.auth.exceptions.GoogleAuthError) -> PodpassError:
    """Return our error for one of google-auth's."""
    words = redact(str(error.args[0]) if error.args else "")[:400]
    if isinstance(error, google.auth.exceptions.TransportError):
        return _unreachable(error)
    if isinstance(error, google.auth.exceptions.ReauthFailError) or "invalid_rapt" in str(error) or "reauth" in words.lower():
        return SourceUnavailableError(
            f"The session of {account} is over.",
            "The organization wants a new login from time to time, and the last one is too old.",
            "Run `gcloud auth application-default login`.",
            code="credential.operator-reauthentication",
        )
    if fault := _refused_impersonation(error):
        return SourceUnavailableError(
            f"The login may not act as {account}.", fault.sentence, _allowing(account, fault), code="credential.operator-impersonation"
        )
    if isinstance(error, google.auth.exceptions.RefreshError):
        return SourceUnavailableError(
            f"The credentials of {account} give no access token.", f"{words.rstrip('.')}.", _LOG_IN, code="credential.operator-expired"
        )
    if named := os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
        return _unusable(named, words)
    return SourceUnavailableError(
        "There are no Google credentials here.",
        "GOOGLE_APPLICATION_CREDENTIALS is not set, gcloud has no application default credentials, and this is no machine of Google's.",
        _LOG_IN,
        code="credential.operator-none",
    )


def _refused_impersonation(error: google.auth.exceptions.GoogleAuthError) -> GoogleFault | None:
    """Return what Google said to a login that is to act as a service account; google-auth keeps it beside its own words."""
    body = error.args[1] if len(error.args) > 1 else None
    if not isinstance(body, str) or "impersonated" not in str(error.args[0]):
        return None
    fault = GoogleFault.parse(0, body.encode())
    return fault if fault.message and "error" in body else None


def _allowing(account: str, fault: GoogleFault) -> str:
    if fault.kind is FaultKind.API_DISABLED:
        return f"Run `{fault.enabling}`, then repeat."
    return (
        f"Check the account's name. Whoever is logged in needs roles/iam.serviceAccountTokenCreator on it: "
        f"`gcloud iam service-accounts add-iam-policy-binding {account} --role=roles/iam.serviceAccountTokenCreator --member=user:EMAIL`."
    )


def _unreachable(error: Exception) -> NeighbourError:
    cause = error.args[0] if error.args and isinstance(error.args[0], Exception) else error
    request = getattr(cause, "_request", None)
    host = request.url.host if isinstance(request, httpx2.Request) else "Google's token endpoint"
    return unreachable(host, "give the operator an access token", cause)
