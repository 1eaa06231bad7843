# SPDX-License-Identifier: Apache-2.0
"""Kubernetes' Status: what the API server says instead of an object, in the words of the real one."""

import json
from dataclasses import dataclass
from typing import Any, Final

_REASONS: Final = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    409: "Conflict",
    410: "Expired",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    501: "NotImplemented",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class StatusError(Exception):
    """End a request with a Status of the kind Failure."""

    def __init__(self, code: int, message: str, *, reason: str = "", **details: Any) -> None:  # noqa: ANN401 - JSON members
        super().__init__(message)
        self.code = code
        self.body = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason or _REASONS.get(code, ""),
            **({"details": details} if details else {}),
            "code": code,
        }


@dataclass(frozen=True, slots=True)
class Cause:
    """One field that the server will not take: where, the rest of the sentence, and its class."""

    field: str
    message: str
    reason: str = "FieldValueInvalid"


def required(field: str, detail: str = "") -> Cause:
    """Say that a field is missing."""
    return Cause(field, f"Required value{': ' + detail if detail else ''}", "FieldValueRequired")


def forbidden_value(field: str, detail: str) -> Cause:
    """Say that a field may not be set so."""
    return Cause(field, f"Forbidden: {detail}", "FieldValueForbidden")


def invalid_value(field: str, value: object, detail: str) -> Cause:
    """Say that a value cannot be."""
    shown = f'"{value}"' if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return Cause(field, f"Invalid value: {shown}: {detail}")


def unsupported_value(field: str, value: str, supported: tuple[str, ...]) -> Cause:
    """Say that a value is none of those known."""
    choices = ", ".join(f'"{choice}"' for choice in supported)
    return Cause(field, f'Unsupported value: "{value}": supported values: {choices}', "FieldValueNotSupported")


def _dotted(name: str, group: str) -> str:
    return f"{name}.{group}" if group else name


def _about(plural: str, group: str, name: str) -> dict[str, str]:
    return {member: value for member, value in (("name", name), ("group", group), ("kind", plural)) if value}


def not_found(plural: str, group: str, name: str) -> StatusError:
    """Answer 404 for an object."""
    return StatusError(404, f'{_dotted(plural, group)} "{name}" not found', **_about(plural, group, name))


def not_allowed() -> StatusError:
    """Answer 405: the resource is there, the verb is not one of its."""
    return StatusError(405, "the server does not allow this method on the requested resource")


def no_such_path() -> StatusError:
    """Answer 404 for a path that means nothing here."""
    return StatusError(404, "the server could not find the requested resource")


def already_exists(plural: str, group: str, name: str) -> StatusError:
    """Answer 409 for a creation of what is there."""
    about = _about(plural, group, name)
    return StatusError(409, f'{_dotted(plural, group)} "{name}" already exists', reason="AlreadyExists", **about)


STALE: Final = "the object has been modified; please apply your changes to the latest version and try again"


def conflict(plural: str, group: str, name: str, why: str = STALE) -> StatusError:
    """Answer 409 for a write on top of something newer."""
    message = f'Operation cannot be fulfilled on {_dotted(plural, group)} "{name}": {why}'
    return StatusError(409, message, **_about(plural, group, name))


def invalid(kind: str, group: str, name: str, causes: list[Cause]) -> StatusError:
    """Answer 422 with every field that is wrong."""
    sentences = [f"{cause.field}: {cause.message}" for cause in causes]
    listed = sentences[0] if len(sentences) == 1 else f"[{', '.join(sentences)}]"
    details = [{"reason": cause.reason, "message": cause.message, "field": cause.field} for cause in causes]
    return StatusError(422, f'{_dotted(kind, group)} "{name}" is invalid: {listed}', **_about(kind, group, name), causes=details)


def forbidden(plural: str, group: str, name: str, why: str) -> StatusError:
    """Answer 403 for an object or a collection."""
    quoted = f' "{name}"' if name else ""
    return StatusError(403, f"{_dotted(plural, group)}{quoted} is forbidden: {why}", **_about(plural, group, name))


def expired(asked: int, oldest: int) -> StatusError:
    """Answer 410: the event log does not reach back that far."""
    return StatusError(410, f"too old resource version: {asked} ({oldest})")


def passing(code: int, message: str) -> StatusError:
    """Answer as a server that cannot just now, or as the message has it."""
    usual = {429: "Too many requests, please try again later.", 503: "the server is currently unable to handle the request"}
    return StatusError(code, message or usual.get(code, "an error on the server has prevented the request from succeeding"))


def not_served(method: str) -> StatusError:
    """Answer 501 for what real clusters have and this one leaves out."""
    cure = "use a real control plane: --control-plane, or a cluster: --kubeconfig"
    return StatusError(501, f"the sandbox's API server does not serve {method}; {cure}")
