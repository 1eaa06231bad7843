# SPDX-License-Identifier: Apache-2.0
"""What goes in and out of a Google service: a request, an answer, a refusal in the terms of Google's error model."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from podpass.sandbox.store import Json

Scope = MutableMapping[str, Any]  # the three of ASGI
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Query(Mapping[str, str]):
    """A query's first values; booleans in any spelling (gcloud writes `True`)."""

    def __init__(self, text: str) -> None:
        self._values: dict[str, str] = {}
        for name, value in parse_qsl(text, keep_blank_values=True):
            self._values.setdefault(name, value)

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def flag(self, name: str) -> bool:
        """Read a boolean; absent is False."""
        return self.get(name, "").lower() in {"true", "1"}

    def number(self, name: str, default: int, most: int) -> int:
        """Read a count such as a page size, from 1 to `most`; absent or 0 is `default`.

        Raises:
            Fault: Not a number, or below 0.
        """
        text = self.get(name, "") or "0"
        if not text.isdecimal():
            raise invalid(f"Invalid value for {name}: {text!r}.")
        return min(int(text) or default, most)


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request as it came. Names of headers are in lower case; `path` is still percent-encoded."""

    verb: str
    host: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    scheme: str = "https"


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> "Answer":  # noqa: ANN401 - whatever JSON holds
        """Answer with JSON."""
        return cls(status, msgspec.json.encode(value), {"content-type": "application/json; charset=UTF-8", **(headers or {})})

    async def send(self, send: Send, *, bodiless: bool = False) -> None:
        """Send it through an ASGI server; `bodiless`: to a HEAD."""
        headers = [(name.lower().encode(), value.encode()) for name, value in self.headers.items()]
        if not any(name == b"content-length" for name, _ in headers):
            headers.append((b"content-length", str(len(self.body)).encode()))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if bodiless else self.body})


async def read_request(scope: Scope, receive: Receive) -> Request:
    """Take a whole request from an ASGI server."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    chunks = []
    while True:
        message = await receive()
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            break
    return Request(
        verb=scope["method"],
        host=headers.get("host", "").lower().removesuffix(":443"),
        path=scope["raw_path"].decode("latin-1").partition("?")[0],
        query=scope["query_string"].decode("latin-1"),
        headers=headers,
        body=b"".join(chunks),
        scheme=scope["scheme"],
    )


class Fault(Exception):  # noqa: N818 - Google's word for it in our tables; an answer, not a failure of ours
    """A refusal, in the terms of Google's error model (google-behaviour: errors); the service renders it.

    Attributes:
        code: The HTTP status.
        status: The canonical status, `NOT_FOUND`.
        message: The text that clients show.
        reason: The short reason: of `ErrorInfo`, or Storage's `notFound`.
        details: Further `details[]`, each with its `@type`.
        metadata: The metadata of `ErrorInfo`.
        domain: The domain of `ErrorInfo`.
        headers: Further headers of the answer.
    """

    def __init__(
        self,
        code: int,
        status: str,
        message: str,
        *,
        reason: str = "",
        domain: str = "",
        metadata: Mapping[str, str] | None = None,
        details: tuple[Json, ...] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code, self.status, self.message = code, status, message
        self.reason, self.domain, self.metadata, self.details = reason, domain, dict(metadata or {}), details
        self.headers = dict(headers or {})


def invalid(message: str, **more: Any) -> Fault:  # noqa: ANN401 - Fault's own keywords
    """Make the 400 for a bad argument."""
    return Fault(400, "INVALID_ARGUMENT", message, **more)


def not_found(message: str = "Requested entity was not found.") -> Fault:
    """Make the 404 for an unknown entity."""
    return Fault(404, "NOT_FOUND", message)


def exists(message: str = "Requested entity already exists") -> Fault:
    """Make the 409 for a name that is taken."""
    return Fault(409, "ALREADY_EXISTS", message)


# The messages that Google's front ends send without further words [K].
_USUAL = {
    400: ("INVALID_ARGUMENT", "Request contains an invalid argument."),
    401: ("UNAUTHENTICATED", "The request does not have valid authentication credentials."),
    403: ("PERMISSION_DENIED", "The caller does not have permission"),
    404: ("NOT_FOUND", "Requested entity was not found."),
    409: ("ABORTED", "The operation was aborted."),
    429: ("RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
    500: ("INTERNAL", "Internal error encountered."),
    503: ("UNAVAILABLE", "The service is currently unavailable."),
    504: ("DEADLINE_EXCEEDED", "Deadline expired before operation could complete."),
}


def passing(code: int, message: str, headers: Mapping[str, str]) -> Fault:
    """Make the fault of an HTTP status that no rule of the API leads to: Google's usual words for it, or those given."""
    status, usual = _USUAL.get(code, ("UNKNOWN", f"Error {code}."))
    return Fault(code, status, message or usual, headers=headers)


def google_fault(fault: Fault, request: Request) -> Answer:  # noqa: ARG001 - other services look at the request
    """Render a fault as nearly all Google APIs do (google-behaviour: errors)."""
    details = list(fault.details)
    if fault.reason:
        info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": fault.reason}
        details.insert(0, {**info, "domain": fault.domain or "googleapis.com", "metadata": fault.metadata})
    error = {"code": fault.code, "message": fault.message, "status": fault.status, **({"details": details} if details else {})}
    return Answer.json({"error": error}, fault.code, fault.headers)


def unimplemented(request: Request) -> Fault:
    """Make the 501 for what this universe leaves out."""
    return Fault(
        501,
        "UNIMPLEMENTED",
        f"The sandbox has no method {request.verb} https://{request.host}{request.path}. "
        "It holds what podpass and its examples need; use a real project for the rest.",
    )
