# SPDX-License-Identifier: Apache-2.0
"""The record of decisions: one line of JSON each, through `logging`, under the name `podpass.guard.decisions`.

Denials and what audit mode let pass are warnings, the rest is information, so that by default only the former are seen. No line ever holds
a token, a header or a query.
"""

import logging
from datetime import datetime
from typing import Final

from podpass.clock import Clock
from podpass.guard.decide import Allow, Decision
from podpass.guard.incoming import Incoming
from podpass.names.secret import redact
from podpass.policy import InvokerPolicy

LOGGER: Final = logging.getLogger("podpass.guard.decisions")
_PATH_LIMIT_CHARS = 512


def log(request: Incoming, decision: Decision, policy: InvokerPolicy, clock: Clock) -> None:
    """Write down a decision, if anybody listens."""
    level = logging.INFO if isinstance(decision, Allow) and decision.audited is None else logging.WARNING
    if LOGGER.isEnabledFor(level):
        import json  # noqa: PLC0415 - for services that listen

        # ASCII alone: whatever a subject or path is made of, no line ends early, and no terminal obeys it.
        LOGGER.log(level, "%s", json.dumps(_record(request, decision, policy, clock.now()), separators=(",", ":")))


def _record(request: Incoming, decision: Decision, policy: InvokerPolicy, now: datetime) -> dict[str, object]:
    identity = decision.identity
    caller = {} if identity is None else {"issuer": identity.issuer_name, "subject": identity.subject}
    if identity is not None and identity.google is not None and identity.google.email is not None:
        caller["email"] = identity.google.email
    if isinstance(decision, Allow):
        outcome: dict[str, object] = {"verdict": "allow" if decision.audited is None else "audit"}
        code = None if decision.audited is None else decision.audited.value
    else:
        outcome, code = {"verdict": "deny", "status": decision.status}, decision.code
    return {
        "time": now.isoformat(timespec="milliseconds"),
        **outcome,
        "code": code,
        "reason": redact(decision.reason),
        "rule": decision.rule,
        "policy": policy.name,
        "caller": caller or None,
        "method": request.method[:32],
        "path": redact(request.raw_path[:_PATH_LIMIT_CHARS].decode("ascii", "backslashreplace")),
    }
