# SPDX-License-Identifier: Apache-2.0
"""Single checks on the claims of a token, each usable alone. None of them looks at a signature or at a clock.

Every check raises or returns the value it has judged; none returns a bool that a caller could forget to look at.
"""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import msgspec

from podpass.errors import (
    ConfigError,
    MalformedTokenError,
    TokenExpiredError,
    TokenNotYetValidError,
    WrongAudienceError,
    WrongIssuerError,
)
from podpass.names.quoting import quoted

SKEW_LIMIT = timedelta(seconds=300)
DEFAULT_SKEW = timedelta(seconds=30)
# 9999-12-31T23:59:59Z, the last second that datetime, and so our messages, can name.
_LAST_MOMENT_S = 253_402_300_799
# Exactly these: bool is an int to Python, not to JSON.
_NUMBERS = frozenset({int, float})


class UnverifiedClaims(msgspec.Struct, frozen=True):
    """The payload of a token whose signature nobody has checked yet.

    Attributes:
        members: The decoded JSON object. Not to be changed.
        raw: The bytes it was decoded from.
    """

    members: dict[str, Any]
    raw: bytes

    def get(self, name: str) -> Any:  # noqa: ANN401 - whatever the issuer wrote
        """Return one claim as it was decoded, or None."""
        return self.members.get(name)

    def __repr__(self) -> str:
        return f"<unverified claims, {len(self.raw)} bytes>"


def check_skew(skew: timedelta) -> timedelta:
    """Refuse a clock skew that is negative or would keep a stale token alive for long.

    Raises:
        ConfigError: Under 0 s or over 300 s.
    """
    if timedelta(0) <= skew <= SKEW_LIMIT:
        return skew
    raise ConfigError(
        f"A clock skew of {skew.total_seconds():g} s is not accepted.",
        f"It is how far two clocks may differ, 0 s to {SKEW_LIMIT.total_seconds():g} s; every second of it lengthens a token's life.",
        "Set the clocks by NTP and use 60 s or less.",
        code="config.skew",
    )


def check_lifetime(claims: UnverifiedClaims, *, now: datetime, skew: timedelta) -> None:
    """Refuse a token used outside the period its issuer gave it.

    Judges `exp` and `nbf` only; the signature must already hold.

    Args:
        claims: Decoded payload. `exp` and `nbf` are seconds since 1970 UTC, whole or fractional; `nbf` may be absent.
        now: Moment of judging, timezone-aware. Callers pass their `Clock`.
        skew: How far the two clocks may differ, 0 s to 300 s.

    Raises:
        TokenExpiredError: `now - skew` is at or after `exp`.
        TokenNotYetValidError: `now + skew` is before `nbf`.
        MalformedTokenError: `exp` is missing, or either claim is not a number of seconds between the years 1970 and 9999.
        ConfigError: `skew` is out of range.

    Source:
        RFC 7519, 4.1.4 and 4.1.5. Stricter in one point: `exp` is required, as every projected token carries it.
    """
    now_s, skew_s = seconds_of(now), check_skew(skew).total_seconds()
    judge_end(claims, now_s, skew_s)
    judge_begin(claims, "nbf", now_s, skew_s)


def check_issued_at(claims: UnverifiedClaims, *, now: datetime, skew: timedelta) -> None:
    """Refuse a token that says it was issued in the future; `iat` may be absent.

    Raises:
        TokenNotYetValidError: `now + skew` is before `iat`.
        MalformedTokenError: `iat` is not a number of seconds between the years 1970 and 9999.
        ConfigError: `skew` is out of range.

    Source:
        RFC 7519, 4.1.6 only defines the claim. A token from the future has a wrong clock or a forger behind it, and Google refuses it too.
    """
    judge_begin(claims, "iat", seconds_of(now), check_skew(skew).total_seconds())


def judge_end(claims: UnverifiedClaims, now_s: float, skew_s: float) -> None:
    """Do the part of `check_lifetime` about `exp`, in seconds that are already checked."""
    expires_s = read_date(claims, "exp")
    if expires_s is None:
        raise MalformedTokenError(
            "The token has no `exp` claim.",
            "A token without an end is never accepted.",
            "Use a projected service account token; its issuer always sets exp.",
        )
    if now_s - skew_s >= expires_s:
        raise TokenExpiredError(
            f"The token expired at {_moment(expires_s)}, {now_s - expires_s:.0f} s ago.",
            f"Clocks may differ by {skew_s:g} s, no more.",
            "Read the token file anew for each request: kubelet replaces the token after 80 % of its life.",
        )


def judge_begin(claims: UnverifiedClaims, name: str, now_s: float, skew_s: float) -> None:
    """Do the part of both checks about `nbf` and `iat`, in seconds that are already checked."""
    begins_s = read_date(claims, name)
    if begins_s is not None and now_s + skew_s < begins_s:
        verb = "is valid from" if name == "nbf" else "was issued at"
        raise TokenNotYetValidError(
            f"The token {verb} {_moment(begins_s)}, {begins_s - now_s:.0f} s from now.",
            f"Clocks may differ by {skew_s:g} s, no more.",
            "Compare the clock of this machine with that of the issuer.",
        )


def judge_times(claims: UnverifiedClaims, now_s: float, skew_s: float) -> None:
    """Do `check_lifetime` and `check_issued_at`, in seconds that are already checked."""
    get, begun_s = claims.members.get, now_s + skew_s
    ends, valid, issued = get("exp"), get("nbf", 0), get("iat", 0)
    # What nearly every token says, in one look; whatever else it says is read one by one, and so is what is wrong.
    if (
        type(ends) is int
        and type(valid) is int
        and type(issued) is int
        and now_s - skew_s < ends <= _LAST_MOMENT_S
        and 0 <= valid <= begun_s <= _LAST_MOMENT_S
        and 0 <= issued <= begun_s
    ):
        return
    judge_end(claims, now_s, skew_s)
    judge_begin(claims, "nbf", now_s, skew_s)
    judge_begin(claims, "iat", now_s, skew_s)


def check_issuer(claims: UnverifiedClaims, issuer: str) -> str:
    """Refuse a token of another issuer; the comparison is byte for byte.

    Raises:
        WrongIssuerError: `iss` differs.
        MalformedTokenError: `iss` is missing or not a string.
    """
    found = claims.members.get("iss")
    return issuer if found and found == issuer else refuse_issuer(found, issuer)


def refuse_issuer(value: object, issuer: str) -> NoReturn:
    """Say why a token is refused whose `iss` claim is not `issuer`; None stands for no claim."""
    found = _text(value, "iss")
    raise WrongIssuerError(
        f"The token comes from issuer {quoted(found)}, not from {quoted(issuer)}.",
        "Issuers are compared byte for byte; a slash at the end counts." if found.rstrip("/") == issuer.rstrip("/") else "",
        "Configure the issuer exactly as the tokens carry it in `iss`, or send a token of the configured one.",
    )


def check_audience(claims: UnverifiedClaims, accepted: Collection[str]) -> str:
    """Refuse a token that is meant for somebody else.

    Args:
        claims: Decoded payload. `aud` is a string or a list of strings.
        accepted: The audiences that the caller answers to; with none of them every token is refused.

    Returns:
        The audience by which the token is accepted: the first of the token's that is in `accepted`.

    Raises:
        WrongAudienceError: None of the token's audiences is accepted.
        MalformedTokenError: `aud` is missing, or neither a string nor a list of strings.

    Source:
        RFC 7519, 4.1.3. Stricter in one point: `aud` is required.
    """
    only = claims.members.get("aud")
    if type(only) is str and only in accepted:
        return only
    audiences = read_audiences(claims)
    for audience in audiences:
        if audience in accepted:
            return audience
    meant_for = ", ".join(quoted(audience) for audience in audiences[:5]) or "nobody"
    wanted = " or ".join(quoted(audience) for audience in list(accepted)[:5]) or "anybody: no audience is accepted here"
    default_token = claims.get("iss") in audiences
    raise WrongAudienceError(
        f"The token is meant for {meant_for}, not for {wanted}.",
        "That audience is the cluster's own: the caller sent its default token." if default_token else "",
        f"Add a projected serviceAccountToken with audience {next(iter(accepted))!r} to the pod and send that one." if accepted else "",
    )


def check_subject(claims: UnverifiedClaims) -> str:
    """Refuse a token that does not say whom it speaks for.

    Raises:
        MalformedTokenError: `sub` is missing, empty or not a string.
    """
    return _text(claims.members.get("sub"), "sub")


def read_date(claims: UnverifiedClaims, name: str) -> float | None:
    """Read a NumericDate, seconds since 1970 UTC; None when the claim is absent.

    Raises:
        MalformedTokenError: Not a JSON number (a bool and a string of digits are none), or not between the years 1970 and 9999.

    Source:
        RFC 7519, 2 (NumericDate).
    """
    if name not in claims.members:
        return None
    value = claims.members[name]
    # The comparison is False for NaN.
    if type(value) not in _NUMBERS or not 0 <= value <= _LAST_MOMENT_S:
        raise MalformedTokenError(
            f"The token's `{name}` claim is not a moment.",
            "It is not a JSON number of seconds between the years 1970 and 9999.",
            "Have the issuer write it as a number, seconds since 1970 UTC.",
        )
    moment: float = value
    return moment


def read_audiences(claims: UnverifiedClaims) -> tuple[str, ...]:
    """Read `aud`, one string or a list of strings, as a tuple.

    Raises:
        MalformedTokenError: Missing, or something else.
    """
    value = claims.members.get("aud")
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and {str}.issuperset(map(type, value)):
        return tuple(value)
    raise MalformedTokenError(
        "The token's `aud` claim is missing." if value is None else "The token's `aud` claim is neither a string nor a list of strings.",
        "A token that names nobody as its audience could be used against everybody.",
        "Ask the cluster for a token with an audience: a projected serviceAccountToken with `audience`.",
    )


def seconds_of(now: datetime) -> float:
    """Return a moment as seconds since 1970 UTC.

    Raises:
        ValueError: It has no time zone, so that it would mean another moment on each machine.
    """
    if now.tzinfo is None:
        raise ValueError("now must be timezone-aware")
    return now.timestamp()


def _text(value: object, name: str) -> str:
    if isinstance(value, str) and value:
        return value
    raise MalformedTokenError(
        f"The token's `{name}` claim is {'missing' if value is None else 'empty' if value == '' else 'not a string'}.",
        "",
        f"Use a token whose issuer sets `{name}`; Kubernetes always does.",
    )


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
