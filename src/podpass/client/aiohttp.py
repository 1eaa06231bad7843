# SPDX-License-Identifier: Apache-2.0
"""For aiohttp, 3.12 or later: `aiohttp.ClientSession(middlewares=[BearerAuth.from_env()])`.

aiohttp calls a middleware for each request on the way of a redirect, so that each is judged by its own origin.
"""

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
        request.headers.update(sent)
        response = await handler(request)
        if not sent or response.status != UNAUTHORIZED or not isinstance(request.body, bytes | BytesPayload):
            return response
        second = await self.second_async(origin, sent)
        if not second:
            return response
        response.release()
        request.headers.update(second)
        return await handler(request)
