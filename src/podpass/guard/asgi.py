# SPDX-License-Identifier: Apache-2.0
"""The ASGI shell: HTTP requests and WebSocket handshakes.

The path that is judged is the one that the application's router sees: `path` below `root_path`, as Starlette and Django read it. Where an
application chooses its `root_path` itself, that one counts (`mounts`).
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from podpass.guard import health
from podpass.guard.answer import Answer, refusal
from podpass.guard.caller import KEY, caller, identity
from podpass.guard.decide import Allow, Decision, Deny
from podpass.guard.guard import WAIT_LIMIT_S, Guard, pending
from podpass.guard.handing_on import edited
from podpass.guard.incoming import Incoming
from podpass.guard.mounts import cuts_anywhere, own_mount

__all__ = ["GuardMiddleware", "caller", "health_app", "identity"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# RFC 6455, 7.4.1; seen only by servers that cannot answer a handshake with a status of our choice, and then send 403.
_POLICY_VIOLATION = 1008
_DENIAL: Final = "websocket.http.response"


class GuardMiddleware:
    """Let an application see only the requests that a guard allows."""

    def __init__(self, app: App, guard: Guard) -> None:
        self._app = app
        self._guard = guard
        self._own_mount = own_mount(app)
        self._cuts_anywhere = cuts_anywhere(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection of the server."""
        if self._own_mount is not None and (mount := self._own_mount()):
            scope["root_path"] = mount  # as the application is about to do itself
        try:
            place = (scope["type"], scope["method"], scope["raw_path"], scope["root_path"], scope["path"])
            known = self._guard.recognise(place, scope["headers"])
        except KeyError:  # no HTTP request, or a server that says less
            known = None
        if known is None:
            judged = await self._judge(scope, receive, send)
            if judged is None:
                return
            scope = judged
        else:
            scope[KEY] = known
        app = self._app  # what is called by its own name is called without a search
        await app(scope, receive, send)

    async def _judge(self, scope: Scope, receive: Receive, send: Send) -> Scope | None:
        """Return what the application sees of a connection, or refuse it and return None."""
        kind = scope["type"]
        if kind == "lifespan":  # the server's own word to the application, not a request
            return scope
        if kind not in {"http", "websocket"}:
            raise RuntimeError(f"the guard does not know connections of type {kind!r}, and lets none through that it does not know")
        request = _incoming(scope, cuts_anywhere=self._cuts_anywhere)
        decision = self._guard.decide_now(request)
        if not isinstance(decision, Allow):
            decision = await self._patiently(request, decision)
        self._guard.record(request, decision)
        if isinstance(decision, Allow):
            scope[KEY] = decision.identity
            return scope if decision.edit is None else {**scope, "headers": edited(scope["headers"], decision.edit)}
        if kind == "http":
            await _send(refusal(decision), send, "http.response")
        else:
            await _refuse_handshake(decision, scope, receive, send)
        return None

    async def _patiently(self, request: Incoming, decision: Decision) -> Decision:
        """Decide again when what was missing is there."""
        waited: set[str] = set()
        while (flight := pending(decision, waited)) is not None:
            await _landing(asyncio.wrap_future(flight))
            decision = self._guard.decide_now(request)
        return decision


async def _landing(flight: "asyncio.Future[object]") -> None:
    """Wait for a flight that many may wait for: whoever leaves does not end it, and how it ended is not ours to say."""
    flight.add_done_callback(lambda ended: None if ended.cancelled() else ended.exception() and None)
    await asyncio.wait({flight}, timeout=WAIT_LIMIT_S)


def _incoming(scope: Scope, *, cuts_anywhere: bool) -> Incoming:
    path: str = scope["path"]
    raw: bytes = scope.get("raw_path") or _quoted(path)
    if b"?" in raw:  # some test clients and gateways leave the query on it
        raw = raw.partition(b"?")[0]
    root: str = scope.get("root_path", "")
    # Where a server leaves the mount out of the path, both frameworks take the path as it is.
    mount = root if path.startswith(root) else ""
    below = path[len(mount) :]
    if cuts_anywhere and root and not mount and root in path:
        mount = root  # the router would serve another path: what is judged now is no path at all, and refused
    return Incoming(scope.get("method", "GET"), raw, scope["headers"], mount, below)


def _quoted(path: str) -> bytes:
    from urllib.parse import quote  # noqa: PLC0415 - a third of this shell's start, for servers that do not say what was sent

    return quote(path, safe="/", errors="surrogatepass").encode("ascii")


async def _send(answer: Answer, send: Send, prefix: str) -> None:
    headers = [(name.encode("ascii"), value.encode("ascii")) for name, value in answer.headers]
    await send({"type": f"{prefix}.start", "status": answer.status, "headers": headers})
    await send({"type": f"{prefix}.body", "body": answer.body})


async def _refuse_handshake(deny: Deny, scope: Scope, receive: Receive, send: Send) -> None:
    await receive()  # websocket.connect
    if _DENIAL in scope.get("extensions", {}):
        await _send(refusal(deny), send, _DENIAL)
    else:
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": deny.code})


def health_app(guard: Guard) -> App:
    """Return an application that answers `/livez`, `/readyz` and `/metrics`."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            await _send(health.answer(guard, scope["method"], scope["path"]), send, "http.response")
        else:
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})

    return app


async def _lifespan(receive: Receive, send: Send) -> None:
    for phase in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{phase}.complete"})
