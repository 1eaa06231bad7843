# SPDX-License-Identifier: Apache-2.0
"""Google's error bodies, understood: which kind of refusal it is, what it names, and what cures it.

The shapes and texts are those of google-behaviour: errors: `{"error": {"code", "status", "message", "details"}}` of the newer APIs and
`{"error": {"code", "message", "errors": [{"reason"}]}}` of Cloud Storage.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from podpass.errors import RefusedError, UnreachableError
from podpass.names.secret import redact

_MESSAGE_LIMIT_CHARS = 600
_SERVER_ERROR = 500
_PERMISSION = re.compile(r"[Pp]ermission '?([a-z][A-Za-z]*(?:\.[A-Za-z]+){2,})'?|does not have ([a-z][A-Za-z]*(?:\.[A-Za-z]+){2,}) access")
_CONSTRAINT = re.compile(r"constraints/[A-Za-z0-9.]+")
# Statuses, reasons, names of services, projects and permissions. What else stands in their place is not repeated: it would end in errors
# and in commands that people are told to run.
_WORD = re.compile(r"[A-Za-z0-9_./:@-]{1,200}")
_SERVICE = re.compile(r"\b([a-z]+\.googleapis\.com)\b")
# What an HTTP status means to Google where the body has no `status` (Cloud Storage, proxies).
_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "CONFLICT",
    412: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class FaultKind(StrEnum):
    """What a caller may want to tell apart."""

    UNAUTHENTICATED = "unauthenticated"
    API_DISABLED = "api-disabled"
    SCOPE = "scope-insufficient"
    PERMISSION_DENIED = "permission-denied"
    NOT_FOUND = "not-found"
    ALREADY_EXISTS = "already-exists"
    ABORTED = "aborted"
    ORG_POLICY = "organization-policy"
    FAILED_PRECONDITION = "failed-precondition"
    INVALID = "invalid-argument"
    QUOTA = "quota"
    UNAVAILABLE = "unavailable"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class GoogleFault:
    """One refusal, as Google worded it.

    Attributes:
        code: HTTP status.
        status: Google's word for it: `PERMISSION_DENIED`; that of the HTTP status where there is no such word.
        message: Google's sentence, without anything that looks like a token.
        reason: The finer reason: `SERVICE_DISABLED`, `notFound`; may be empty.
        metadata: Of the detail that carries the reason: `permission`, `service`, `consumer`.
        details: All details, for callers with finer questions.
    """

    code: int
    status: str
    message: str
    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    details: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def parse(cls, code: int, body: bytes) -> Self:
        """Read an error body; of one that is not Google's only the status is kept."""
        error = _error_object(body)
        if error is None:
            return cls(code, _STATUS.get(code, "UNKNOWN"), "The answer has no error body in Google's form.")
        details = tuple(detail for detail in _list(error.get("details")) if isinstance(detail, dict))
        info = next((detail for detail in details if isinstance(detail.get("reason"), str)), {})
        first = next((item for item in _list(error.get("errors")) if isinstance(item, dict)), {})
        metadata = info.get("metadata")
        return cls(
            code=code,
            status=_word(error.get("status")) or _STATUS.get(code, "UNKNOWN"),
            message=redact(str(error.get("message") or ""))[:_MESSAGE_LIMIT_CHARS],
            reason=_word(info.get("reason")) or _word(first.get("reason")),
            metadata={str(key): word for key, value in metadata.items() if (word := _word(value))} if isinstance(metadata, dict) else {},
            details=details,
        )

    @property
    def kind(self) -> FaultKind:
        """Classify it, by reason first, then by status."""
        if self.constraint or any("PreconditionFailure" in str(detail.get("@type")) and _constraint(detail) for detail in self.details):
            return FaultKind.ORG_POLICY
        if self.reason in _KIND_OF_REASON:
            return _KIND_OF_REASON[self.reason]
        if self.status == "CONFLICT":
            # Cloud Storage says 409 both for a name that is taken and for a bucket that is not empty. [M]
            return FaultKind.FAILED_PRECONDITION if "not empty" in self.message else FaultKind.ALREADY_EXISTS
        if self.status == "PERMISSION_DENIED" and "has not been used in project" in self.message:
            return FaultKind.API_DISABLED
        return _KIND_OF_STATUS.get(self.status, FaultKind.UNAVAILABLE if self.code >= _SERVER_ERROR else FaultKind.OTHER)

    @property
    def sentence(self) -> str:
        """Google's words, with the full stop that they often lack."""
        return f"{self.message.rstrip('.')}." if self.message else ""

    @property
    def permission(self) -> str | None:
        """The permission that is missing, if Google says which."""
        found = _PERMISSION.search(self.message)
        return self.metadata.get("permission") or (found and (found[1] or found[2])) or None

    @property
    def service(self) -> str | None:
        """The API that is not enabled, as `iam.googleapis.com`."""
        found = _SERVICE.search(self.message)
        return self.metadata.get("service") or (found[1] if found else None)

    @property
    def enabling(self) -> str:
        """The command that enables the API that is off."""
        project = self.metadata.get("consumer", "").removeprefix("projects/")
        return f"gcloud services enable {self.service or 'the API'}{f' --project {project}' if project else ''}"

    @property
    def violation(self) -> str:
        """What an organization policy says that it does not admit, with the value; may be empty."""
        violations = (each for detail in self.details for each in _list(detail.get("violations")) if isinstance(each, dict))
        return next((redact(str(each["description"])) for each in violations if each.get("description")), "")

    @property
    def constraint(self) -> str | None:
        """The organization policy that forbids it."""
        texts = (found for detail in self.details for found in _constraint(detail))
        found = _CONSTRAINT.search(self.message) if self.status == "FAILED_PRECONDITION" else None
        return next(texts, found[0] if found else None)


_KIND_OF_REASON = {
    "SERVICE_DISABLED": FaultKind.API_DISABLED,
    "accessNotConfigured": FaultKind.API_DISABLED,
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT": FaultKind.SCOPE,
    "insufficientPermissions": FaultKind.SCOPE,
    "RATE_LIMIT_EXCEEDED": FaultKind.QUOTA,
    "rateLimitExceeded": FaultKind.QUOTA,
    "userRateLimitExceeded": FaultKind.QUOTA,
    "conditionNotMet": FaultKind.ABORTED,
}
_KIND_OF_STATUS = {
    "UNAUTHENTICATED": FaultKind.UNAUTHENTICATED,
    "PERMISSION_DENIED": FaultKind.PERMISSION_DENIED,
    "NOT_FOUND": FaultKind.NOT_FOUND,
    "ALREADY_EXISTS": FaultKind.ALREADY_EXISTS,
    "ABORTED": FaultKind.ABORTED,
    "FAILED_PRECONDITION": FaultKind.FAILED_PRECONDITION,
    "INVALID_ARGUMENT": FaultKind.INVALID,
    "RESOURCE_EXHAUSTED": FaultKind.QUOTA,
    "UNAVAILABLE": FaultKind.UNAVAILABLE,
    "DEADLINE_EXCEEDED": FaultKind.UNAVAILABLE,
    "INTERNAL": FaultKind.UNAVAILABLE,
}


def _word(value: object) -> str:
    """Return a word of Google's API; nothing in place of what is none, or looks like a token."""
    return value if isinstance(value, str) and _WORD.fullmatch(value) and redact(value) == value else ""


def _error_object(body: bytes) -> dict[str, Any] | None:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    error = content.get("error") if isinstance(content, dict) else None
    return error if isinstance(error, dict) else None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _constraint(detail: Mapping[str, Any]) -> Iterator[str]:
    for violation in _list(detail.get("violations")):
        if isinstance(violation, dict) and (found := _CONSTRAINT.search(json.dumps(violation))):
            yield found[0]


class GoogleRefusedError(RefusedError):
    """Google understood a request and refused it.

    Attributes:
        fault: What Google said.
        doing: What was tried, after "to": `create the pool demo`.
    """

    def __init__(self, fault: GoogleFault, doing: str, *, permission: str | None = None) -> None:
        self.fault = fault
        self.doing = doing
        why, next_step = _explanation(fault, fault.permission or permission)
        what = f"Google refused to {doing} ({fault.code} {fault.status})."
        super().__init__(what, why, next_step, code=f"neighbour.google-{fault.kind}")

    @property
    def kind(self) -> FaultKind:
        """The fault's kind."""
        return self.fault.kind


class GoogleUnavailableError(UnreachableError):
    """Google answered that it cannot answer now, again and again until the deadline."""

    def __init__(self, fault: GoogleFault, doing: str, attempts: int) -> None:
        self.fault = fault
        self.doing = doing
        super().__init__(
            f"Google could not {doing} ({fault.code} {fault.status}).",
            f"It said so {attempts} times: {fault.message}" if attempts > 1 else fault.message,
            "Wait some minutes and run the command again; it continues where it stopped.",
            code=f"neighbour.google-{fault.kind}",
        )


def _explanation(fault: GoogleFault, permission: str | None) -> tuple[str, str]:
    words = fault.sentence
    match fault.kind:
        case FaultKind.UNAUTHENTICATED:
            return words, "Log in again: `gcloud auth application-default login`."
        case FaultKind.API_DISABLED:
            return f"{fault.service or 'The API'} is not enabled. {words}", f"Run `{fault.enabling}`, wait a minute, and repeat."
        case FaultKind.SCOPE:
            return words, "The credentials are limited to other scopes; use ones with https://www.googleapis.com/auth/cloud-platform."
        case FaultKind.PERMISSION_DENIED:
            lacking = f"The caller lacks {permission}. " if permission else ""
            return (
                f"{lacking}{words}",
                "Ask who administers the resource for a role with that permission, and check that the resource exists.",
            )
        case FaultKind.ORG_POLICY:
            what = f"The organization policy {fault.constraint} forbids it. " if fault.constraint else ""
            return f"{what}{fault.violation or words}", "Ask who keeps the organization's policies for an exception."
        case FaultKind.ABORTED:
            return f"Somebody else changed it at the same time. {words}", "Run the command again."
        case FaultKind.QUOTA:
            return words, "Wait a minute and run the command again."
        case FaultKind.FAILED_PRECONDITION if fault.status == "FAILED_PRECONDITION":
            return words, "It may have been changed or deleted meanwhile: look what there is with `podpass plan`."
        case FaultKind.INVALID:
            return words, "Correct in the federation file what Google does not take."
        case _:
            return words, ""
