# SPDX-License-Identifier: Apache-2.0
"""How a handler asks who calls: of an ASGI scope or a WSGI environ, under a key that no header can reach."""

from collections.abc import Mapping
from typing import Any, Final

from podpass.errors import PodpassError
from podpass.verify.identity import Identity

KEY: Final = "podpass.identity"


class NoCallerError(PodpassError):
    """A handler asks who calls, and nobody can tell."""

    code = "guard.no-caller"


def caller(connection: Mapping[str, Any]) -> Identity | None:
    """Return who calls; None for a caller without a token, on a path that needs none.

    Raises:
        NoCallerError: No guard has seen this request.
    """
    if KEY not in connection:
        raise NoCallerError("Nobody has verified who calls.", "No guard has seen this request.", "Put the guard around the application.")
    found: Identity | None = connection[KEY]
    return found


def identity(connection: Mapping[str, Any]) -> Identity:
    """Return who calls, on a path that only known callers reach.

    Raises:
        NoCallerError: The caller has no token, or no guard has seen this request.
    """
    found = caller(connection)
    if found is None:
        raise NoCallerError(
            "The caller has not said who it is.", "The rule of this path admits allUsers.", "Use caller(), or admit allAuthenticatedUsers."
        )
    return found
