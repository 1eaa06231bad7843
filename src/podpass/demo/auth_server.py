# SPDX-License-Identifier: Apache-2.0
"""The second article's server: `/` is exposed, `/private` is guarded.

Run by the sandbox for the image `podpass.dev/demo/auth-server`. It listens on loopback, at the port of PORT. Who may call is said by
ID_ISSUER and JWT_AUDIENCE, as in the article, or by PODPASS_POLICY. It serves, not ready, while the issuer cannot be reached; with
--fail-fast it ends instead. CLOCK_AHEAD_S moves its clock, for the demo: tokens last ten minutes
at least, and nobody wants to wait that long to see one refused.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from podpass.clock import SystemClock
from podpass.errors import PodpassError
from podpass.guard import Guard, Wiring
from podpass.guard.asgi import GuardMiddleware, identity


class ShiftedClock:
    """The machine's clock, some time ahead."""

    def __init__(self, ahead: timedelta) -> None:
        self._ahead = ahead

    def now(self) -> datetime:
        """Return the moment that comes in a while."""
        return SystemClock().now() + self._ahead


async def exposed(_: Request) -> PlainTextResponse:
    """Greet anybody."""
    return PlainTextResponse("Hello, whoever you are.\n")


async def private(scope: Scope, receive: Receive, send: Send) -> None:
    """Greet a caller that the guard has let through, by name."""
    await PlainTextResponse(f"Hello, {identity(scope).subject}.\n")(scope, receive, send)


def application(guard: Guard) -> Starlette:
    """Return the server."""
    return Starlette(routes=[Route("/", exposed), Route("/private", GuardMiddleware(private, guard))])


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted; return 1, and say why, if the guard cannot be made, or has no keys where that matters."""
    parser = argparse.ArgumentParser(prog="auth-server")
    parser.add_argument("--fail-fast", action="store_true", help="end if the issuers' keys cannot be had")
    fails_fast: bool = parser.parse_args(arguments).fail_fast
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stdout)
    # Every decision is a line of the pod's log.
    logging.getLogger("podpass.guard.decisions").setLevel(logging.INFO)
    clock = ShiftedClock(timedelta(seconds=float(os.environ.get("CLOCK_AHEAD_S", "0"))))
    try:
        guard = Guard.from_env(wiring=Wiring(clock=clock))
        if fails_fast:
            guard.wait_until_ready()
    except PodpassError as error:
        print(error, flush=True)
        return 1
    uvicorn.run(application(guard), host="127.0.0.1", port=int(os.environ["PORT"]), log_config=None, access_log=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
