# SPDX-License-Identifier: Apache-2.0
"""What Google does before and after any method: find it, know the caller, ask IAM, render refusals, keep a log; and the weather.

One call, step by step: (1) host, verb and path select a declared method, or 501 names what is missing; (2) the caller is authenticated;
(3) the method names the resource; (4) the API must be enabled in its project; (5) the token's scopes must do; (6) IAM must grant the
permission; (7) the handler answers. A handler is reached through these steps only. Faults strike between (1) and (2).
"""

import asyncio
import logging
import time
from collections.abc import Iterable
from dataclasses import replace
from email.utils import format_datetime
from urllib.parse import unquote

from podpass.sandbox.google.caller import ANONYMOUS, CLOUD_PLATFORM, Caller
from podpass.sandbox.google.message import (
    Answer,
    Fault,
    Query,
    Receive,
    Request,
    Scope,
    Send,
    google_fault,
    passing,
    read_request,
    unimplemented,
)
from podpass.sandbox.google.service import Call, Method, Public, Service
from podpass.sandbox.google.universe import Universe
from podpass.sandbox.store import ConflictError
from podpass.sandbox.weather.connection import meet
from podpass.sandbox.weather.faults import Act, Rule
from podpass.sandbox.weather.weather import Seen

_log = logging.getLogger(__name__)


class Dispatcher:
    """Serve a universe's Google services, in process by `handle` or as an ASGI application.

    Args:
        universe: What the methods act on.
        services: The services; several may share a host.
    """

    def __init__(self, universe: Universe, services: Iterable[Service]) -> None:
        self._universe = universe
        self._routes: dict[str, list[Method]] = {}
        for service in services:
            for host in service.hosts:
                self._routes.setdefault(host, []).extend(service.methods)
        for methods in self._routes.values():
            # The most literal path first, so that `{account}:disable` is found before `{account}`, and `{object=**}` last.
            methods.sort(key=lambda method: ("=**" in method.path, -method.path.count("/"), -len(method.path)))

    @property
    def hosts(self) -> frozenset[str]:
        """The hosts that are served."""
        return frozenset(self._routes)

    def handle(self, request: Request) -> Answer:
        """Answer one request, whatever it is, that comes over no connection."""
        return self._answer(request, self._struck(request), time.time())

    def _answer(self, request: Request, rule: Rule | None, arrived: float) -> Answer:
        act, call = rule.then if rule else Act(), None
        try:
            method, params = self._route(request)
            call = Call(self._universe, method, request, params, Query(request.query), ANONYMOUS, self.handle)
            answer = self._permitted(call, act)
        except Exception as error:  # noqa: BLE001 - the last resort of a server
            render = call.method.service.fault if call else google_fault
            answer = render(_fault_of(error, request), request)
        method_id, caller = (call.method.id, call.caller.name) if call else (None, ANONYMOUS.name)
        self._universe.log.add(request, method_id, answer.status, caller, arrived, rule.name if rule else None)
        return answer if act.body is None else replace(answer, body=act.body.encode())

    def _struck(self, request: Request) -> Rule | None:
        """Return the rule of the faults that strikes a request, if one does."""
        if self._universe.weather.is_calm:
            return None
        try:
            method_id = self._route(request)[0].id
        except Fault:
            method_id = ""
        return self._universe.weather.strike(Seen(method_id, request.host, request.path, lambda: self._caller(request)))

    def _caller(self, request: Request) -> str:
        try:
            return self._universe.identities.authenticate(request, anonymous=True).name
        except Fault:
            return ANONYMOUS.name

    def _route(self, request: Request) -> tuple[Method, dict[str, str]]:
        verb = "GET" if request.verb == "HEAD" else request.verb
        for method in self._routes.get(request.host, ()):
            found = method.pattern.fullmatch(request.path) if method.verb in {verb, request.verb} else None
            if found:
                return method, {name: unquote(value) for name, value in found.groupdict().items()}
        raise unimplemented(request)

    def _permitted(self, call: Call, act: Act) -> Answer:
        if act.refusal:
            raise passing(act.refusal, act.message, act.headers)
        method, permission = call.method, call.method.permission
        if not isinstance(permission, Public) or permission.authenticated:
            signer = method.service.signer(self._universe, call.request)
            call.caller = signer or self._universe.identities.authenticate(call.request, anonymous=method.service.anonymous)
        call.resource = method.on(call) if method.on else None
        if call.resource:
            _check_enabled(self._universe, method.service, call.resource.project)
        if not call.caller.anonymous:
            _check_scopes(method, call.caller)
        if call.resource and not isinstance(permission, Public):
            call.require(permission, call.resource)
        answered = method.handler(call)
        return answered if isinstance(answered, Answer) else Answer.json(answered)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request of an ASGI server."""
        request, arrived = await read_request(scope, receive), time.time()
        if latency_s := self._universe.latency_s():
            await asyncio.sleep(latency_s)
        rule = self._struck(request)
        if rule:
            send = await meet(rule.then, scope, receive, send)
        answer = self._answer(request, rule, arrived)
        date = format_datetime(self._universe.clock.now(), usegmt=True)
        await replace(answer, headers={"date": date, **answer.headers}).send(send, bodiless=request.verb == "HEAD")


def _fault_of(error: Exception, request: Request) -> Fault:
    if isinstance(error, Fault):
        return error
    if isinstance(error, ConflictError):  # google-behaviour: errors [M]
        message = "There were concurrent policy changes. Please retry the whole read-modify-write with exponential backoff."
        return Fault(409, "ABORTED", message)
    _log.error("%s https://%s%s failed", request.verb, request.host, request.path, exc_info=error)
    return Fault(500, "INTERNAL", f"The sandbox itself failed: {error!r}.")


def _check_enabled(universe: Universe, service: Service, project_id: str) -> None:
    """Refuse an API that is off in a project (google-behaviour: errors).

    Raises:
        Fault: 403 with reason `SERVICE_DISABLED`.
    """
    project = universe.project(project_id)
    if project is None or universe.store.get("enabledService", f"{project_id}/{service.name}"):
        return
    number = project["projectNumber"]
    url = f"https://console.developers.google.com/apis/api/{service.name}/overview?project={number}"
    raise Fault(
        403,
        "PERMISSION_DENIED",
        f"{service.title} has not been used in project {number} before or it is disabled. Enable it by visiting {url} then retry. "
        "If you enabled this API recently, wait a few minutes for the action to propagate to our systems and retry.",
        reason="SERVICE_DISABLED",
        metadata={"service": service.name, "consumer": f"projects/{number}", "serviceTitle": service.title, "activationUrl": url},
    )


def _check_scopes(method: Method, caller: Caller) -> None:
    wanted = method.service.scopes if method.scopes is None else method.scopes
    if wanted and not caller.scopes & {CLOUD_PLATFORM, *wanted}:
        raise Fault(
            403,
            "PERMISSION_DENIED",
            "Request had insufficient authentication scopes.",
            reason="ACCESS_TOKEN_SCOPE_INSUFFICIENT",
            metadata={"service": method.service.name, "method": method.id},
        )
