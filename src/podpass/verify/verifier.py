# SPDX-License-Identifier: Apache-2.0
"""The whole judgement of a token, and the only place where a `VerifiedToken` is made."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NoReturn, Protocol, final

import msgspec

from podpass.errors import ConfigError, UnsupportedAlgorithmError, WrongTokenTypeError
from podpass.names import Audience, Issuer
from podpass.names.quoting import quoted
from podpass.verify import claims
from podpass.verify.algorithms import DEFAULT_ALGORITHMS, rows
from podpass.verify.claims import DEFAULT_SKEW, UnverifiedClaims
from podpass.verify.compact import Envelope, Header
from podpass.verify.jwk import VerificationKey

_KINDS: Final = frozenset({"jwt", "application/jwt"})


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
    def begins_s(self) -> float:
        """The later one of `nbf` and `iat`, in seconds since 1970; 0 where the token has neither."""
        get = self._payload.members.get
        begins_s: float = max(get("nbf", 0), get("iat", 0))
        return begins_s

    @property
    def claims(self) -> dict[str, Any]:
        """All claims, decoded anew for each caller, so that nobody can change what another one reads."""
        decoded: dict[str, Any] = msgspec.json.decode(self._payload.raw)
        return decoded

    def __repr__(self) -> str:
        return f"<verified token of {quoted(self.subject)} for {quoted(self.audience)}, issuer {quoted(self.issuer)}>"


# The slots' own setters: the only way to fill a token, and faster than object.__setattr__.
_set_payload, _set_audience, _set_kid = (VerifiedToken.__dict__[name].__set__ for name in ("_payload", "audience", "kid"))


class Verifier:
    """Judge the tokens of one issuer that are meant for one service.

    Args:
        issuer: The only issuer whose tokens are accepted.
        audiences: What the service is called in `aud`; one of them must be in the token.
        keys: The issuer's keys.
        skew: How far the clocks of issuer and service may differ, 0 s to 300 s.
        algorithms: Which ones are accepted; a key set must have been read for the same ones. RS256 and ES256 unless told otherwise.

    Raises:
        ConfigError: No audience, a skew out of range, or an algorithm that podpass has not.
    """

    def __init__(
        self,
        *,
        issuer: Issuer,
        audiences: Collection[Audience],
        keys: KeySource,
        skew: timedelta = DEFAULT_SKEW,
        algorithms: Collection[str] = DEFAULT_ALGORITHMS,
    ) -> None:
        if not audiences:
            raise ConfigError(
                "A verifier without an audience would accept tokens that are meant for others.",
                "",
                "Name the audience of this service, such as its URL.",
                code="config.audience",
            )
        self._issuer = issuer.url
        # As nearly all issuers write it; a token without it is looked into, one with it may yet be another issuer's.
        self._issuer_member = b'"iss":' + msgspec.json.encode(issuer.url)
        self._audiences = tuple(audience.value for audience in audiences)
        self._keys = keys
        self._skew_s = claims.check_skew(skew).total_seconds()
        self._algorithms = frozenset(rows(algorithms))
        # The header that was accepted last; it never changes, nor do our algorithms.
        self._accepted: Header | None = None

    def verify(self, token: str | bytes | Envelope, *, now: datetime) -> VerifiedToken:
        """Accept a token, or refuse it with the reason.

        Steps. No key is looked for where the issuer is not mentioned, and no claim but `iss` is read before the signature holds:

        1. Take it apart: size, parts, base64url and JSON of the header.
        2. Its type and algorithm are accepted ones.
        3. It mentions its issuer, or names it in an unusual spelling; only that one's keys count.
        4. Its key is one of them, and is for the algorithm that the header names.
        5. Its signature holds.
        6. Its payload has one meaning only (ADR 0003).
        7. `iss`: it comes from the issuer.
        8. `exp`, `nbf`, `iat`: it is used in its time.
        9. `aud`: it is meant for this service.
        10. `sub`: it says whom it speaks for.

        Args:
            token: Compact form, without the word Bearer; or taken apart already, by who had to find its issuer.
            now: Moment of judging, timezone-aware.

        Raises:
            TokenError: Refused; the class and its code say by which step.
        """
        envelope = token if isinstance(token, Envelope) else Envelope(token)
        header = envelope.header
        if header is not self._accepted:  # nearly all tokens have the same
            self.check_header(header)
            self._accepted = header
        if not envelope.mentions(self._issuer_member) and (issuer := envelope.issuer()) != self._issuer:
            claims.refuse_issuer(issuer, self._issuer)
        key = self._keys.find(header.kid)
        key.check_algorithm(header.algorithm)
        key.check_signature(envelope.signature(), envelope.signing_input)
        payload = envelope.claims()
        claims.check_issuer(payload, self._issuer)
        claims.judge_times(payload, claims.seconds_of(now), self._skew_s)
        audience = claims.check_audience(payload, self._audiences)
        claims.check_subject(payload)
        return _seal(payload, audience, key.kid)

    def check_header(self, header: Header) -> None:
        """Refuse a header by which no key could make the token acceptable.

        Raises:
            UnsupportedAlgorithmError: Its algorithm is not accepted, whatever the key.
            WrongTokenTypeError: It is of another kind of token.
        """
        if header.algorithm not in self._algorithms:
            raise UnsupportedAlgorithmError(
                f"The token is signed by {quoted(header.algorithm)}.",
                f"{' and '.join(sorted(self._algorithms, reverse=True))} are accepted.",
                "Have the cluster sign with an RSA or a P-256 key.",
            )
        # RFC 8725, 3.11: a logout token or a DPoP proof is signed by the same key, and is no credential. RFC 7515, 4.1.9: "application/"
        # may be left out, and case does not count. Kubernetes writes no `typ`.
        if header.kind is not None and header.kind not in _KINDS:
            raise WrongTokenTypeError(
                f"The token is of type {quoted(header.members['typ'])}, not a JWT that names a caller.",
                "Issuers sign other things with the same key, such as logout tokens.",
                "Send the service account token.",
            )


def _seal(payload: UnverifiedClaims, audience: str, kid: str) -> VerifiedToken:
    token = VerifiedToken.__new__(VerifiedToken)
    _set_payload(token, payload)
    _set_audience(token, audience)
    _set_kid(token, kid)
    return token
