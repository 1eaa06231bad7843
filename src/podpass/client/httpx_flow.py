# SPDX-License-Identifier: Apache-2.0
"""The flow of a request through httpx2 and httpx, which are one library under two names."""

from collections.abc import AsyncGenerator, Callable, Generator, MutableMapping
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from anyio import to_thread

from podpass.client.bearer import AUTHORIZATION, UNAUTHORIZED, Bearer
from podpass.client.origins import Origin


class _Url(Protocol):
    @property
    def scheme(self) -> str: ...
    @property
    def raw_host(self) -> bytes: ...
    @property
    def port(self) -> int | None: ...


class _Request(Protocol):
    @property
    def url(self) -> _Url: ...
    @property
    def headers(self) -> MutableMapping[str, str]: ...
    @property
    def stream(self) -> Any: ...  # noqa: ANN401 - each library has its own types


class _Response(Protocol):
    @property
    def status_code(self) -> int: ...
    @property
    def request(self) -> _Request: ...


RequestT = TypeVar("RequestT", bound=_Request)
ResponseT = TypeVar("ResponseT", bound=_Response)
T = TypeVar("T")


class HttpxFlow(Bearer, Generic[RequestT, ResponseT]):
    """Sign a request, and once more with another token if it was refused.

    The library calls this once for a request and its redirects, and takes the header off itself on the way to another origin.
    """

    replayable: ClassVar[type]
    """The library's type of bodies that can be sent twice."""

    def sync_auth_flow(self, request: RequestT) -> Generator[RequestT, ResponseT, None]:
        """Serve a `Client`."""
        if AUTHORIZATION in request.headers or (header := self.header(_origin(request))) is None:
            yield request
            return
        request.headers[AUTHORIZATION] = header
        response = yield request
        if self._is_refused(request, response, header) and (second := self.second(_origin(request), header)) is not None:
            request.headers[AUTHORIZATION] = second
            yield request

    async def async_auth_flow(self, request: RequestT) -> AsyncGenerator[RequestT, ResponseT]:
        """Serve an `AsyncClient`."""
        if AUTHORIZATION in request.headers or (header := await self.header_async(_origin(request))) is None:
            yield request
            return
        request.headers[AUTHORIZATION] = header
        response = yield request
        if self._is_refused(request, response, header) and (second := await self.second_async(_origin(request), header)) is not None:
            request.headers[AUTHORIZATION] = second
            yield request

    @staticmethod
    async def _elsewhere(work: Callable[[], T]) -> T:
        """Do what may wait on a thread, under asyncio and trio, as the library does itself."""
        return await to_thread.run_sync(work)

    def _is_refused(self, request: RequestT, response: ResponseT, header: str) -> bool:
        """Tell whether the token was refused, by a service that got it, and whether the request can be sent again."""
        if response.status_code != UNAUTHORIZED:
            return False
        return response.request.headers.get(AUTHORIZATION) == header and isinstance(request.stream, self.replayable)


def _origin(request: _Request) -> Origin:
    url = request.url
    return Origin.of(url.scheme, url.raw_host.decode("ascii"), url.port)
