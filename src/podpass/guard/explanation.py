# SPDX-License-Identifier: Apache-2.0
"""What a guard with a policy makes of a token: each check in the order in which it is made, then each rule.

The judgement is the guard's own (`TokenAuthenticator`, `Rule.refusal_of`); which check refused is told by the class of its error.
"""

from concurrent.futures import wait
from datetime import datetime
from typing import Final, Literal

import msgspec

from podpass.errors import (
    BadSignatureError,
    KeySetError,
    KeysUnavailableError,
    PodpassError,
    TokenError,
    TokenExpiredError,
    TokenNotYetValidError,
    UnknownKeyError,
    UnsupportedAlgorithmError,
    WrongAudienceError,
    WrongIssuerError,
    WrongTokenTypeError,
)
from podpass.guard.authenticator import TokenAuthenticator
from podpass.guard.guard import WAIT_LIMIT_S
from podpass.guard.ports import KeyProvider
from podpass.names.quoting import quoted
from podpass.policy import InvokerPolicy, Refusal, Rule, Verdict
from podpass.verify import CompactToken, parse
from podpass.verify.claims import read_audiences
from podpass.verify.identity import Identity

# In the order of `Verifier.verify`. A claim that is missing or of a wrong type is a matter of form, whenever it is found out.
_CHECKS: Final[tuple[tuple[str, tuple[type[PodpassError], ...]], ...]] = (
    ("form", ()),
    ("algorithm", (UnsupportedAlgorithmError, WrongTokenTypeError)),
    ("issuer", (WrongIssuerError,)),
    ("key", (UnknownKeyError, KeysUnavailableError, KeySetError)),
    ("signature", (BadSignatureError,)),
    ("lifetime", (TokenExpiredError, TokenNotYetValidError)),
    ("audience", (WrongAudienceError,)),
)


class Check(msgspec.Struct, frozen=True):
    """One check of the token."""

    name: str
    state: Literal["passed", "failed", "not reached"]
    detail: str


class Opinion(msgspec.Struct, frozen=True):
    """What one rule says of the caller.

    Attributes:
        rule: The rule.
        refusal: None where it admits the caller.
        besides: What only the guard in its place can find out, in sentences.
    """

    rule: Rule
    refusal: Refusal | None
    besides: tuple[str, ...]

    @property
    def detail(self) -> str:
        """The whole in sentences."""
        reason = Verdict(self.rule, self.refusal).reason.removeprefix(f"rule {self.rule.name} ")
        return " ".join([f"{reason[0].upper()}{reason[1:]}.", *self.besides])


class Explanation(msgspec.Struct, frozen=True):
    """The whole judgement.

    Attributes:
        checks: Of the token.
        error: Why it is refused; None where it holds.
        identity: The caller, where it holds.
        opinions: Of each rule, where it holds.
    """

    checks: tuple[Check, ...]
    error: PodpassError | None
    identity: Identity | None
    opinions: tuple[Opinion, ...]

    @property
    def is_admitted(self) -> bool:
        """Whether some rule admits the caller."""
        return any(one.refusal is None for one in self.opinions)


def explain(token: str, policy: InvokerPolicy, keys: KeyProvider, now: datetime) -> Explanation:
    """Judge a token as a guard would that has this policy.

    Args:
        token: Compact form.
        policy: The guard's.
        keys: Of its issuers; waited for, some seconds, where they are on their way.
        now: Moment of judging, timezone-aware.

    Raises:
        ConfigError: The policy cannot be applied.
        KeySetError: Two of its issuers cannot be told apart.
    """
    authenticator = TokenAuthenticator(policy, {issuer.name: keys.keys_of(issuer) for issuer in policy.issuers})
    try:
        identity = _authenticated(authenticator, token.encode("utf-8"), now)
    except (TokenError, KeysUnavailableError, KeySetError) as error:
        return Explanation(_checks(token, policy, error), error, None, ())
    return Explanation(_checks(token, policy, None), None, identity, tuple(_opinion(rule, identity) for rule in policy.rules))


def _authenticated(authenticator: TokenAuthenticator, token: bytes, now: datetime) -> Identity:
    try:
        return authenticator.authenticate(token, now=now)
    except KeysUnavailableError as error:
        if error.flight is None:
            raise
        wait([error.flight], timeout=WAIT_LIMIT_S)
        return authenticator.authenticate(token, now=now)


def _checks(token: str, policy: InvokerPolicy, error: PodpassError | None) -> tuple[Check, ...]:
    failed = next((number for number, (_, errors) in enumerate(_CHECKS) if isinstance(error, errors)), 0) if error else len(_CHECKS)
    found = []
    for number, (name, _) in enumerate(_CHECKS):
        if number < failed:
            found.append(Check(name, "passed", _passed(name, parse(token), policy)))
        elif number == failed and error:
            found.append(Check(name, "failed", f"{error.what} {error.why}".strip()))
        else:
            found.append(Check(name, "not reached", ""))
    return tuple(found)


def _passed(name: str, token: CompactToken, policy: InvokerPolicy) -> str:
    """Say what passes a check."""
    claims = token.payload
    if name == "issuer":
        names = [issuer.name for issuer in policy.issuers if issuer.issuer.url == claims.get("iss")]
        return f"{claims.get('iss')}, which the policy calls {' or '.join(names)}."
    if name == "audience":
        return f"{' and '.join(map(quoted, read_audiences(claims)))}: this service, and no API server."
    return {
        "form": "Three parts, and JSON that has one meaning.",
        "algorithm": f"{token.algorithm}, which the policy accepts.",
        "key": f"{quoted(token.kid)} is one of the issuer's." if token.kid else "It names none, and the issuer has only one.",
        "signature": "Made by that key.",
        "lifetime": f"It holds now, with {policy.leeway.total_seconds():g} s of leeway.",
    }[name]


def _opinion(rule: Rule, identity: Identity) -> Opinion:
    refusal = rule.refusal_of(identity)
    besides = []
    if refusal is Refusal.NOT_A_MEMBER and rule.google_groups:
        besides.append(f"Whether it is in {' or '.join(rule.google_groups)}, the guard asks Cloud Identity.")
    if refusal is None and rule.token_review:
        besides.append("The guard asks the API server, too, whether the token is still good.")
    return Opinion(rule, refusal, tuple(besides))
