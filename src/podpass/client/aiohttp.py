# SPDX-License-Identifier: Apache-2.0
"""For aiohttp, 3.12 or later: `aiohttp.ClientSession(middlewares=[BearerAuth.from_env()])`.

aiohttp calls a middleware for each request on the way of a redirect, so that each is judged by its own origin.

Its errors show the headers of their request in `repr`, which asyncio logs of a task that nobody awaits. So the tokens are taken off again
when there is an answer.
"""

from collections.abc import Mapping

from aiohttp import BytesPayload, ClientHandlerType, ClientRequest, ClientResponse

from podpass.client.bearer import UNAUTHORIZED, Bearer
from podpass.client.origins import Origin
from podpass.net.direct import through_a_proxy

__all__ = ["BearerAuth"]


class BearerAuth(Bearer):
    """Add the workload's tokens to the requests to configured origins; see `Bearer`."""

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Serve one request; called by aiohttp."""
        url = request.url
        origin = Origin.of(url.scheme, url.raw_host or "", url.port)
        sent = await self.headers_async(origin, request.headers)
        if sent and request.proxy is not None and origin.scheme == "http":
            raise through_a_proxy(str(origin))
        response = await _with(sent, request, handler)
        if not sent or response.status != UNAUTHORIZED or not isinstance(request.body, bytes | BytesPayload):
            return response
        second = await self.second_async(origin, sent)
        if not second:
            return response
        response.release()
        return await _with({**sent, **second}, request, handler)


async def _with(tokens: Mapping[str, str], request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    """Send a request with headers that it has on the way only."""
    request.headers.update(tokens)
    try:
        return await handler(request)
    finally:
        for name in tokens:
            request.headers.popall(name, None)
