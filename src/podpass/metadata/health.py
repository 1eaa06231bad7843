# SPDX-License-Identifier: Apache-2.0
"""How the server is: `/livez`, `/readyz`, `/metrics`. Nothing here is about tokens, so it may be shown on the pod's address."""

from collections import Counter
from collections.abc import Callable
from typing import Final

from podpass.metadata.answer import Answer

PATHS: Final = frozenset({"/livez", "/readyz", "/metrics"})
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_REQUESTS = "podpass_metadata_requests_total"
_READY = "podpass_metadata_ready"


class Health:
    """Counts requests, and answers probes.

    Args:
        not_ready: Says why the pod's containers had better wait; None: they need not.
    """

    def __init__(self, not_ready: Callable[[], str | None]) -> None:
        self._not_ready = not_ready
        self._requests: Counter[tuple[str, int]] = Counter()

    def count(self, kind: str, status: int) -> None:
        """Count a request by what it asked for (`token`, `identity`, `value`, `refused`) and how it was answered."""
        self._requests[kind, status] += 1

    def answer(self, path: str) -> Answer:
        """Answer a probe."""
        reason = self._not_ready()
        if path == "/livez":
            return Answer.words(200, "alive")
        if path == "/readyz":
            return Answer.words(503, reason) if reason else Answer.words(200, "ready")
        if path == "/metrics":
            return Answer.make(200, _METRICS_TYPE, self._metrics(is_ready=reason is None).encode())
        return Answer.words(404, "404 page not found")

    def _metrics(self, *, is_ready: bool) -> str:
        lines = [f"# HELP {_REQUESTS} Requests, by what they asked for and the status of the answer.", f"# TYPE {_REQUESTS} counter"]
        lines += [f'{_REQUESTS}{{kind="{kind}",status="{status}"}} {count}' for (kind, status), count in sorted(self._requests.items())]
        lines += [
            f"# HELP {_READY} 1 when the first token is at hand, or will not be.",
            f"# TYPE {_READY} gauge",
            f"{_READY} {int(is_ready)}",
        ]
        return "".join(f"{line}\n" for line in lines)
