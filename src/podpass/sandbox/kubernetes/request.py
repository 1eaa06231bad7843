# SPDX-License-Identifier: Apache-2.0
"""One request as Kubernetes reads it: which resource or path, which options, which body."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from starlette.requests import ClientDisconnect, Request

from podpass.sandbox.kubernetes import protobuf, schema
from podpass.sandbox.kubernetes.authentication import User
from podpass.sandbox.kubernetes.authorization import Action
from podpass.sandbox.kubernetes.kind import Json, Kind
from podpass.sandbox.kubernetes.options import Write
from podpass.sandbox.kubernetes.patch import APPLY
from podpass.sandbox.kubernetes.selectors import Test, field_test, label_test
from podpass.sandbox.kubernetes.status import StatusError, invalid, unsupported_value

_LIMIT_BYTES: Final = 3 * 1024 * 1024  # the real server's limit for a request body
_VERBS: Final = {"POST": "create", "PUT": "update", "PATCH": "patch"}
_PARTS_OF_NAMESPACES: Final = ("status", "finalize")


def action_of(method: str, path: str, query: Mapping[str, str]) -> Action:
    """Read what a request asks for, from its method and path alone."""
    parts = path.removeprefix("/").split("/")
    if parts[:2] == ["api", "v1"]:
        group, rest = "", parts[2:]
    elif parts[0] == "apis" and len(parts) > 3 and parts[2] == "v1":  # noqa: PLR2004 - apis, group, version, and more
        group, rest = parts[1], parts[3:]
    else:
        return Action({"GET": "get", "HEAD": "get"}.get(method, method.lower()), path)
    if not rest or not all(rest):
        return Action(method.lower(), path)
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        rest = rest[2:] if len(rest) > 2 and rest[2] not in _PARTS_OF_NAMESPACES else rest  # noqa: PLR2004 - a resource inside
    resource, name, subresource = (*rest[:2], "/".join(rest[2:])) if len(rest) > 1 else (rest[0], "", "")
    return Action(_verb(method, name, query), path, group, resource, subresource, namespace, name)


def _verb(method: str, name: str, query: Mapping[str, str]) -> str:
    match method:
        case "GET" | "HEAD":
            if is_true(query, "watch"):
                return "watch"
            return "get" if name else "list"
        case "DELETE":
            return "delete" if name else "deletecollection"
        case _:
            return _VERBS.get(method, method.lower())


def is_true(query: Mapping[str, str], name: str) -> bool:
    """Read a switch of the query; a bare name is on."""
    return name in query and query[name].lower() not in {"false", "0"}


def number(query: Mapping[str, str], name: str) -> int:
    """Read a number of the query; absent is 0."""
    text = query.get(name) or "0"
    if not text.isdecimal():
        raise StatusError(400, f'invalid value for {name}: "{text}": not a number')
    return int(text)


@dataclass(slots=True)
class ApiRequest:
    """A request of a known user for a resource.

    Args:
        http: The request.
        user: Who asks.
        action: What for.
        warnings: To be told in headers of the answer.
    """

    http: Request
    user: User
    action: Action
    warnings: list[str] = field(default_factory=list)

    @property
    def query(self) -> Mapping[str, str]:
        """The query's parameters."""
        return self.http.query_params

    @property
    def media_type(self) -> str:
        """The body's type, without parameters."""
        return self.http.headers.get("content-type", "application/json").partition(";")[0].strip().lower()

    @property
    def dry_run(self) -> bool:
        """Whether nothing may be stored.

        Raises:
            StatusError: 422, another value than `All`.
        """
        value = self.query.get("dryRun", "")
        if value not in {"", "All"}:
            raise invalid("Options", "meta.k8s.io", "", [unsupported_value("dryRun", value, ("All",))])
        return value == "All"

    def home(self, kind: Kind) -> str:
        """Return the namespace that is meant; empty for kinds without."""
        return self.action.namespace if kind.namespaced else ""

    def test(self, kind: Kind) -> Test:
        """Join the selectors.

        Raises:
            StatusError: 400, one cannot be read.
        """
        fields = field_test(self.query.get("fieldSelector", ""), ("metadata.name", "metadata.namespace", *kind.selectable))
        labels = label_test(self.query.get("labelSelector", ""))
        name = self.action.name  # a watch of one object by its path
        return lambda obj: (not name or obj["metadata"]["name"] == name) and labels(obj) and fields(obj)

    def write(self) -> Write:
        """Read how a write is asked for.

        Raises:
            StatusError: 422, an option has a value that it cannot have.
        """
        directive = self.query.get("fieldValidation") or "Warn"
        if directive not in {"Strict", "Warn", "Ignore"}:
            raise invalid("Options", "meta.k8s.io", "", [unsupported_value("fieldValidation", directive, ("", "Ignore", "Strict", "Warn"))])
        agent = self.http.headers.get("user-agent", "").partition("/")[0]
        manager = self.query.get("fieldManager") or agent or "unknown"
        return Write(manager, self.dry_run, cast("schema.Directive", directive), self.media_type == APPLY, self.warnings)

    async def raw(self) -> bytes:
        """Read the body.

        Raises:
            StatusError: 413, over 3 MiB; 400, which nobody reads: the client has gone.
        """
        body = bytearray()
        try:
            async for chunk in self.http.stream():
                body += chunk
                if len(body) > _LIMIT_BYTES:
                    raise StatusError(413, f"Request entity too large: limit is {_LIMIT_BYTES}")
        except ClientDisconnect as error:
            raise StatusError(400, "The client has gone.") from error
        return bytes(body)

    async def body(self) -> Json:
        """Read the object in the body: JSON, YAML or Kubernetes protobuf.

        Raises:
            StatusError: 400, 413, 415.
        """
        raw = await self.raw()
        match self.media_type:
            case "application/vnd.kubernetes.protobuf":
                return protobuf.decode(raw)
            case "application/json" | "application/yaml":
                return schema.parse(raw)
        accepted = "application/json, application/yaml, application/vnd.kubernetes.protobuf"
        raise StatusError(415, f"the body of the request was in an unknown format - accepted media types include: {accepted}")

    async def options(self) -> Json:
        """Read DeleteOptions from the body, else from the query."""
        raw = await self.raw()
        options: Json = {name: self.query[name] for name in ("propagationPolicy",) if name in self.query}
        if "gracePeriodSeconds" in self.query:
            options |= {"gracePeriodSeconds": number(self.query, "gracePeriodSeconds")}
        return {**options, **(schema.parse(raw) if raw.strip() else {})}

    def wants(self, kind: str) -> bool:
        """Say whether the answer is to be of a kind of meta.k8s.io, such as `Table`."""
        first = self.http.headers.get("accept", "").partition(",")[0]
        return f"as={kind};" in f"{first};"


def encoded(value: Any) -> bytes:  # noqa: ANN401 - JSON
    """Write JSON as the server sends it: one line and its end."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
