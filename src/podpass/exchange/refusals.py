# SPDX-License-Identifier: Apache-2.0
"""What the two services say when they do not give a token: why, what cures it, and whether asking later may help."""

import json
from typing import Final

from podpass.errors import ExchangeRefusedError, ExchangeUnavailableError, ImpersonationRefusedError, NeighbourError, UnexpectedAnswerError
from podpass.exchange.wire import Answer
from podpass.google.backoff import retry_after_s
from podpass.google.fault import FaultKind, GoogleFault
from podpass.names import GoogleServiceAccount, ProviderName
from podpass.names.secret import redact

STS: Final = "the security token service"
IAM_CREDENTIALS: Final = "IAM Credentials"
_DESCRIPTION_LIMIT_CHARS = 600
_CODE_LIMIT_CHARS = 64
_SERVER_ERROR = 500
_PASSING = frozenset({408, 429})


def unavailable(answer: Answer, who: str, doing: str, words: str = "") -> ExchangeUnavailableError | None:
    """Return the error for an answer that accuses nobody: a 5xx, a 429, a 408; None for every other one.

    Args:
        answer: The answer.
        who: Whose it is.
        doing: What was asked, after "to".
        words: What it says, where that is not in the form of Google's APIs.
    """
    if answer.status < _SERVER_ERROR and answer.status not in _PASSING:
        return None
    fault = GoogleFault.parse(answer.status, answer.content)
    return ExchangeUnavailableError(
        f"{who[0].upper()}{who[1:]} could not {doing} ({fault.code} {fault.status}).",
        words or fault.sentence,
        "Ask again in a moment.",
        retry_after_s=retry_after_s(answer.retry_after),
    )


def exchange_refused(answer: Answer, provider: ProviderName) -> NeighbourError | ExchangeRefusedError:
    """Return the error for a subject token that was not exchanged."""
    code, description = _oauth(answer)
    if error := unavailable(answer, STS, "exchange the subject token", description):
        return error
    fault = GoogleFault.parse(answer.status, answer.content)
    if fault.kind is FaultKind.API_DISABLED:
        what = f"Google's security token service refused the subject token ({fault.code} {fault.status})."
        cure = f"Run `{fault.enabling}`, wait a minute, and repeat."
        return ExchangeRefusedError(what, fault.sentence, cure, code=f"credential.exchange-refused.{fault.kind}")
    if code is None:
        words = f"It answered {answer.status} without an OAuth error."
        return UnexpectedAnswerError("The security token service did not exchange the subject token.", words, "Try again in a minute.")
    what = f"Google's security token service refused the subject token ({answer.status} {code})."
    return ExchangeRefusedError(what, description, _cure(code, description, provider), code=f"credential.exchange-refused.{_kebab(code)}")


def _oauth(answer: Answer) -> tuple[str | None, str]:
    """Read an error of OAuth (RFC 6749, 5.2): its code, if it is one, and its description."""
    try:
        body = json.loads(answer.content)
    except (ValueError, RecursionError):
        body = None
    code = body.get("error") if isinstance(body, dict) else None
    if not isinstance(body, dict) or not isinstance(code, str) or not code:
        return None, ""
    return redact(code)[:_CODE_LIMIT_CHARS], redact(str(body.get("error_description") or ""))[:_DESCRIPTION_LIMIT_CHARS]


def _kebab(code: str) -> str:
    return "".join(character if character.isalnum() else "-" for character in code.lower())[:40]


# The texts are Google's: google-behaviour: STS. [M]
_CURES = {
    "does not match the expected audience": "Ask for a token with the audience {audience}; the provider's allowed audiences must admit it.",
    "does not match the expected one in config": "The cluster's issuer is not the provider's: run `podpass plan` to compare them.",
    "is stale to sign-in": "The token is too old, or the clocks differ: take a new one, and compare the cluster's clock with the world's.",
    "Unable to verify the ID Token signature": "The provider's keys are not the cluster's: `podpass plan` shows the difference.",
    "Error connecting to the given credential's issuer": "Google cannot have the keys, or lacks this one: run `podpass doctor`.",
    "rejected by the attribute condition": "Add the account to the workloads of the federation file and apply, or change the condition.",
    "exceeds the 127 bytes limit": "Map google.subject to something shorter.",
    "This value should be the full resource name": "The audience must be {audience}.",
    "Unable to parse the ID Token": "What was sent is no token: check where it is read from.",
}


def _cure(code: str, description: str, provider: ProviderName) -> str:
    if code == "invalid_target":
        return f"Check that {provider} exists and is neither disabled nor deleted: run `podpass plan`."
    for words, cure in _CURES.items():
        if words in description:
            return cure.format(audience=provider.audience)
    return "Run `podpass doctor`; it walks every check of the exchange."


def impersonation_refused(
    answer: Answer, account: GoogleServiceAccount, thing: str, role: str
) -> ExchangeUnavailableError | ImpersonationRefusedError:
    """Return the error for something that IAM Credentials did not do as an account.

    Args:
        answer: What it said.
        account: The account.
        thing: What was asked for: `a token`, `an ID token`, `a signature`.
        role: The least role with the permission for it.
    """
    if error := unavailable(answer, IAM_CREDENTIALS, f"give {thing} of {account}"):
        return error
    fault = GoogleFault.parse(answer.status, answer.content)
    cures = {
        FaultKind.PERMISSION_DENIED: f"Grant the workload's principal {role} on it; a new grant takes minutes.",
        FaultKind.NOT_FOUND: "Check that the account exists; a new one takes a minute to be known.",
        FaultKind.API_DISABLED: f"Run `{fault.enabling}`, wait a minute, and repeat.",
    }
    return ImpersonationRefusedError(
        f"Google refused {thing} of the service account {account} ({fault.code} {fault.status}).",
        fault.sentence,
        cures.get(fault.kind, "Run `podpass doctor`; it walks every check of the exchange."),
        code=f"credential.impersonation-refused.{fault.kind}",
    )
