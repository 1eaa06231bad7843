# SPDX-License-Identifier: Apache-2.0
"""The decision about a request: pure, so that every shell decides alike.

1. Method and path have one reading (`incoming`, `paths`), and it is the one that is served; else 400.
2. There is at most one credential (`bearer`); else 400.
3. A token that is sent is judged, also where none is needed: 401 for a bad one, 503 where it cannot be judged now.
4. The rules say who is admitted (`podpass.policy`). Not known and not admitted: 401. Known and not admitted: 403, or passed in audit mode.
   Where a rule admits Google groups, their directory is asked; 503 where nobody can tell.
5. Where the deciding rule wants it, the API server confirms that the token is still good; else 401 or 503, in audit mode as well.

A `Deny` may carry a flight: what it lacks is on its way, and a shell that can wait asks again when the flight has ended.

What was found out about places is noted in `familiar`, for the short way of `Guard.recognise`.
"""

import math
from collections.abc import Mapping
from concurrent.futures import Future
from datetime import datetime
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final, Protocol, final

import msgspec

from podpass.errors import KeySetError, NeighbourError, PodpassError, RequestError, TokenError, UnavailableError
from podpass.guard.bearer import read_token
from podpass.guard.familiar import Familiar
from podpass.guard.handing_on import Edit, edit_for
from podpass.guard.incoming import Incoming
from podpass.names import Secret
from podpass.policy import InvokerPolicy, Mode, Refusal, Request, Rule, Verdict
from podpass.verify.identity import Identity

if TYPE_CHECKING:  # for types alone; they bring the verifier, which a guard needs only when it has a policy
    from podpass.guard.authenticator import Result
    from podpass.guard.ports import GroupResolver, Reviewer

BAD_REQUEST, UNAUTHENTICATED, FORBIDDEN, UNAVAILABLE = 400, 401, 403, 503
MISSING: Final = "token.missing"
# What is asked for most; longer paths and methods are judged as well, but not remembered: both are anybody's to choose.
_KNOWN_PLACES = 1024
_KNOWN_PLACE_LIMIT_BYTES = 512
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
class Allow(msgspec.Struct, frozen=True, gc=False):
    """The handler may run.

    Attributes:
        identity: The caller; None for one without a token, on a path that needs none.
        decided_by: The rule that admits the caller. In audit mode perhaps one that does not, or none.
        audited: Why the rules would have refused; only in audit mode.
        edit: A header that the handler must not see as it came; None: it sees all of them.
    """

    identity: Identity | None
    decided_by: Rule | None
    audited: Refusal | None = None
    edit: Edit | None = None

    @property
    def rule(self) -> str | None:
        """The name of the rule that decided."""
        return self.decided_by.name if self.decided_by else None

    @property
    def reason(self) -> str:
        """Half a sentence for the log."""
        return Verdict(self.decided_by, self.audited).reason


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
class Judge:
    """A policy with what it takes to apply it. Never changed: a reload makes another one."""

    __slots__ = (
        "_edits_headers",
        "_known_rule",
        "_rule",
        "_serverless_first",
        "authenticator",
        "familiar",
        "groups",
        "policy",
        "reviewer",
    )

    def __init__(
        self,
        policy: InvokerPolicy,
        authenticator: Authenticator,
        reviewer: "Reviewer | None" = None,
        groups: "GroupResolver | None" = None,
        results: "Mapping[bytes, Result] | None" = None,
    ) -> None:
        self.policy = policy
        self.authenticator = authenticator
        self.reviewer = reviewer
        self.groups = groups
        self.familiar = Familiar({} if results is None else results)
        self._edits_headers = policy.edits_headers
        self._serverless_first = policy.serverless_authorization
        self._rule = partial(_rule_for, policy)
        # Which rule decides about a place is the same for all callers. What is ambiguous is refused, and that is found anew each time.
        self._known_rule = lru_cache(_KNOWN_PLACES)(self._rule)

    def decide(self, request: Incoming, *, now: datetime) -> Decision:
        """Decide about a request, without waiting for anything."""
        identity = None
        try:
            is_short = len(request.raw_path) + len(request.method) <= _KNOWN_PLACE_LIMIT_BYTES
            find = self._known_rule if is_short else self._rule
            rule = find(request.method, request.raw_path, request.mount, request.path)
            token = read_token(request.headers, serverless_first=self._serverless_first)
            if token is not None:
                identity = self.authenticator.authenticate(token, now=now)
            in_groups = None if self.groups is None else partial(_in_groups, self.groups, now)
            decided_by, refusal = (None, rule) if isinstance(rule, Refusal) else (rule, rule.refusal_of(identity, in_groups))
            if refusal is not None and (identity is None or self.policy.mode is not Mode.AUDIT):
                return _refused(Verdict(decided_by, refusal), identity)
            if decided_by is not None and decided_by.token_review:
                self._review(token, identity, now)
        except (RequestError, TokenError, NeighbourError, KeySetError) as error:
            return _failed(error, identity)
        if self._edits_headers:
            return Allow(identity, decided_by, refusal, edit_for(request.headers, self.policy))
        if decided_by is not None and not decided_by.token_review and request.mount == "" and request.path is not None:
            self.familiar.note(request.method, request.raw_path, request.path, decided_by)
        return Allow(identity, decided_by, refusal)

    def _review(self, token: bytes | None, identity: Identity | None, now: datetime) -> None:
        """Ask the API server; other issuers' tokens it does not know, and no such rule admits them."""
        if token is None or identity is None or identity.kind != "kubernetes":
            return
        if self.reviewer is None:
            raise UnavailableError(
                "The API server cannot be asked about tokens.", "No reviewer is configured.", retry_after_s=_RETRY_AFTER_S
            )
        self.reviewer.review(Secret(token.decode("ascii"), "subject token"), identity, now=now)


def _in_groups(groups: "GroupResolver", now: datetime, identity: Identity, wanted: tuple[str, ...]) -> bool:
    """Tell whether a caller is in one of the groups; only Google speaks for the emails of its accounts."""
    account = identity.google
    if account is None or account.email is None or not account.email_verified:
        return False
    return groups.is_member(account.email.lower(), wanted, now=now)


def _rule_for(policy: InvokerPolicy, method: str, raw_path: bytes, mount: str, path: str | None) -> Rule | Refusal:
    request = Incoming(method, raw_path, (), mount, path)
    return policy.rule_for(Request(request.served_method(), request.served_path()))


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
