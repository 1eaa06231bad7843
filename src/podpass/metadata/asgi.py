# SPDX-License-Identifier: Apache-2.0
"""The shell: one ASGI application, which awaits what an answer needs and sends it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from podpass.clock import Clock, SystemClock
from podpass.errors import PodpassError, UnavailableError
from podpass.metadata import answers
from podpass.metadata.answer import Answer
from podpass.metadata.caller import Callers, Workload
from podpass.metadata.health import PATHS, Health
from podpass.metadata.incoming import Gate, Incoming, RefusedRequestError
from podpass.metadata.refusals import refusal
from podpass.metadata.tree import Tree

_log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# Each holds a connection for up to an hour; a pod has a handful.
_WAITERS_LIMIT: Final = 64


class MetadataApp:
    """The metadata server as an ASGI application.

    Args:
        callers: Knows who is asking.
        gate: Lets requests in.
        health: Answers probes, and is told of each request.
        health_port: Where probes alone are answered; None: nowhere.
        clock: Tells how long a token still lives.
    """

    def __init__(self, callers: Callers, gate: Gate, health: Health, *, health_port: int | None = None, clock: Clock | None = None) -> None:
        self._callers = callers
        self._gate = gate
        self._health = health
        self._health_port = health_port
        self._clock = clock or SystemClock()
        self._waiters = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Nothing but HTTP is served: no WebSocket, no lifespan."""
        if scope["type"] != "http":
            raise RuntimeError(f"the metadata server does not know connections of type {scope['type']!r}")
        answer = await self._answer(scope, receive)
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        path: str = scope["path"]
        server = scope.get("server")
        if (self._health_port is not None and server and server[1] == self._health_port) or path in PATHS:
            return self._health.answer(path)
        kind = "refused"
        try:
            request = self._gate.admit(scope["method"], scope["raw_path"], scope["query_string"], scope["headers"])
            kind = _kind(request)
            answer = await self._ask(request, scope.get("client"), receive)
        except RefusedRequestError as refused:
            answer = refused.answer
        except PodpassError as error:
            answer = refusal(error, _THINGS[kind])
        except Exception as error:  # noqa: BLE001 - clients know a metadata server by a header that no server adds to its own 500
            # The type alone: what went wrong may hold a token.
            _log.error("A request for a %s failed: %s.", kind, type(error).__name__)
            answer = Answer.words(500, "Internal error; the metadata server's log says which.")
        self._health.count(kind, answer.status)
        return answer

    async def _ask(self, request: Incoming, peer: tuple[str, int] | None, receive: Receive) -> Answer:
        if pong := answers.ping(request):
            return pong
        workload = await self._callers.find(peer)
        tree = await workload.tree()
        wanted = answers.answer(request, tree)
        if not isinstance(wanted, Answer):
            answer = await self._token(workload, tree, wanted)
            return await self._ask(request, peer, receive) if answer is None else answer
        waiting = answers.waiting(request) if wanted.etag else None
        if waiting is None or isinstance(waiting, Answer):
            return waiting or wanted
        return await self._wait(request, workload, waiting, wanted, receive)

    async def _wait(self, request: Incoming, workload: Workload, waiting: answers.Waiting, answer: Answer, receive: Receive) -> Answer:
        if self._waiters >= _WAITERS_LIMIT:
            raise UnavailableError(f"{_WAITERS_LIMIT} clients wait for a change already.", retry_after_s=10)
        self._waiters += 1
        try:
            return await _changed(request, workload, waiting, answer, receive)
        finally:
            self._waiters -= 1

    async def _token(self, workload: Workload, tree: Tree, wanted: answers.AccessTokenWanted | answers.IdTokenWanted) -> Answer | None:
        """Return the token; None where the identity has changed meanwhile, so that it is of the one before."""
        try:
            answer = await self._token_now(workload, wanted)
        except PodpassError:
            if await workload.tree() is tree:
                raise
            return None
        return answer if await workload.tree() is tree else None

    async def _token_now(self, workload: Workload, wanted: answers.AccessTokenWanted | answers.IdTokenWanted) -> Answer:
        if isinstance(wanted, answers.AccessTokenWanted):
            return answers.of_access_token(await workload.access_token(wanted.scopes), self._clock.now())
        return answers.of_id_token(await workload.id_token(wanted.audience))


async def _changed(request: Incoming, workload: Workload, waiting: answers.Waiting, answer: Answer, receive: Receive) -> Answer:
    """Return the answer once it is another one than the client has; at its time limit, or when it or the server goes, as it is."""
    known_etag = waiting.etag or answer.etag
    loop = asyncio.get_running_loop()
    deadline = loop.time() + waiting.timeout_s
    leaving = loop.create_task(_left(receive))
    try:
        while answer.etag == known_etag:
            tree = await workload.tree()
            change = loop.create_task(workload.another_tree(tree))
            await asyncio.wait({change, leaving}, timeout=deadline - loop.time(), return_when=asyncio.FIRST_COMPLETED)
            change.cancel()
            if not change.done() or change.result() is tree:
                break
            changed = answers.answer(request, change.result())
            if not isinstance(changed, Answer):
                break
            answer = changed
    finally:
        leaving.cancel()
    return answer


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


_THINGS: Final = {"token": "access token", "identity": "identity token", "value": "account", "refused": "account"}


def _kind(request: Incoming) -> str:
    last = request.path.rpartition("/")[2]
    return last if last in {"token", "identity"} else "value"
