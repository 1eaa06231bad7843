# SPDX-License-Identifier: Apache-2.0
"""Why there is no token, in the words that GKE has for it, followed by what to do.

The status is chosen for the clients: a 4xx ends their attempts at once, a 503 is tried again for some seconds. [O]
"""

from math import ceil

from podpass.errors import ImpersonationRefusedError, PodpassError, SourceUnavailableError, UnavailableError
from podpass.google.fault import FaultKind
from podpass.metadata.answer import Answer

_PAUSE_S = 5
_NOT_FOUND = f".{FaultKind.NOT_FOUND}"


def refusal(error: PodpassError, thing: str) -> Answer:
    """Return the answer to a request for a token that cannot be had.

    Args:
        error: Why.
        thing: What was asked for: `access token`, `identity token`, `account`.
    """
    if error.retryable or isinstance(error, SourceUnavailableError):
        pause_s = ceil(error.retry_after_s) if isinstance(error, UnavailableError) else _PAUSE_S
        return Answer.words(503, _words(error, thing), ("retry-after", str(max(pause_s, 1))))
    is_unknown = isinstance(error, ImpersonationRefusedError) and error.full_code.endswith(_NOT_FOUND)
    return Answer.words(404 if is_unknown else 403, _words(error, thing))


def _words(error: PodpassError, thing: str) -> str:
    first = f"Unable to generate {thing}; {error.what}"
    if isinstance(error, ImpersonationRefusedError):
        status = "404 Not Found" if error.full_code.endswith(_NOT_FOUND) else "403 Forbidden"
        first = f"Unable to generate {thing}; IAM returned {status}: {error.why}\n{error.what}"
        return "\n".join(part for part in (first, error.next_step, f"[{error.full_code}]") if part)
    return "\n".join(part for part in (first, error.why, error.next_step, f"[{error.full_code}]") if part)
