# SPDX-License-Identifier: Apache-2.0
"""For aiohttp, 3.12 or later: `aiohttp.ClientSession(middlewares=[BearerAuth.from_env()])`.

aiohttp calls a middleware for each request on the way of a redirect, so that each is judged by its own origin.
"""

from aiohttp import BytesPayload, ClientHandlerType, ClientRequest, ClientResponse

from podpass.client.bearer import AUTHORIZATION, UNAUTHORIZED, Bearer
from podpass.client.origins import Origin

__all__ = ["BearerAuth"]


class BearerAuth(Bearer):
    """Add the workload's token to the requests to configured origins; see `Bearer`."""

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Serve one request; called by aiohttp."""
        url = request.url
        origin = Origin.of(url.scheme, url.raw_host or "", url.port)
        if AUTHORIZATION in request.headers or (header := await self.header_async(origin)) is None:
            return await handler(request)
        request.headers[AUTHORIZATION] = header
        response = await handler(request)
        if response.status != UNAUTHORIZED or not isinstance(request.body, bytes | BytesPayload):
            return response
        second = await self.second_async(origin, header)
        if second is None:
            return response
        response.release()
        request.headers[AUTHORIZATION] = second
        return await handler(request)
