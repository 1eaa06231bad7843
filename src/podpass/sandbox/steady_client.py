# SPDX-License-Identifier: Apache-2.0
"""An HTTP client that may be cancelled at any moment."""

import asyncio
from typing import Any

import httpx2


class SteadyClient(httpx2.AsyncClient):
    """Sends in a task of its own, which goes on when the caller is cancelled; `aclose` waits for what went on.

    httpcore2 2.16 does not close a connection whose TLS handshake is cancelled: it closes on `Exception` only
    (`_backends/anyio.py`, `start_tls`).
    """

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - AsyncClient's own
        super().__init__(**options)
        self._left_behind: set[asyncio.Task[None]] = set()

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:  # noqa: ANN401 - AsyncClient's own
        """Send a request; a cancelled caller's answer is closed when it comes."""
        sending = asyncio.ensure_future(super().send(request, **options))
        try:
            return await asyncio.shield(sending)
        except asyncio.CancelledError:
            task = asyncio.ensure_future(_close_when_here(sending))
            self._left_behind.add(task)
            task.add_done_callback(self._left_behind.discard)
            raise

    async def aclose(self) -> None:
        """Close every connection, also those that were being made."""
        if self._left_behind:
            _, late = await asyncio.wait(self._left_behind, timeout=5)
            for task in late:
                task.cancel()
        await super().aclose()


async def _close_when_here(sending: asyncio.Future[httpx2.Response]) -> None:
    try:
        answer = await sending
    except httpx2.HTTPError:
        return
    await answer.aclose()
