# SPDX-License-Identifier: Apache-2.0
"""The exchange: subject token -> federated token -> what a service account may have: an access token, an ID token, a signature.

Where the tokens go, and nowhere else: the subject token into the body of one POST to the security token service, the federated token into
the `Authorization` of one POST to IAM Credentials. Both origins are set when the exchanger is made (`endpoints`), over https (loopback
aside); redirects are refused, not followed (`wire`); no answer's words are repeated without `redact` (`refusals`). Nothing is kept and
nothing tried twice here: that is `workload_tokens`.
"""

import base64
import binascii
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Final, Self

import httpx2

from podpass.clock import Clock, SystemClock
from podpass.errors import ConfigError, MalformedTokenError
from podpass.exchange.credential_config import JWT_TYPE, CredentialConfig
from podpass.exchange.endpoints import Endpoints
from podpass.exchange.provider_list import ProviderChoice
from podpass.exchange.refusals import IAM_CREDENTIALS, STS, exchange_refused, impersonation_refused
from podpass.exchange.tokens import AccessToken, IdToken, Signature
from podpass.exchange.wire import is_token, post, read_object, unexpected
from podpass.google.connections import new_http
from podpass.names import GoogleServiceAccount, ProviderName, Secret
from podpass.net.forks import survive
from podpass.verify import parse

CLOUD_PLATFORM: Final = "https://www.googleapis.com/auth/cloud-platform"
# What Google's own libraries ask of the federated token when it is only to be traded for an account's. [O]
_IAM_SCOPE: Final = "https://www.googleapis.com/auth/iam"
_ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a name
_GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
_DEFAULT_LIFETIME = timedelta(hours=1)
# A federated token is never longer-lived; Google leaves `expires_in` out for one that is about to end. [M]
_MISSING_EXPIRES_IN = timedelta(seconds=1)
# No token of Google's lives longer than 12 hours; more than a day is no lifetime.
_LONGEST_S = 86_400
# Both roles hold getAccessToken and getOpenIdToken; only the second holds signBlob. [K]
_USER, _CREATOR = "roles/iam.workloadIdentityUser", "roles/iam.serviceAccountTokenCreator"


class Exchanger:
    """Trades subject tokens of one provider. Safe for threads; close it, or use it as a context manager.

    Args:
        provider: Whom the subject tokens are for.
        choice: Chooses another provider of the same pool for a token of another issuer; None: there is but one.
        service_account: The account to act as; None: direct access.
        scopes: Of access tokens, where a call does not name others.
        lifetime: Of the account's access token.
        http: The connection pool, closed by whoever made it, and not to be used across a fork; None makes one when it is needed.
        clock: Turns `expires_in` into a moment.
        endpoints: Whom to ask; only tests and other universes set it.
    """

    def __init__(
        self,
        provider: ProviderName,
        *,
        choice: ProviderChoice | None = None,
        service_account: GoogleServiceAccount | None = None,
        scopes: tuple[str, ...] = (CLOUD_PLATFORM,),
        lifetime: timedelta = _DEFAULT_LIFETIME,
        http: httpx2.Client | None = None,
        clock: Clock | None = None,
        endpoints: Endpoints | None = None,
    ) -> None:
        self.provider = provider
        self._choice = choice
        self.service_account = service_account
        self.scopes = scopes
        self._lifetime = lifetime
        self._given = http
        self._own: httpx2.Client | None = None
        self._lock = threading.Lock()
        self._clock = clock or SystemClock()
        self._endpoints = endpoints or Endpoints()
        survive(self)

    @classmethod
    def from_config(cls, config: CredentialConfig, *, http: httpx2.Client | None = None, clock: Clock | None = None) -> Self:
        """Return the exchanger that a credential configuration describes."""
        lifetime = config.lifetime or _DEFAULT_LIFETIME
        endpoints = Endpoints.of(config.universe)
        return cls(
            config.provider,
            choice=ProviderChoice(config) if config.file else None,
            service_account=config.service_account,
            lifetime=lifetime,
            http=http,
            clock=clock,
            endpoints=endpoints,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Exchanger of {self.provider} for {self.service_account or 'direct access'}>"

    def close(self) -> None:
        """Close the connections of its own."""
        with self._lock:
            if self._own is not None:
                self._own.close()

    def wake_in_child(self) -> None:
        """Start anew after a fork; see `forks`. Two processes cannot share a connection."""
        self._lock, self._own = threading.Lock(), None

    def access_token(self, subject_token: Secret[str], scopes: tuple[str, ...] | None = None) -> AccessToken:
        """Return a token for Google's APIs: the account's, or the federated one where there is no account.

        Raises:
            ExchangeRefusedError: The security token service refused; `full_code` and the sentences tell which check failed.
            ImpersonationRefusedError: IAM Credentials refused.
            ExchangeUnavailableError: One of them cannot answer now.
            UnreachableError, UnexpectedAnswerError: No answer, or none of the protocol.
        """
        federated = self.federated_token(subject_token, scopes)
        return self.impersonated_token(federated, scopes) if self.service_account else federated

    def federated_token(self, subject_token: Secret[str], scopes: tuple[str, ...] | None = None) -> AccessToken:
        """Return the federated token of a subject token, and go no further; one that is to be traded on has no use for scopes."""
        provider = self._choice.of(subject_token) if self._choice else self.provider
        form = {
            "grant_type": _GRANT,
            "audience": provider.audience,
            "scope": _IAM_SCOPE if self.service_account else " ".join(scopes or self.scopes),
            "requested_token_type": _ACCESS_TOKEN_TYPE,
            "subject_token": subject_token.reveal(),
            "subject_token_type": JWT_TYPE,
        }
        asked_at = self._clock.now()
        answer = post(self._http, self._endpoints.token, "exchange the subject token", data=form)
        if not answer.is_good:
            raise exchange_refused(answer, provider)
        content = read_object(answer, STS)
        token, expires_in = content.get("access_token"), content.get("expires_in", _MISSING_EXPIRES_IN.total_seconds())
        if not is_token(token):
            raise unexpected(STS, "has no access_token")
        # The comparison is False for NaN; bool is an int to Python, not to JSON.
        if type(expires_in) not in {int, float} or not 0 <= expires_in <= _LONGEST_S:
            raise unexpected(STS, "has an expires_in that is no lifetime")
        return AccessToken(Secret(token, "federated token"), asked_at + timedelta(seconds=expires_in))

    def impersonated_token(self, federated: AccessToken, scopes: tuple[str, ...] | None = None) -> AccessToken:
        """Return the account's access token for a federated one.

        Raises:
            ConfigError: The exchanger was made without an account.
        """
        account, asked_at = self.account_for("Impersonation"), self._clock.now()
        body = {"scope": list(scopes or self.scopes), "lifetime": f"{int(self._lifetime.total_seconds())}s"}
        content = self._as_account(account, "generateAccessToken", federated, body, ("a token", _USER))
        token, until = content.get("accessToken"), content.get("expireTime")
        if not is_token(token) or not isinstance(until, str):
            raise unexpected(IAM_CREDENTIALS, "has no accessToken or no expireTime")
        # Google's moment, but no later than by this machine's clock, which may be slow.
        return AccessToken(Secret(token, "access token"), min(_moment(until), asked_at + self._lifetime))

    def id_token(self, federated: AccessToken, audience: str) -> IdToken:
        """Return a token that tells `audience` which account is calling, with its email.

        Raises:
            ConfigError: The exchanger was made without an account.
        """
        account, asked_at = self.account_for("An ID token"), self._clock.now()
        body = {"audience": audience, "includeEmail": True}
        content = self._as_account(account, "generateIdToken", federated, body, ("an ID token", _USER))
        token = content.get("token")
        if not is_token(token):
            raise unexpected(IAM_CREDENTIALS, "has no token")
        issued_at, ends_at = _times_of(token)
        return IdToken(Secret(token, "ID token"), min(ends_at, asked_at + (ends_at - issued_at)))

    def sign(self, federated: AccessToken, payload: bytes) -> Signature:
        """Return a signature by a key of the account, which Google keeps.

        Raises:
            ConfigError: The exchanger was made without an account.
        """
        account = self.account_for("A signature")
        body = {"payload": base64.b64encode(payload).decode()}
        content = self._as_account(account, "signBlob", federated, body, ("a signature", _CREATOR))
        try:
            return Signature(str(content["keyId"]), base64.b64decode(content["signedBlob"], validate=True))
        except (KeyError, TypeError, binascii.Error):
            raise unexpected(IAM_CREDENTIALS, "has no signedBlob or no keyId") from None

    def account_for(self, thing: str) -> GoogleServiceAccount:
        """Return the account, which `thing` needs.

        Raises:
            ConfigError: There is none.
        """
        if self.service_account is None:
            raise ConfigError(
                f"{thing} needs a Google service account, and none is configured.",
                "With direct access the workload has a principal of its own; Google gives that one access tokens and nothing else.",
                "Set googleServiceAccount for the workload in the federation file and apply, or annotate its Kubernetes service account "
                "with podpass.dev/google-service-account; a credential configuration names it in service_account_impersonation_url.",
                code="config.no-google-service-account",
            )
        return self.service_account

    @property
    def universe(self) -> str:
        """Whose services it asks."""
        return self._endpoints.universe

    @property
    def _http(self) -> httpx2.Client:
        if self._given is not None:
            return self._given
        with self._lock:
            if self._own is None:
                self._own = new_http()
            return self._own

    def _as_account(
        self, account: GoogleServiceAccount, verb: str, federated: AccessToken, body: Mapping[str, object], wanted: tuple[str, str]
    ) -> dict[str, Any]:
        url = self._endpoints.account(account, verb)
        headers = {"authorization": f"Bearer {federated.value.reveal()}"}
        answer = post(self._http, url, f"act as {account}", json=body, headers=headers)
        if not answer.is_good:
            raise impersonation_refused(answer, account, *wanted)
        return read_object(answer, IAM_CREDENTIALS)


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise unexpected(IAM_CREDENTIALS, "has an expireTime that is no time") from None


def _times_of(token: str) -> tuple[datetime, datetime]:
    """Read when an ID token begins and ends; nothing else in it matters here: judging is its audience's business."""
    try:
        claims = parse(token).payload
        return _time(claims.get("iat")), _time(claims.get("exp"))
    except (MalformedTokenError, TypeError, ValueError, OverflowError, OSError):
        raise unexpected(IAM_CREDENTIALS, "has a token that does not say when it begins and ends") from None


def _time(claim: object) -> datetime:
    if not isinstance(claim, int | float) or isinstance(claim, bool):
        raise TypeError
    return datetime.fromtimestamp(claim, UTC)
