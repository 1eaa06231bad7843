# SPDX-License-Identifier: Apache-2.0
"""The decision about a request: pure, so that every shell decides alike.

1. Method and path have one reading (`incoming`, `paths`), and it is the one that is served; else 400.
2. There is at most one credential (`bearer`); else 400.
3. A token that is sent is judged, also where none is needed: 401 for a bad one, 503 where it cannot be judged now.
4. The rules say who is admitted (`podpass.policy`). Not known and not admitted: 401. Known and not admitted: 403, or passed in audit mode.
5. Where the deciding rule wants it, the API server confirms that the token is still good; else 401 or 503, in audit mode as well.

A `Deny` may carry a flight: what it lacks is on its way, and a shell that can wait asks again when the flight has ended.
"""

import math
from concurrent.futures import Future
from datetime import datetime
from typing import Final, Protocol, final

import msgspec

from podpass.errors import KeySetError, NeighbourError, PodpassError, RequestError, TokenError, UnavailableError
from podpass.guard.bearer import read_token
from podpass.guard.incoming import Incoming
from podpass.guard.ports import Reviewer
from podpass.names import Secret
from podpass.policy import InvokerPolicy, Mode, Refusal, Request, Verdict
from podpass.verify.identity import Identity

BAD_REQUEST, UNAUTHENTICATED, FORBIDDEN, UNAVAILABLE = 400, 401, 403, 503
MISSING: Final = "token.missing"
# For failures that do not say themselves when to come back.
_RETRY_AFTER_S = 10.0


class Authenticator(Protocol):
    """Finds out who sends a token."""

    def authenticate(self, token: bytes, *, now: datetime) -> Identity:
        """Return the caller, without waiting.

        Raises:
            TokenError: The token is refused.
            UnavailableError: It cannot be judged now.
        """
        ...

    def missing_keys(self) -> tuple[str, ...]:
        """Return the issuers whose tokens cannot be judged now, for want of keys."""
        ...


@final
class Allow(msgspec.Struct, frozen=True):
    """The handler may run.

    Attributes:
        identity: The caller; None for one without a token, on a path that needs none.
        rule: The rule that decided.
        audited: Why the rules would have refused; only in audit mode.
        reason: Half a sentence for the log.
    """

    identity: Identity | None
    rule: str | None
    audited: Refusal | None
    reason: str


@final
class Deny(msgspec.Struct, frozen=True):
    """The handler must not run.

    Attributes:
        status: Of the answer: 400, 401, 403, 503.
        code: All that a caller is told.
        reason: For the log.
        identity: Who was refused, as far as known.
        rule: The rule that decided, if it came to that.
        retry_after_s: With 503.
        flight: Ends when the reason may have gone.
    """

    status: int
    code: str
    reason: str
    identity: Identity | None = None
    rule: str | None = None
    retry_after_s: int | None = None
    flight: Future[object] | None = None


Decision = Allow | Deny


@final
class Judge(msgspec.Struct, frozen=True):
    """A policy with what it takes to apply it. Never changed: a reload makes another one."""

    policy: InvokerPolicy
    authenticator: Authenticator
    reviewer: Reviewer | None = None

    def decide(self, request: Incoming, *, now: datetime) -> Decision:
        """Decide about a request, without waiting for anything."""
        identity = None
        try:
            asked = Request(request.served_method(), request.served_path())
            token = read_token(request.headers, serverless_first=self.policy.serverless_authorization)
            if token is not None:
                identity = self.authenticator.authenticate(token, now=now)
            verdict = self.policy.verdict(asked, identity)
            if verdict.refusal is not None and (identity is None or self.policy.mode is not Mode.AUDIT):
                return _refused(verdict, identity)
            self._review(token, identity, verdict, now)
        except (RequestError, TokenError, NeighbourError, KeySetError) as error:
            return _failed(error, identity)
        return Allow(identity, _name(verdict), verdict.refusal, verdict.reason)

    def _review(self, token: bytes | None, identity: Identity | None, verdict: Verdict, now: datetime) -> None:
        """Ask the API server where the rule wants it; other issuers' tokens it does not know, and no such rule admits them."""
        if verdict.rule is None or not verdict.rule.token_review or token is None or identity is None or identity.kind != "kubernetes":
            return
        if self.reviewer is None:
            raise UnavailableError(
                "The API server cannot be asked about tokens.", "No reviewer is configured.", retry_after_s=_RETRY_AFTER_S
            )
        self.reviewer.review(Secret(token.decode("ascii"), "subject token"), identity, now=now)


def _name(verdict: Verdict) -> str | None:
    return verdict.rule.name if verdict.rule else None


def _refused(verdict: Verdict, identity: Identity | None) -> Deny:
    assert verdict.refusal is not None
    if identity is None:
        return Deny(UNAUTHENTICATED, MISSING, f"the request has no token, and {verdict.reason}", rule=_name(verdict))
    return Deny(FORBIDDEN, verdict.refusal.value, verdict.reason, identity, _name(verdict))


def _failed(error: PodpassError, identity: Identity | None) -> Deny:
    if isinstance(error, RequestError):
        return Deny(BAD_REQUEST, error.full_code, str(error), identity)
    if isinstance(error, TokenError):
        return Deny(UNAUTHENTICATED, error.full_code, str(error), identity)
    after_s = error.retry_after_s if isinstance(error, UnavailableError) else _RETRY_AFTER_S
    flight = error.flight if isinstance(error, UnavailableError) else None
    return Deny(UNAVAILABLE, error.full_code, str(error), identity, retry_after_s=max(1, math.ceil(after_s)), flight=flight)
