# SPDX-License-Identifier: Apache-2.0
"""An invoker policy as frozen values; without rules it admits nobody."""

from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Final, Literal, Self

import msgspec.structs

from podpass.names import Audience, Issuer
from podpass.policy.rules import Refusal, Request, Rule, RuleTable
from podpass.verify.algorithms import DEFAULT_ALGORITHMS
from podpass.verify.identity import IssuerKind

if TYPE_CHECKING:  # costs as much to import as all of this room
    from pathlib import Path

GOOGLE: Final = Issuer("https://accounts.google.com")
DEFAULT_LEEWAY: Final = timedelta(seconds=30)


class Mode(Enum):
    """What becomes of the rules' verdicts. Authentication is enforced in both."""

    ENFORCE = "enforce"
    AUDIT = "audit"


class HandlerToken(Enum):
    """What the handler of an allowed request sees of the token."""

    WHOLE = "whole"
    UNSIGNED = "unsigned"
    NONE = "none"


class TrustedIssuer(msgspec.Struct, frozen=True):
    """An issuer whose tokens are judged.

    Attributes:
        name: What the policy calls it.
        kind: How its tokens are read.
        issuer: Its `iss`, exactly.
        keys: `discovery`, `apiserver` (the API server of the cluster that the service runs in), or a file with a JWKS.
        api_audiences: The audiences of its own API server, beside those that are refused anyway.
        algorithms: Which ones its keys may have.
    """

    name: str
    kind: IssuerKind
    issuer: Issuer
    keys: "Literal['discovery', 'apiserver'] | Path" = "discovery"
    api_audiences: frozenset[str] = frozenset()
    algorithms: tuple[str, ...] = DEFAULT_ALGORITHMS


class InvokerPolicy(msgspec.Struct, frozen=True, eq=False):
    """Who may invoke a service.

    Attributes:
        name: For logs.
        audiences: What the service is called in `aud`. Without one, no token is accepted.
        issuers: Whose tokens are judged; no other is ever looked at.
        rules: Who is admitted where.
        mode: Whether the rules' verdicts are enforced.
        leeway: How far the clocks of issuer and service may differ.
        several_audiences: Whether a token may be meant for others as well.
        serverless_authorization: Whether `X-Serverless-Authorization` is read before `Authorization`, as Cloud Run does.
        group_resolver: Who is asked about Google groups; None: nobody, and none of their members is admitted.
        handler_token: What the handler sees of the token. A header that is for the guard alone it never sees whole.
    """

    name: str
    audiences: tuple[Audience, ...] = ()
    issuers: tuple[TrustedIssuer, ...] = ()
    rules: tuple[Rule, ...] = ()
    mode: Mode = Mode.ENFORCE
    leeway: timedelta = DEFAULT_LEEWAY
    several_audiences: bool = False
    serverless_authorization: bool = False
    handler_token: HandlerToken = HandlerToken.WHOLE
    group_resolver: Literal["cloudIdentity"] | None = None
    _table: RuleTable = RuleTable({})

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "_table", RuleTable.of(self.rules))

    @property
    def edits_headers(self) -> bool:
        """Whether a handler may see other headers than were sent."""
        return self.serverless_authorization or self.handler_token is not HandlerToken.WHOLE

    @classmethod
    def nobody(cls) -> Self:
        """Return the policy of a service that has none: it admits nobody."""
        return cls("none")

    def rule_for(self, request: Request) -> Rule | Refusal:
        """Return the rule that decides about a request, whoever makes it, or why there is none."""
        return self._table.rule_for(request)
