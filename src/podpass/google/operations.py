# SPDX-License-Identifier: Apache-2.0
"""Long-running operations: most of podpass's are done when they are answered, some are not."""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from podpass.errors import UnreachableError
from podpass.google.fault import GoogleFault, GoogleRefusedError
from podpass.google.rest import GoogleClient, Json, Request
from podpass.names.secret import redact

# Enabling an API takes up to a minute or two; pools and providers are there in seconds. [K]
FINISH_WITHIN: Final = timedelta(minutes=5)
_FIRST = timedelta(seconds=1)


def finish(client: GoogleClient, service: str, version: str, operation: Json, doing: str) -> Json:
    """Wait for an operation and return its response.

    Raises:
        GoogleRefusedError: It ended with an error.
        UnreachableError: It did not end within `FINISH_WITHIN`.
    """
    attempts = replace(client.pacing, within=FINISH_WITHIN, first=_FIRST).start()
    is_first_look = True
    while not operation.get("done"):
        name = operation.get("name")
        # Most operations are done by the time that they can be asked for: the first question waits for nothing.
        if not isinstance(name, str) or not (is_first_look or attempts.pause()):
            raise UnreachableError(
                f"The operation to {doing} has not ended.",
                f"It was followed for {FINISH_WITHIN.total_seconds():.0f} s." if name else "Google gave it no name to ask for.",
                "Run the command again; it continues where it stopped.",
            )
        is_first_look = False
        operation = client.call(Request("GET", service, f"/{version}/{name}", f"follow the operation to {doing}"))
    error = operation.get("error")
    if isinstance(error, dict):
        raise GoogleRefusedError(_fault(error), doing)
    response = operation.get("response")
    return response if isinstance(response, dict) else {}


# google.rpc.Code, as far as it comes.
_CODES = {
    3: (400, "INVALID_ARGUMENT"),
    5: (404, "NOT_FOUND"),
    6: (409, "ALREADY_EXISTS"),
    7: (403, "PERMISSION_DENIED"),
    9: (400, "FAILED_PRECONDITION"),
    10: (409, "ABORTED"),
}


def _fault(error: Json) -> GoogleFault:
    code, status = _CODES.get(int(error.get("code") or 0), (500, "UNKNOWN"))
    details = tuple(detail for detail in error.get("details", []) if isinstance(detail, dict))
    return GoogleFault(code, status, redact(str(error.get("message") or "")), details=details)
