# SPDX-License-Identifier: Apache-2.0
"""The exchange: subject token -> federated token -> access token of a service account.

Where the tokens go, and nowhere else: the subject token into the body of one POST to the security token service, the federated token into
the `Authorization` of one POST to IAM Credentials. Both origins are set when the exchanger is made, over https (loopback aside);
redirects are refused, not followed; no answer's words are repeated without `redact`.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Final, Self, TypeGuard
from urllib.parse import urlsplit

import httpx2

from podpass.clock import Clock, SystemClock
from podpass.errors import (
    ConfigError,
    ExchangeRefusedError,
    ImpersonationRefusedError,
    NeighbourError,
    UnexpectedAnswerError,
    UnreachableError,
)
from podpass.exchange.credential_config import JWT_TYPE, TOKEN_URL, CredentialConfig, impersonation_url
from podpass.google.fault import FaultKind, GoogleFault
from podpass.google.rest import new_http, unreachable
from podpass.names import GoogleServiceAccount, ProviderName, Secret
from podpass.names.secret import redact

CLOUD_PLATFORM: Final = "https://www.googleapis.com/auth/cloud-platform"
# What Google's own libraries ask of the federated token when it is only to be traded for an account's. [O]
_IAM_SCOPE: Final = "https://www.googleapis.com/auth/iam"
_ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a name
_GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
_DESCRIPTION_LIMIT_CHARS = 600
_DEFAULT_LIFETIME = timedelta(hours=1)
# A federated token is never longer-lived; Google leaves `expires_in` out for one that is about to end. [M]
_MISSING_EXPIRES_IN = timedelta(seconds=1)
# No token of Google's lives longer than 12 hours; more than a day is no lifetime.
_LONGEST_S = 86_400


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token that calls Google's APIs.

    Attributes:
        value: The token.
        expires_at: When it ends.
        principal: Who it speaks for: an account's email, or None for the workload's own principal.
    """

    value: Secret[str]
    expires_at: datetime
    principal: str | None = None


class Exchanger:
    """Trades subject tokens of one provider. Safe for threads; close it, or use it as a context manager.

    Args:
        provider: Whom the subject tokens are for.
        service_account: The account to act as; None: direct access.
        scopes: Of the access token.
        lifetime: Of the account's token.
        http: The connection pool; None makes one of its own.
        clock: Turns `expires_in` into a moment.
        token_url: The security token service; only tests and other universes set it.
    """

    def __init__(
        self,
        provider: ProviderName,
        *,
        service_account: GoogleServiceAccount | None = None,
        scopes: tuple[str, ...] = (CLOUD_PLATFORM,),
        lifetime: timedelta = _DEFAULT_LIFETIME,
        http: httpx2.Client | None = None,
        clock: Clock | None = None,
        token_url: str = TOKEN_URL,
    ) -> None:
        _check_origin(token_url)
        self._provider = provider
        self._account = service_account
        self._scopes = scopes
        self._lifetime = lifetime
        self._http = http or new_http()
        self._clock = clock or SystemClock()
        self._token_url = token_url

    @classmethod
    def from_config(cls, config: CredentialConfig, *, http: httpx2.Client | None = None, clock: Clock | None = None) -> Self:
        """Return the exchanger that a credential configuration describes."""
        lifetime = config.lifetime or _DEFAULT_LIFETIME
        return cls(config.provider, service_account=config.service_account, lifetime=lifetime, http=http, clock=clock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._http.close()

    def access_token(self, subject_token: Secret[str]) -> AccessToken:
        """Return a token for Google's APIs: the account's, or the federated one where there is no account.

        Raises:
            ExchangeRefusedError: The security token service refused; `full_code` and the sentences tell which check failed.
            ImpersonationRefusedError: IAM Credentials refused.
            UnreachableError, UnexpectedAnswerError: No answer, or none of the protocol.
        """
        federated = self.federated_token(subject_token)
        return self.impersonated_token(federated) if self._account else federated

    def federated_token(self, subject_token: Secret[str]) -> AccessToken:
        """Return the federated token of a subject token, and go no further."""
        form = {
            "grant_type": _GRANT,
            "audience": self._provider.audience,
            "scope": _IAM_SCOPE if self._account else " ".join(self._scopes),
            "requested_token_type": _ACCESS_TOKEN_TYPE,
            "subject_token": subject_token.reveal(),
            "subject_token_type": JWT_TYPE,
        }
        asked_at = self._clock.now()
        response = self._post(self._token_url, "exchange the subject token", data=form)
        if not response.is_success:
            raise _exchange_refused(response, self._provider)
        answer = _object(response, "the security token service")
        token, expires_in = answer.get("access_token"), answer.get("expires_in", _MISSING_EXPIRES_IN.total_seconds())
        if not _is_token(token):
            raise _unexpected("the security token service", "has no access_token")
        # The comparison is False for NaN; bool is an int to Python, not to JSON.
        if type(expires_in) not in {int, float} or not 0 <= expires_in <= _LONGEST_S:
            raise _unexpected("the security token service", "has an expires_in that is no lifetime")
        return AccessToken(Secret(token, "federated token"), asked_at + timedelta(seconds=expires_in))

    def impersonated_token(self, federated: AccessToken) -> AccessToken:
        """Return the account's access token for a federated one.

        Raises:
            ConfigError: The exchanger was made without an account.
        """
        if self._account is None:
            raise ConfigError("There is no service account to act as.", "", "Name one when the exchanger is made.", code="config.exchanger")
        body = {"scope": list(self._scopes), "lifetime": f"{int(self._lifetime.total_seconds())}s"}
        headers = {"authorization": f"Bearer {federated.value.reveal()}"}
        response = self._post(impersonation_url(self._account), f"act as {self._account}", json=body, headers=headers)
        if not response.is_success:
            raise _impersonation_refused(response, self._account)
        answer = _object(response, "IAM Credentials")
        token, until = answer.get("accessToken"), answer.get("expireTime")
        if not _is_token(token) or not isinstance(until, str):
            raise _unexpected("IAM Credentials", "has no accessToken or no expireTime")
        return AccessToken(Secret(token, "access token"), _moment(until), self._account.email)

    def _post(self, url: str, doing: str, **content: Any) -> httpx2.Response:  # noqa: ANN401 - the client's own arguments
        """Send one request; a broken connection is not tried again here, callers decide with their deadline."""
        response: httpx2.Response | UnreachableError
        try:
            response = self._http.post(url, follow_redirects=False, **content)
        except httpx2.RequestError as error:
            response = unreachable(urlsplit(url).netloc, doing, error)
        if isinstance(response, UnreachableError):
            # Out here it has neither cause nor context: the client's error holds the request, and with it the token.
            raise response
        if response.is_redirect:
            raise UnexpectedAnswerError(
                f"{urlsplit(url).netloc} answered the request to {doing} with a redirect ({response.status_code}).",
                "It was not followed: the token in it is for this origin only.",
                "Look for a proxy that answers in Google's place.",
            )
        return response


def _check_origin(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in {"127.0.0.1", "::1", "localhost"}):
        return
    raise ConfigError(
        f"No token is sent to {parts.scheme}://{parts.netloc}.", "It is not https.", "Use an https URL.", code="config.token-origin"
    )


def _is_token(value: object) -> TypeGuard[str]:
    """Whether it can stand in a header: printable ASCII without spaces."""
    return isinstance(value, str) and bool(value) and all("!" <= character <= "~" for character in value)


def _object(response: httpx2.Response, who: str) -> dict[str, Any]:
    try:
        answer = response.json()
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        # Without a cause: the decoder's error holds the answer, and the answer may hold a token.
        raise _unexpected(who, "is not a JSON object")
    return answer


def _unexpected(who: str, fault: str) -> UnexpectedAnswerError:
    return UnexpectedAnswerError(f"The answer of {who} {fault}.", "", "Look for a proxy that answers in Google's place.")


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise _unexpected("IAM Credentials", "has an expireTime that is no time") from None


def _exchange_refused(response: httpx2.Response, provider: ProviderName) -> NeighbourError | ExchangeRefusedError:
    try:
        body = json.loads(response.content)
    except (ValueError, RecursionError):
        body = None
    code = body.get("error") if isinstance(body, dict) else None
    if not isinstance(code, str):
        words = f"It answered {response.status_code} without an OAuth error."
        return UnexpectedAnswerError("The security token service did not exchange the subject token.", words, "Try again in a minute.")
    description = redact(str(body.get("error_description") or ""))[:_DESCRIPTION_LIMIT_CHARS]
    what = f"Google's security token service refused the subject token ({response.status_code} {code})."
    return ExchangeRefusedError(what, description, _cure(code, description, provider), code=f"credential.exchange-refused.{_kebab(code)}")


def _kebab(code: str) -> str:
    return "".join(character if character.isalnum() else "-" for character in code.lower())[:40]


# The texts are Google's: google-behaviour: STS. [M]
_CURES = {
    "does not match the expected audience": "Ask for a token with the audience {audience}; the provider's allowed audiences must admit it.",
    "does not match the expected one in config": "The cluster's issuer is not the provider's: run `podpass plan` to compare them.",
    "is stale to sign-in": "The token is too old, or the clocks differ: take a new one, and compare the cluster's clock with the world's.",
    "Unable to verify the ID Token signature": "The provider's keys are not the cluster's: `podpass plan` shows the difference.",
    "Error connecting to the given credential's issuer": "Google cannot have the keys, or lacks this one: run `podpass doctor`.",
    "rejected by the attribute condition": "Add the account to the workloads of the federation file and apply, or change the condition.",
    "exceeds the 127 bytes limit": "Map google.subject to something shorter.",
    "This value should be the full resource name": "The audience must be {audience}.",
    "Unable to parse the ID Token": "What was sent is no token: check where it is read from.",
}


def _cure(code: str, description: str, provider: ProviderName) -> str:
    if code == "invalid_target":
        return f"Check that {provider} exists and is neither disabled nor deleted: run `podpass plan`."
    for words, cure in _CURES.items():
        if words in description:
            return cure.format(audience=provider.audience)
    return "Run `podpass doctor`; it walks every check of the exchange."


def _impersonation_refused(response: httpx2.Response, account: GoogleServiceAccount) -> ImpersonationRefusedError:
    fault = GoogleFault.parse(response.status_code, response.content)
    cures = {
        FaultKind.PERMISSION_DENIED: "Grant the workload's principal roles/iam.workloadIdentityUser on it; a new grant takes minutes.",
        FaultKind.NOT_FOUND: "Check that the account exists; a new one takes a minute to be known.",
        FaultKind.API_DISABLED: "Run `gcloud services enable iamcredentials.googleapis.com`.",
    }
    return ImpersonationRefusedError(
        f"Google refused a token of the service account {account} ({fault.code} {fault.status}).",
        fault.sentence,
        cures.get(fault.kind, "Run `podpass doctor`; it walks every check of the exchange."),
        code=f"credential.impersonation-refused.{fault.kind}",
    )
