# SPDX-License-Identifier: Apache-2.0
"""How the guard is: `/livez`, `/readyz`, `/metrics`, to be served beside the guarded application, on a port of their own."""

from podpass.guard.answer import Answer
from podpass.guard.guard import Guard

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def answer(guard: Guard, method: str, path: str) -> Answer:
    """Answer a probe. Alive is whoever answers; ready is whoever has a policy and the keys of every issuer."""
    if method not in {"GET", "HEAD"}:
        return Answer.of_json(405, {"error": "method_not_allowed"}, ("allow", "GET, HEAD"))
    if path == "/livez":
        return Answer.of_json(200, {"status": "alive"})
    reasons = guard.not_ready()
    if path == "/readyz":
        return Answer.of_json(503 if reasons else 200, {"status": "not ready" if reasons else "ready", "reasons": reasons})
    if path != "/metrics":
        return Answer.of_json(404, {"error": "not_found"})
    body = guard.metrics.render(is_ready=not reasons).encode()
    return Answer(200, (("content-type", _METRICS_TYPE), ("content-length", str(len(body)))), body)
