# SPDX-License-Identifier: Apache-2.0
"""Which requests came, from whom, and how they were answered: for tests, benchmarks and `doctor`-like curiosity.

Neither queries nor headers nor bodies are kept: they may hold tokens.
"""

import time
from collections import deque

from podpass.sandbox.google.message import Request
from podpass.sandbox.store import Json

_LIMIT = 20_000


class RequestLog:
    """The last requests, oldest first."""

    def __init__(self) -> None:
        self._entries: deque[Json] = deque(maxlen=_LIMIT)

    def add(self, request: Request, method_id: str | None, status: int, caller: str, started: float, rule: str | None = None) -> None:
        """Note one request; `started` is seconds since 1970, its end is now; `rule` is the rule of the faults that struck it."""
        self._entries.append(
            {
                "method": method_id,
                "verb": request.verb,
                "host": request.host,
                "path": request.path,
                "status": status,
                "caller": caller,
                "started": started,
                "finished": time.time(),
                **({"fault": rule} if rule else {}),
            }
        )

    def refuse(self, request: Request, status: int) -> None:
        """Note what never came to a service: another host, or three names that disagree."""
        self.add(request, None, status, "unknown", time.time())

    def entries(self) -> list[Json]:
        """Return the log."""
        return list(self._entries)
