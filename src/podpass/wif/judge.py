# SPDX-License-Identifier: Apache-2.0
"""Google's judgement of a subject token, check by check, in the order of `CHECKS`.

Where the real service is known to be laxer than podpass (a member it ignores, a spelling it may accept) the stricter reading of `verify`
stands: what passes here passes there, not always the other way round. [?]
"""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NoReturn

from podpass.errors import (
    BadSignatureError,
    ConfigError,
    EvaluationError,
    ExpressionError,
    KeySetError,
    MalformedTokenError,
    NeighbourError,
    TokenExpiredError,
    TokenNotYetValidError,
    UnknownKeyError,
    UnsupportedAlgorithmError,
)
from podpass.names import ProviderName
from podpass.names.quoting import quoted
from podpass.verify import CompactToken, KeySet, UnverifiedClaims, VerificationKey, parse
from podpass.verify.algorithms import DEFAULT_ALGORITHMS
from podpass.verify.claims import check_issued_at, check_lifetime, read_audiences, read_date
from podpass.wif import refusals
from podpass.wif.judgement import Check, Judgement, Refusal
from podpass.wif.limits import ATTRIBUTES_LIMIT_BYTES, SUBJECT_LIMIT_BYTES
from podpass.wif.mapping import GROUPS, SUBJECT, AttributeValue, compile_condition, compile_mapping, condition_values
from podpass.wif.provider import Provider

KeysOf = Callable[[str], KeySet]
"""Finds the keys of an issuer by its URL; raises KeySetError or NeighbourError when they cannot be had."""
ProvidersBy = Callable[[ProviderName], Provider | None]
"""Finds a provider by its name, by project number or id; None when there is none."""

# [M] Both ways, about.
SKEW = timedelta(seconds=60)
# [R] `exp` less than 48 h after `iat`; measured in September 2026: not enforced. [M]
_LONGEST_S = 48 * 3600
# [M] min(exp - now, 3600) minus about 2 s.
_FEDERATED_LIMIT_S = 3600
_FEDERATED_LOSS_S = 2
# The shape alone; whether such a provider can exist is the next question.
_PROVIDER_AUDIENCE = re.compile(r"//iam\.googleapis\.com/projects/[^/\s]+/locations/global/workloadIdentityPools/[^/\s]+/providers/[^/\s]+")


class _RefusedError(Exception):
    """Ends a judgement; never leaves this module."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(refusal.code)


class _Trace:
    def __init__(self) -> None:
        self.checks: list[Check] = []

    def passed(self, name: str, detail: str, warning: str = "") -> None:
        self.checks.append(Check(name, passed=True, detail=detail, warning=warning))

    def refuse(self, name: str, detail: str, refusal: Refusal) -> NoReturn:
        self.checks.append(Check(name, passed=False, detail=detail))
        raise _RefusedError(refusal)


def judge(token: str, provider: Provider, keys: KeysOf, now: datetime, *, enforce_48h: bool = False) -> Judgement:
    """Judge a subject token for a provider that the audience field has already found.

    Args:
        token: The subject token, as it was sent.
        provider: The provider, with the state of its pool.
        keys: Where the issuer's keys come from; not asked when the provider has `jwks_json`.
        now: Moment of judging, timezone-aware.
        enforce_48h: Refuse what the reference forbids and the real service has let pass: 48 h or more from `iat` to `exp`.
    """
    trace = _Trace()
    try:
        return _judge_token(trace, token, provider, keys, now, enforce_48h=enforce_48h)
    except _RefusedError as refused:
        return Judgement(tuple(trace.checks), refused.refusal)


def judge_exchange(
    audience: str, token: str, providers: ProvidersBy, keys: KeysOf, now: datetime, *, enforce_48h: bool = False
) -> Judgement:
    """Judge a request to the security token service, from its audience field on; the other arguments are those of `judge`."""
    trace = _Trace()
    try:
        provider = _find_provider(trace, audience, providers)
        return _judge_token(trace, token, provider, keys, now, enforce_48h=enforce_48h)
    except _RefusedError as refused:
        return Judgement(tuple(trace.checks), refused.refusal)


def _find_provider(trace: _Trace, audience: str, providers: ProvidersBy) -> Provider:
    if not _PROVIDER_AUDIENCE.fullmatch(audience):
        detail = f"The audience field is {quoted(audience)}, not //iam.googleapis.com/projects/NUMBER/…/providers/PROVIDER."
        trace.refuse("audience-field", detail, refusals.AUDIENCE_FIELD)
    trace.passed("audience-field", f"The audience field names {audience.removeprefix('//iam.googleapis.com/')}.")
    try:
        provider = providers(ProviderName.parse(audience))
    except ConfigError as error:
        # [?] An id that cannot exist is taken for one that does not.
        trace.refuse("provider", str(error), refusals.TARGET)
    if provider is None:
        trace.refuse("provider", "There is no such pool, or no such provider in it.", refusals.TARGET)
    return provider


def _judge_token(trace: _Trace, token: str, provider: Provider, keys: KeysOf, now: datetime, *, enforce_48h: bool) -> Judgement:
    _check_state(trace, provider)
    parsed = _parse(trace, token)
    _check_issuer(trace, parsed.payload, provider)
    _check_audience(trace, parsed.payload, provider)
    expires_s = _check_lifetime(trace, parsed.payload, now, enforce_48h=enforce_48h)
    key = _find_key(trace, parsed, provider, keys)
    _check_signature(trace, parsed, key)
    attributes = _map(trace, parsed.payload, provider)
    _check_condition(trace, parsed.payload, attributes, provider)
    expires_in_s = _lifetime_left(trace, expires_s, now)
    return _accepted(trace, attributes, expires_in_s)


def _check_state(trace: _Trace, provider: Provider) -> None:
    states = {
        "The pool is deleted": provider.pool_deleted,
        "The pool is disabled": provider.pool_disabled,
        "The provider is deleted": provider.deleted,
        "The provider is disabled": provider.disabled,
    }
    bad = [state for state, holds in states.items() if holds]
    if bad:
        trace.refuse("provider", f"{bad[0]}.", refusals.TARGET)
    trace.passed("provider", "Pool and provider are active.")


def _parse(trace: _Trace, token: str) -> CompactToken:
    try:
        parsed = parse(token)
    except MalformedTokenError as error:
        trace.refuse("parse", error.why, refusals.PARSE)
    if parsed.algorithm not in DEFAULT_ALGORITHMS:
        # [R] for the two algorithms; the answer to others is a guess. [?]
        detail = f"The header's alg is {quoted(parsed.algorithm)}; Google accepts {' and '.join(DEFAULT_ALGORITHMS)}."
        trace.refuse("parse", detail, refusals.PARSE)
    trace.passed("parse", f"A signed JWT: alg {parsed.algorithm}, kid {quoted(parsed.kid or '')}.")
    return parsed


def _check_issuer(trace: _Trace, claims: UnverifiedClaims, provider: Provider) -> None:
    found = claims.get("iss")
    if found != provider.issuer_uri:
        detail = f"iss is {_shown(found)}; the provider's issuerUri is {quoted(provider.issuer_uri)}."
        trace.refuse("issuer", detail, refusals.issuer(found, provider.issuer_uri))
    trace.passed("issuer", f"iss is {quoted(provider.issuer_uri)}, the provider's issuerUri.")


def _check_audience(trace: _Trace, claims: UnverifiedClaims, provider: Provider) -> None:
    try:
        found = () if claims.get("aud") is None else read_audiences(claims)
    except MalformedTokenError as error:
        trace.refuse("audience", error.what, refusals.PARSE)  # [?]
    accepted = provider.accepted_audiences
    match = next((audience for audience in found if audience in accepted), None)
    if match is None:
        wanted = " or ".join(quoted(audience) for audience in accepted)
        trace.refuse("audience", f"aud is [{', '.join(map(quoted, found))}]; the provider accepts {wanted}.", refusals.audience(found))
    default = "" if provider.allowed_audiences else ", the default: the provider's own name"
    trace.passed("audience", f"aud holds {quoted(match)}{default}.")


def _check_lifetime(trace: _Trace, claims: UnverifiedClaims, now: datetime, *, enforce_48h: bool) -> float:
    try:
        issued_s, expires_s = read_date(claims, "iat"), read_date(claims, "exp")
    except MalformedTokenError as error:
        trace.refuse("lifetime", error.what, refusals.PARSE)  # [?]
    stale = refusals.stale(claims.get("iat"))
    if issued_s is None or expires_s is None:
        trace.refuse("lifetime", f"The token has no {'iat' if issued_s is None else 'exp'}.", stale)
    try:
        check_lifetime(claims, now=now, skew=SKEW)  # judges `nbf` too: what the real service makes of it is not known [?]
        check_issued_at(claims, now=now, skew=SKEW)
    except (TokenExpiredError, TokenNotYetValidError) as error:
        trace.refuse("lifetime", error.what, stale)
    except MalformedTokenError as error:
        trace.refuse("lifetime", error.what, refusals.PARSE)  # an `nbf` that is no number [?]
    length = f"exp is {expires_s - issued_s:.0f} s after iat"
    if expires_s - issued_s < _LONGEST_S:
        trace.passed("lifetime", f"{length}, and now is between them (60 s of skew).")
        return expires_s
    if enforce_48h:
        trace.refuse("lifetime", f"{length}, not less than 48 h.", stale)  # [R] the rule, [?] the answer
    trace.passed("lifetime", f"{length}.", "Google's reference demands less than 48 h; the real service has let longer ones pass.")
    return expires_s


def _find_key(trace: _Trace, token: CompactToken, provider: Provider, keys: KeysOf) -> VerificationKey:
    if token.kid is None:
        trace.refuse("key", "The header has no kid.", refusals.KEYS)  # [R] it must have one, [?] the answer
    try:
        known = KeySet.parse(provider.jwks_json) if provider.jwks_json else keys(provider.issuer_uri)
        key = known.find(token.kid)
    except (KeySetError, NeighbourError, UnknownKeyError) as error:
        trace.refuse("key", str(error), refusals.KEYS)
    source = "the provider's jwksJson" if provider.jwks_json else "the issuer's published keys"
    trace.passed("key", f"Key {quoted(key.kid)} is one of {source}.")
    return key


def _check_signature(trace: _Trace, token: CompactToken, key: VerificationKey) -> None:
    try:
        key.check(token)
    except (BadSignatureError, UnsupportedAlgorithmError) as error:
        trace.refuse("signature", error.what, refusals.SIGNATURE)
    trace.passed("signature", f"The signature is one of that key, {key.algorithm.name}.")


def _map(trace: _Trace, claims: UnverifiedClaims, provider: Provider) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {}
    for name, expression in provider.attribute_mapping.items():
        try:
            value = compile_mapping(expression).evaluate({"assertion": claims.members})
        except (EvaluationError, ExpressionError) as error:
            _refuse_valueless(trace, name, error, provider)
        attributes[name] = _typed(trace, name, value)
    if not attributes.get(SUBJECT):
        trace.refuse("mapping", "google.subject is empty.", refusals.attribute_type(SUBJECT))  # [?]
    _check_sizes(trace, attributes)
    trace.passed("mapping", "; ".join(f"{name} = {_shown(value)}" for name, value in attributes.items()) + ".")
    return attributes


def _refuse_valueless(trace: _Trace, name: str, error: EvaluationError | ExpressionError, provider: Provider) -> NoReturn:
    # [M] Without `sub`, a provider that has a condition answers as if the condition were false. That every attribute without a value does
    # the same, and what happens without a condition, is a guess. [?]
    refusal = refusals.CONDITION if provider.attribute_condition else refusals.attribute_type(name)
    trace.refuse("mapping", f"{name}: {error}", refusal)


def _typed(trace: _Trace, name: str, value: object) -> AttributeValue:
    if name == GROUPS and isinstance(value, list) and all(isinstance(entry, str) for entry in value):
        return tuple(value)
    if name == GROUPS or not isinstance(value, str):
        kind = "a list of other things" if isinstance(value, list) else type(value).__name__
        trace.refuse("mapping", f"{name} is {kind}.", refusals.attribute_type(name))
    return value


def _check_sizes(trace: _Trace, attributes: dict[str, AttributeValue]) -> None:
    sizes = {name: len("".join(value).encode()) for name, value in attributes.items()}
    if sizes[SUBJECT] > SUBJECT_LIMIT_BYTES:
        detail = f"google.subject has {sizes[SUBJECT]} bytes; {SUBJECT_LIMIT_BYTES} are allowed."
        trace.refuse("mapping", detail, refusals.SUBJECT_SIZE)
    total = sum(sizes.values())
    if total > ATTRIBUTES_LIMIT_BYTES:
        detail = f"The attributes have {total} bytes together; {ATTRIBUTES_LIMIT_BYTES} are allowed."
        trace.refuse("mapping", detail, refusals.ATTRIBUTES_SIZE)


def _check_condition(trace: _Trace, claims: UnverifiedClaims, attributes: dict[str, AttributeValue], provider: Provider) -> None:
    condition = provider.attribute_condition
    if not condition:
        trace.passed("condition", "The provider has none: every token that came this far is accepted.")
        return
    try:
        result = compile_condition(condition).evaluate(condition_values(claims.members, attributes))
    except (EvaluationError, ExpressionError) as error:
        trace.refuse("condition", str(error), refusals.CONDITION)
    if result is not True:
        trace.refuse("condition", f"{condition} is {_shown(result)}.", refusals.CONDITION)
    trace.passed("condition", f"{condition} is true.")


def _lifetime_left(trace: _Trace, expires_s: float, now: datetime) -> int | None:
    """Return the lifetime of the federated token; None where the real answer leaves `expires_in` out [M]."""
    left_s = min(int(expires_s) - int(now.timestamp()), _FEDERATED_LIMIT_S) - _FEDERATED_LOSS_S
    if left_s < 0:
        # [M] for 1 s left. That a token already expired, but within the skew, ends the same way is a guess. [?]
        trace.refuse("expiry", f"The federated token would have expired {-left_s} s ago.", refusals.INTERNAL)
    trace.passed("expiry", f"The federated token lives {left_s} s.", "" if left_s else "The answer has no expires_in; clients fail on it.")
    return left_s or None


def _accepted(trace: _Trace, attributes: dict[str, AttributeValue], expires_in_s: int | None) -> Judgement:
    texts = {name: value for name, value in attributes.items() if isinstance(value, str)}
    groups = attributes.get(GROUPS, ())
    return Judgement(
        checks=tuple(trace.checks),
        subject=texts[SUBJECT],
        groups=groups if isinstance(groups, tuple) else (groups,),
        attributes=texts,
        expires_in_s=expires_in_s,
    )


def _shown(value: object) -> str:
    return quoted(value) if isinstance(value, str) else quoted(repr(value)).strip("'\"")
