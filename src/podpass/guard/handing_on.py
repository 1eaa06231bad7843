# SPDX-License-Identifier: Apache-2.0
"""What the handler sees of the credential by which its caller came in.

Whoever holds a token can use it until it ends. A handler that only asks who calls has no need of it, and what it does not have it can
neither log nor lose. The header that is read before `Authorization` is the guard's alone: no handler sees it whole.
"""

from typing import Final

from podpass.guard.bearer import SERVERLESS, Headers, behind_bearer, header_of
from podpass.policy import HandlerToken, InvokerPolicy

# What Cloud Run writes there; programs that know it there know it here. [K]
_REMOVED: Final = b"SIGNATURE_REMOVED_BY_GOOGLE"

# The name of a header, and its value for the handler; None takes it away.
Edit = tuple[bytes, bytes | None]


def edit_for(headers: Headers, policy: InvokerPolicy) -> Edit | None:
    """Return what the policy wants changed in the headers of a request that was allowed.

    Args:
        headers: Names in lower case; with one credential at most.
        policy: By which it was allowed.
    """
    wish = policy.handler_token
    name = header_of(headers, serverless_first=policy.serverless_authorization)
    token = next((behind_bearer(value) for each, value in headers if each == name), None)
    if token is not None and wish is HandlerToken.UNSIGNED:
        return name, b"Bearer " + token.rpartition(b".")[0] + b"." + _REMOVED
    if name == SERVERLESS or (token is not None and wish is HandlerToken.NONE):
        return name, None
    return None  # no token, or another scheme, which is the handler's own business


def edited(headers: Headers, edit: Edit) -> list[tuple[bytes, bytes]]:
    """Return the headers for the handler."""
    changed, new = edit
    kept = [header for header in headers if header[0] != changed]
    return kept if new is None else [*kept, (changed, new)]
