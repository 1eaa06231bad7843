# SPDX-License-Identifier: Apache-2.0
"""An invoker policy as frozen values; without rules it admits nobody."""

from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Final, Literal, Self

import msgspec

from podpass.names import Audience, Issuer
from podpass.policy.rules import Request, Rule, RuleTable, Verdict
from podpass.verify.identity import Identity, IssuerKind

GOOGLE: Final = Issuer("https://accounts.google.com")
DEFAULT_LEEWAY: Final = timedelta(seconds=30)


class Mode(Enum):
    """What becomes of the rules' verdicts. Authentication is enforced in both."""

    ENFORCE = "enforce"
    AUDIT = "audit"


class TrustedIssuer(msgspec.Struct, frozen=True):
    """An issuer whose tokens are judged.

    Attributes:
        name: What the policy calls it.
        kind: How its tokens are read.
        issuer: Its `iss`, exactly.
        keys: `discovery`, `apiserver` (the API server of the cluster that the service runs in), or a file with a JWKS.
        api_audiences: The audiences of its own API server, beside those that are refused anyway.
    """

    name: str
    kind: IssuerKind
    issuer: Issuer
    keys: Literal["discovery", "apiserver"] | Path = "discovery"
    api_audiences: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class InvokerPolicy:
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
    """

    name: str
    audiences: tuple[Audience, ...] = ()
    issuers: tuple[TrustedIssuer, ...] = ()
    rules: tuple[Rule, ...] = ()
    mode: Mode = Mode.ENFORCE
    leeway: timedelta = DEFAULT_LEEWAY
    several_audiences: bool = False
    serverless_authorization: bool = False
    _table: RuleTable = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_table", RuleTable.of(self.rules))

    @classmethod
    def nobody(cls) -> Self:
        """Return the policy of a service that has none: it admits nobody."""
        return cls("none")

    def verdict(self, request: Request, identity: Identity | None) -> Verdict:
        """Say whether the rules admit a caller; None is a caller without a token. The mode changes nothing here."""
        return self._table.judge(request, identity)
