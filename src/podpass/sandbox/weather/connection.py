# SPDX-License-Identifier: Apache-2.0
"""What becomes of an answer on its way: lost, cut off, slow. Works on the messages of ASGI; the listener lends it its connection."""

import asyncio

from starlette.types import Message, Receive, Scope, Send

from podpass.sandbox.weather.faults import Act

_PIECES = 10


async def meet(act: Act, scope: Scope, receive: Receive, send: Send) -> Send:
    """Wait as a struck request has to, and return what its answer is to be sent by."""
    await asyncio.sleep(act.delay_ms / 1000)
    return _Disturbed(act, scope, receive, send)


class _Disturbed:
    def __init__(self, act: Act, scope: Scope, receive: Receive, send: Send) -> None:
        self._act = act
        self._hang_up = scope["state"]["hang_up"]
        self._receive = receive
        self._send = send

    async def __call__(self, message: Message) -> None:
        body, more = message.get("body", b""), bool(message.get("more_body"))
        if self._act.connection in {"reset", "answer-lost"}:
            if message["type"] == "http.response.body" and not more:
                await self._end(rudely=True)
        elif not body:
            await self._send(message)
        elif self._act.connection == "body-truncated":
            await self._slowly(body[: len(body) // 2], more=True)
            await self._end(rudely=False)
        else:
            await self._slowly(body, more=more)

    async def _slowly(self, body: bytes, *, more: bool) -> None:
        size = -(-len(body) // (_PIECES if self._act.body_ms else 1)) or 1
        for start in range(0, len(body), size):
            await asyncio.sleep(self._act.body_ms / 1000 / _PIECES)
            await self._send(
                {"type": "http.response.body", "body": body[start : start + size], "more_body": more or start + size < len(body)}
            )

    async def _end(self, *, rudely: bool) -> None:
        self._hang_up(rudely=rudely)
        while (await self._receive())["type"] != "http.disconnect":
            pass
