# SPDX-License-Identifier: Apache-2.0
"""Kubernetes' Status objects, understood: which kind of refusal it is and what cures it.

Errors of our own, since the client library's carry the whole request, and with it the `Authorization` header.
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from podpass.errors import RefusedError
from podpass.names.secret import redact

_MESSAGE_LIMIT_CHARS = 600
_REASON_LIMIT_CHARS = 64


class FaultKind(StrEnum):
    """What a caller may want to tell apart."""

    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not-found"
    ALREADY_EXISTS = "already-exists"
    CONFLICT = "conflict"
    INVALID = "invalid"
    BUSY = "busy"
    OTHER = "other"


_KINDS = {
    400: FaultKind.INVALID,
    401: FaultKind.UNAUTHENTICATED,
    403: FaultKind.FORBIDDEN,
    404: FaultKind.NOT_FOUND,
    409: FaultKind.CONFLICT,
    422: FaultKind.INVALID,
    429: FaultKind.BUSY,
}


@dataclass(frozen=True, slots=True)
class KubeFault:
    """One refusal.

    Attributes:
        code: HTTP status.
        reason: Kubernetes' word for it: `NotFound`, `AlreadyExists`, `Conflict`; empty where the body is no Status.
        message: Kubernetes' sentence, without anything that looks like a token.
    """

    code: int
    reason: str
    message: str

    @classmethod
    def parse(cls, code: int, body: bytes) -> Self:
        """Read a Status; of another body only the status code is kept."""
        try:
            content: Any = json.loads(body)
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict) or content.get("kind") != "Status":
            return cls(code, "", "The answer is not a Status of Kubernetes.")
        message = redact(str(content.get("message") or ""))[:_MESSAGE_LIMIT_CHARS]
        return cls(code, redact(str(content.get("reason") or ""))[:_REASON_LIMIT_CHARS], message)

    @property
    def kind(self) -> FaultKind:
        """Classify it. 409 has two meanings, which only the reason tells apart."""
        return FaultKind.ALREADY_EXISTS if self.reason == "AlreadyExists" else _KINDS.get(self.code, FaultKind.OTHER)


class KubeRefusedError(RefusedError):
    """The API server understood a request and refused it.

    Attributes:
        fault: What it said.
        doing: What was tried, after "to".
    """

    def __init__(self, fault: KubeFault, doing: str, context: str) -> None:
        self.fault = fault
        self.doing = doing
        label = f"{fault.code} {fault.reason}".strip()
        what = f"The cluster (context {context!r}) refused to {doing} ({label})."
        super().__init__(what, _sentence(fault.message), _cure(fault, context), code=f"neighbour.kubernetes-{fault.kind}")

    @property
    def kind(self) -> FaultKind:
        """The fault's kind."""
        return self.fault.kind


def _sentence(text: str) -> str:
    return f"{text.rstrip('.')}." if text else ""


def _cure(fault: KubeFault, context: str) -> str:
    match fault.kind:
        case FaultKind.UNAUTHENTICATED:
            return f"The credentials of context {context!r} are expired or of another cluster: log in again, or fetch the kubeconfig anew."
        case FaultKind.FORBIDDEN:
            role = "a role that allows it (docs/reference/operator-role.md has one)"
            return f"Ask the cluster's administrator for {role}, or name another context in spec.cluster.context."
        case FaultKind.BUSY:
            return "Wait a moment and run the command again."
        case FaultKind.CONFLICT:
            return "Somebody else changed it at the same time: run the command again."
        case _:
            return ""
