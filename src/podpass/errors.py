# SPDX-License-Identifier: Apache-2.0
"""Every error that podpass raises on purpose.

The tree::

    PodpassError
      ConfigError            the operator's input is wrong; never retryable
        ExpressionError      a CEL expression cannot be compiled
      EvaluationError        a CEL expression has no value for the values given to it
      TokenError             a subject token is refused
        MalformedTokenError, WrongTokenTypeError, UnsupportedAlgorithmError, UnknownKeyError, BadSignatureError,
        WrongIssuerError, WrongAudienceError, TokenExpiredError, TokenNotYetValidError, TokenRevokedError
      RequestError           a request that no guard judges, since two readers could understand it differently
        AmbiguousPathError, AmbiguousMethodError, SeveralCredentialsError
      KeySetError            a JWKS cannot be used
      CredentialError        a credential cannot be had
        SourceUnavailableError, ExchangeRefusedError, ImpersonationRefusedError
      PlanError              a change is not made, or not wholly
        UnsafePlanError, DriftSincePlanError, PartlyAppliedError
      NeighbourError         network and protocol; retryable
        UnreachableError, UnexpectedAnswerError, RefusedError
        UnavailableError     not now; says when to ask again
          KeysUnavailableError, ReviewUnavailableError, GroupsUnavailableError, ExchangeUnavailableError

An error says what happened, why, and what to do next, one sentence or more each, built where it is raised. Shells decide the rest:
`cli` the exit code, `guard` the HTTP status. No message ever holds a token, a key or an `Authorization` header.
"""

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:  # importing it costs as much as all of our errors
    from concurrent.futures import Future


class PodpassError(Exception):
    """Say what happened, why, and what to do next, under a code that people can search for.

    Args:
        what: What happened, as one sentence that names the thing.
        why: The reason, with the value that was got and the value that was wanted. May be empty.
        next_step: What the reader can do about it. May be empty.
        code: A finer code than the class's own, below the same prefix (`config.subject-too-long`).
    """

    code: ClassVar[str] = "podpass"
    retryable: ClassVar[bool] = False
    _finer_code: str | None = None

    def __init__(self, what: str, why: str = "", next_step: str = "", *, code: str | None = None) -> None:
        self.args = (what, why, next_step)  # all that Exception.__init__ does, at less than half the price
        if code is not None:
            self._finer_code = code

    # Junk is refused thousands of times a second, and mostly nobody asks why.
    @property
    def what(self) -> str:
        """What happened."""
        what: str = self.args[0]
        return what

    @property
    def why(self) -> str:
        """The reason; may be empty."""
        why: str = self.args[1]
        return why

    @property
    def next_step(self) -> str:
        """What the reader can do about it; may be empty."""
        next_step: str = self.args[2]
        return next_step

    @property
    def full_code(self) -> str:
        """The finer code where there is one, else the class's own."""
        return self._finer_code or self.code

    def __str__(self) -> str:
        return " ".join(sentence for sentence in (self.what, self.why, self.next_step) if sentence)


class ConfigError(PodpassError):
    """The operator's input is wrong: a file, a flag, an environment variable."""

    code = "config"


class ExpressionError(ConfigError):
    """An expression is not CEL, or uses what is not there."""

    code = "config.expression"


class EvaluationError(PodpassError):
    """An expression has no value for the values given to it; whoever asked must refuse."""

    code = "expression.no-value"


class TokenError(PodpassError):
    """A token is refused."""

    code = "token"


class MalformedTokenError(TokenError):
    """Not a token of the strict form that podpass reads."""

    code = "token.malformed"


class WrongTokenTypeError(TokenError):
    """A signed token of another kind than one that names a caller."""

    code = "token.wrong-type"


class UnsupportedAlgorithmError(TokenError):
    """The token names an algorithm that its key does not have, or that nobody allowed."""

    code = "token.unsupported-algorithm"


class UnknownKeyError(TokenError):
    """No known key of the issuer has the token's key id."""

    code = "token.unknown-key"


class BadSignatureError(TokenError):
    """The signature does not belong to this header and payload under this key."""

    code = "token.bad-signature"


class WrongIssuerError(TokenError):
    """The token comes from another issuer than the configured one."""

    code = "token.wrong-issuer"


class WrongAudienceError(TokenError):
    """The token is meant for somebody else."""

    code = "token.wrong-audience"


class TokenExpiredError(TokenError):
    """The token's time is over."""

    code = "token.expired"


class TokenNotYetValidError(TokenError):
    """The token's time has not begun."""

    code = "token.not-yet-valid"


class TokenRevokedError(TokenError):
    """The API server that issued the token no longer stands by it: its pod or service account is gone."""

    code = "token.revoked"


class RequestError(PodpassError):
    """A request that two readers could understand differently, so that what is judged might not be what is served."""

    code = "request"


class AmbiguousPathError(RequestError):
    """A path with more than one reading."""

    code = "request.ambiguous-path"


class AmbiguousMethodError(RequestError):
    """A method that some readers write in capitals and others do not."""

    code = "request.ambiguous-method"


class SeveralCredentialsError(RequestError):
    """More than one credential, of which another reader could choose another one."""

    code = "request.several-credentials"


class KeySetError(PodpassError):
    """A JWKS cannot be used: not JSON, too large, or without one usable key."""

    code = "keys.unusable"


class CredentialError(PodpassError):
    """A credential cannot be had."""

    code = "credential"


class SourceUnavailableError(CredentialError):
    """The place where a subject token or the operator's credential is read from has none."""

    code = "credential.source-unavailable"


class ExchangeRefusedError(CredentialError):
    """The security token service refused the subject token."""

    code = "credential.exchange-refused"


class ImpersonationRefusedError(CredentialError):
    """IAM Credentials refused to issue a token for the service account."""

    code = "credential.impersonation-refused"


class PlanError(PodpassError):
    """A change is not made, or not wholly."""

    code = "plan"


class UnsafePlanError(PlanError):
    """The plan would take something away that nobody allowed it to."""

    code = "plan.unsafe"


class DriftSincePlanError(PlanError):
    """The world has changed since the plan was made."""

    code = "plan.drift-since-plan"


class PartlyAppliedError(PlanError):
    """Some changes were made, then one could not be; running apply again continues."""

    code = "plan.partly-applied"


class NeighbourError(PodpassError):
    """Another system could not be reached or did not answer as agreed."""

    code = "neighbour"
    retryable = True


class UnreachableError(NeighbourError):
    """No answer: name, connection, TLS or deadline."""

    code = "neighbour.unreachable"


class UnexpectedAnswerError(NeighbourError):
    """An answer outside the protocol."""

    code = "neighbour.unexpected-answer"


class RefusedError(NeighbourError):
    """The other system understood the request and refused it; asking again changes nothing."""

    code = "neighbour.refused"
    retryable = False


class UnavailableError(NeighbourError):
    """What a judgement needs cannot be had at this moment. Nobody is accused: the answer to a caller is 503, not 401.

    Args:
        what: As for every error.
        why: As for every error.
        next_step: As for every error.
        retry_after_s: When asking again may help.
        flight: What is under way to get it, for those who can wait; None where waiting is useless.
    """

    code = "neighbour.unavailable"

    def __init__(
        self, what: str, why: str = "", next_step: str = "", *, retry_after_s: float, flight: "Future[object] | None" = None
    ) -> None:
        super().__init__(what, why, next_step)
        self.retry_after_s = retry_after_s
        self.flight = flight


class KeysUnavailableError(UnavailableError):
    """The keys of an issuer cannot be had, or are too old to be relied on."""

    code = "keys.unavailable"


class GroupsUnavailableError(UnavailableError):
    """Nobody can tell now who is in a group."""

    code = "groups.unavailable"


class ReviewUnavailableError(UnavailableError):
    """The API server cannot be asked whether it stands by a token."""

    code = "review.unavailable"


class ExchangeUnavailableError(UnavailableError):
    """Google cannot be asked for a token now, and there is none left."""

    code = "exchange.unavailable"
