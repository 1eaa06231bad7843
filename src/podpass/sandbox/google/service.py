# SPDX-License-Identifier: Apache-2.0
"""How a Google service is declared: a table of methods, each with its id, verb, path, permission and the resource it is checked on.

A service file reads::

    @method(id="storage.buckets.get", verb="GET", path="/storage/v1/b/{bucket}", permission="storage.buckets.get", on=bucket_of)
    def get_bucket(call: Call) -> Json: ...

    SERVICE = Service(name="storage.googleapis.com", title="Cloud Storage API", discovery="storage.v1", methods=methods_of(__name__))

`dispatcher` does the rest. A method without a permission does not import; `Public("why")` says that nobody is asked.
In a path `{x}` is one segment without a colon, `{x=*}` one segment, `{x=**}` the rest.
"""

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import msgspec

from podpass.sandbox.google.caller import CLOUD_PLATFORM, Caller
from podpass.sandbox.google.message import Answer, Fault, Query, Request, google_fault, invalid
from podpass.sandbox.google.resource import Resource
from podpass.sandbox.google.universe import Universe
from podpass.sandbox.store import Json


@dataclass(frozen=True, slots=True)
class Public:
    """Stands where a permission would: no permission is asked for, for the reason given.

    Attributes:
        why: The reason.
        authenticated: Whether the caller must have shown good credentials; else they are not even read.
    """

    why: str
    authenticated: bool = False


@dataclass(slots=True)
class Call:
    """One authenticated and permitted call, as a handler sees it.

    Attributes:
        universe: Everything else.
        method: The declared method.
        request: The request as it came.
        params: The parts of the path, percent-decoded after they were split.
        query: The query's first values.
        caller: Who asks.
        ask: Has another method of this universe answer a request, as if it came from outside.
        resource: What the permission was checked on; None for a public method without `on`.
    """

    universe: Universe
    method: "Method"
    request: Request
    params: Mapping[str, str]
    query: Query
    caller: Caller
    ask: Callable[[Request], Answer]
    resource: Resource | None = None

    @property
    def origin(self) -> str:
        """Scheme and host as the client wrote them, for links in answers."""
        return f"{self.request.scheme}://{self.request.host}"

    @property
    def on(self) -> Resource:
        """The resource that the permission was checked on."""
        assert self.resource is not None
        return self.resource

    def json(self) -> Json:
        """Read the body as a JSON object; an empty body is an empty object.

        Raises:
            Fault: Anything else.
        """
        try:
            value = msgspec.json.decode(self.request.body or b"{}")
        except msgspec.DecodeError:
            raise invalid("Invalid JSON payload received. Parse error.") from None
        if not isinstance(value, dict):
            raise invalid("Invalid JSON payload received. The body is not a JSON object.")
        return value

    def may(self, permission: str, resource: Resource) -> bool:
        """Tell whether the caller has a permission that the table cannot state, such as one that depends on the body."""
        return self.universe.policies.allows(self.caller, permission, resource)

    def require(self, permission: str, resource: Resource) -> None:
        """Refuse unless the caller has a permission.

        Raises:
            Fault: 403, or Storage's 401 for an anonymous caller.
        """
        if not self.may(permission, resource):
            raise self.method.service.denial(self, permission, resource)


Handler = Callable[[Call], "Answer | Json"]
On = Callable[[Call], Resource]


@dataclass(slots=True, eq=False)
class Method:
    """One declared method; `service` is set when its service is made."""

    id: str
    verb: str
    path: str
    permission: str | Public
    on: On | None
    handler: Handler
    undocumented: str
    scopes: tuple[str, ...] | None
    pattern: re.Pattern[str]
    service: "Service" = field(init=False, repr=False)


_PARAM = re.compile(r"\{([a-z_]+)(?:=(\*\*?))?\}")
_SHAPES = {None: "[^/:]+", "*": "[^/]+", "**": ".+"}


def _pattern(path: str) -> re.Pattern[str]:
    pieces, end = [], 0
    for found in _PARAM.finditer(path):
        pieces += [re.escape(path[end : found.start()]), f"(?P<{found[1]}>{_SHAPES[found[2]]})"]
        end = found.end()
    return re.compile("".join([*pieces, re.escape(path[end:])]), re.DOTALL)


def method(
    *,
    id: str,  # noqa: A002 - Google's own word for it
    verb: str,
    path: str,
    permission: str | Public,
    on: On | None = None,
    scopes: tuple[str, ...] | None = None,
    undocumented: str = "",
) -> Callable[[Handler], Method]:
    """Declare a handler as a method of the service whose file this is.

    Args:
        id: Google's id of the method, as its discovery document has it.
        verb: The HTTP verb.
        path: The path from the host's root.
        permission: The IAM permission that the caller needs, or `Public(why)`.
        on: Names the resource that the permission is checked on; it may raise a `Fault`, such as 404. Needed with a permission.
        scopes: What the caller's token must be good for, any of them, where it differs from the service's; empty: anything.
        undocumented: Where it is known from, for a method that no discovery document has.

    Raises:
        TypeError: There is no permission, or nothing to check it on. A handler is never reachable by leaving something out.
    """
    if not isinstance(permission, Public) and (not permission or on is None):
        raise TypeError(f"method {id} has no permission, or no resource to check it on")
    return lambda handler: Method(id, verb, path, permission, on, handler, undocumented, scopes, _pattern(path))


def methods_of(module: str) -> tuple[Method, ...]:
    """Collect the methods that a module has declared, one by one or as tuples."""
    values = [value if isinstance(value, tuple) else (value,) for value in vars(sys.modules[module]).values()]
    return tuple(each for value in values for each in value if isinstance(each, Method))


def google_denial(call: Call, permission: str, resource: Resource) -> Fault:  # noqa: ARG001 - other services word it by the caller
    """Refuse a permission as nearly all Google APIs do; whether the resource exists is not revealed."""
    return Fault(
        403,
        "PERMISSION_DENIED",
        f"Permission '{permission}' denied on resource (or it may not exist).",
        reason="IAM_PERMISSION_DENIED",
        domain="iam.googleapis.com",  # whichever API refuses [M]
        metadata={"permission": permission, "resource": resource.path},
    )


@dataclass(slots=True, eq=False)
class Service:
    """One API.

    Attributes:
        name: The API's name in Service Usage, `storage.googleapis.com`.
        title: Its title, as the message for a disabled API has it.
        methods: Its methods.
        hosts: The hosts that serve it; by default its name.
        discovery: The discovery document that its methods are compared with, such as `storage.v1`; several separated by spaces.
        scopes: Scopes of which a caller's token must have one.
        fault: Renders a refusal.
        denial: Words the refusal of a permission.
        signer: Knows callers by another credential than a token; returns None where there is none.
        anonymous: Whether callers without credentials get as far as the permission; else they are refused with 401.
    """

    name: str
    title: str
    methods: tuple[Method, ...]
    hosts: tuple[str, ...] = ()
    discovery: str = ""
    scopes: tuple[str, ...] = (CLOUD_PLATFORM,)
    fault: Callable[[Fault, Request], Answer] = google_fault
    denial: Callable[[Call, str, Resource], Fault] = google_denial
    signer: Callable[[Universe, Request], Caller | None] = lambda _universe, _request: None
    anonymous: bool = False

    def __post_init__(self) -> None:
        self.hosts = self.hosts or (self.name,)
        for declared in self.methods:
            declared.service = self
