# SPDX-License-Identifier: Apache-2.0
"""The whole judgement of a token, and the only place where a `VerifiedToken` is made."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, Protocol, final

import msgspec

from podpass.errors import ConfigError, UnsupportedAlgorithmError, WrongTokenTypeError
from podpass.names import Audience, Issuer
from podpass.verify import claims, compact
from podpass.verify.algorithms import ALGORITHMS
from podpass.verify.claims import DEFAULT_SKEW, UnverifiedClaims, quoted
from podpass.verify.compact import CompactToken
from podpass.verify.jwk import VerificationKey


class KeySource(Protocol):
    """Where a verifier finds the keys of its issuer: a `KeySet`, or something that keeps one fresh."""

    def find(self, kid: str | None) -> VerificationKey:
        """Return the key that a token names, or the only one when it names none.

        Raises:
            UnknownKeyError: There is none.
        """
        ...


@final
class VerifiedToken:
    """A token whose signature, issuer, audience and lifetime hold. Made by `Verifier.verify` alone, and never changed.

    Attributes:
        audience: The audience by which it was accepted.
        kid: Id of the key that signed it.
    """

    __slots__ = ("_payload", "audience", "kid")

    audience: str
    kid: str
    _payload: UnverifiedClaims

    def __init__(self) -> None:
        raise TypeError("a VerifiedToken is made by Verifier.verify alone")

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a VerifiedToken does not change: {name}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a VerifiedToken does not change: {name}")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a VerifiedToken is not pickled: verify the token again where it is needed")

    @property
    def issuer(self) -> str:
        """The `iss` claim."""
        issuer: str = self._payload.members["iss"]
        return issuer

    @property
    def subject(self) -> str:
        """The `sub` claim."""
        subject: str = self._payload.members["sub"]
        return subject

    @property
    def audiences(self) -> tuple[str, ...]:
        """The `aud` claim, one or several."""
        return claims.read_audiences(self._payload)

    @property
    def expires_at(self) -> datetime:
        """The moment of `exp`, in UTC."""
        return datetime.fromtimestamp(self._payload.members["exp"], UTC)

    @property
    def claims(self) -> dict[str, Any]:
        """All claims, decoded anew for each caller, so that nobody can change what another one reads."""
        decoded: dict[str, Any] = msgspec.json.decode(self._payload.raw)
        return decoded

    def __repr__(self) -> str:
        return f"<verified token of {quoted(self.subject)} for {quoted(self.audience)}, issuer {quoted(self.issuer)}>"


class Verifier:
    """Judge the tokens of one issuer that are meant for one service.

    Args:
        issuer: The only issuer whose tokens are accepted.
        audiences: What the service is called in `aud`; one of them must be in the token.
        keys: The issuer's keys.
        skew: How far the clocks of issuer and service may differ, 0 s to 300 s.

    Raises:
        ConfigError: No audience, or a skew out of range.
    """

    def __init__(self, *, issuer: Issuer, audiences: Collection[Audience], keys: KeySource, skew: timedelta = DEFAULT_SKEW) -> None:
        if not audiences:
            raise ConfigError(
                "A verifier without an audience would accept tokens that are meant for others.",
                "",
                "Name the audience of this service, such as its URL.",
                code="config.audience",
            )
        self._issuer = issuer.url
        self._audiences = tuple(audience.value for audience in audiences)
        self._keys = keys
        self._skew_s = claims.check_skew(skew).total_seconds()

    def verify(self, token: str | bytes, *, now: datetime) -> VerifiedToken:
        """Accept a token, or refuse it with the reason.

        Steps. No key is looked for on behalf of junk, and no claim but `iss` is read before the signature holds:

        1. Take it apart: size, parts, base64url, JSON, header.
        2. Its type and algorithm are known ones.
        3. It comes from the issuer, whose keys are then the only ones that count.
        4. Its key is one of them, and is for the algorithm that the header names.
        5. Its signature holds.
        6. `exp`, `nbf`, `iat`: it is used in its time.
        7. `aud`: it is meant for this service.
        8. `sub`: it says whom it speaks for.

        Args:
            token: Compact form, without the word Bearer.
            now: Moment of judging, timezone-aware.

        Raises:
            TokenError: Refused; the class and its code say by which step.
        """
        parsed = compact.parse(token)
        _check_header(parsed)
        claims.check_issuer(parsed.payload, self._issuer)
        key = self._keys.find(parsed.kid)
        key.check(parsed)
        now_s = claims.seconds_of(now)
        claims.judge_end(parsed.payload, now_s, self._skew_s)
        claims.judge_begin(parsed.payload, "nbf", now_s, self._skew_s)
        claims.judge_begin(parsed.payload, "iat", now_s, self._skew_s)
        audience = claims.check_audience(parsed.payload, self._audiences)
        claims.check_subject(parsed.payload)
        return _seal(parsed.payload, audience, key.kid)


def _check_header(token: CompactToken) -> None:
    if token.algorithm not in ALGORITHMS:
        raise UnsupportedAlgorithmError(
            f"The token is signed by {quoted(token.algorithm)}.",
            f"podpass verifies {' and '.join(ALGORITHMS)}.",
            "Have the cluster sign with an RSA or a P-256 key.",
        )
    # RFC 8725, 3.11: a logout token or a DPoP proof is signed by the same key, and is no credential. RFC 7515, 4.1.9: "application/" may be
    # left out, and case does not count. Kubernetes writes no `typ`.
    kind = token.header.get("typ")
    if kind is not None and kind.lower() not in {"jwt", "application/jwt"}:
        raise WrongTokenTypeError(
            f"The token is of type {quoted(kind)}, not a JWT that names a caller.",
            "Issuers sign other things with the same key, such as logout tokens.",
            "Send the service account token.",
        )


def _seal(payload: UnverifiedClaims, audience: str, kid: str) -> VerifiedToken:
    token = VerifiedToken.__new__(VerifiedToken)
    object.__setattr__(token, "_payload", payload)
    object.__setattr__(token, "audience", audience)
    object.__setattr__(token, "kid", kid)
    return token
