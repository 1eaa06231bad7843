# SPDX-License-Identifier: Apache-2.0
"""Every adapter behind one face: open it with a source and origins, then call."""

import asyncio
import ssl
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest
import requests
import urllib3

from podpass.clock import SteppedClock
from podpass.sources.source import SubjectTokenSource

Body = bytes | Iterator[bytes] | None


@dataclass(frozen=True)
class Setting:
    """What a client is opened with."""

    source: SubjectTokenSource
    origins: list[str]
    clock: SteppedClock
    ca_file: Path
    serverless: SubjectTokenSource | None = None
    proxy: str | None = None
    """Besides the environment, for libraries that heed that only when they are told to."""

    def make(self, kind: Callable[..., Any]) -> Any:  # noqa: ANN401 - one of the adapters
        """Make an adapter."""
        return kind(self.source, origins=self.origins, serverless=self.serverless, clock=self.clock)

    def open(self, kind: Callable[..., Any], client: Callable[..., Any]) -> Any:  # noqa: ANN401 - a client of httpx, or of its fork
        """Open a client with an adapter: in both ways that there are, where both will do."""
        if self.serverless is None:
            return client(auth=self.make(kind), verify=self.context())
        return self.make(kind).attach(client(verify=self.context()))

    def context(self) -> ssl.SSLContext:
        """Trust the servers of the tests."""
        return ssl.create_default_context(cafile=self.ca_file)


class Call(Protocol):
    """Sends one request, and returns the status and the body of the answer."""

    def __call__(
        self, method: str, url: str, *, body: Body = None, headers: Mapping[str, str] | None = None, follow: bool = False
    ) -> tuple[int, bytes]: ...


Subject = Callable[[Setting], AbstractContextManager[Call]]


def _httpx_like(library: Any, adapter: Any) -> Subject:  # noqa: ANN401 - modules
    @contextmanager
    def opened(setting: Setting) -> Generator[Call]:
        with setting.open(adapter.BearerAuth, library.Client) as client:

            def call(method: str, url: str, *, body: Body = None, headers: Any = None, follow: bool = False) -> tuple[int, bytes]:  # noqa: ANN401
                answer = client.request(method, url, content=body, headers=headers, follow_redirects=follow)
                return answer.status_code, answer.content

            yield call

    return opened


def _httpx_like_async(library: Any, adapter: Any) -> Subject:  # noqa: ANN401 - modules
    @contextmanager
    def opened(setting: Setting) -> Generator[Call]:
        with asyncio.Runner() as loop:
            client = setting.open(adapter.BearerAuth, library.AsyncClient)

            async def ask(method: str, url: str, body: Body, headers: Any, follow: bool) -> tuple[int, bytes]:  # noqa: ANN401, FBT001
                content = _later(body) if isinstance(body, Iterator) else body
                answer = await client.request(method, url, content=content, headers=headers, follow_redirects=follow)
                return answer.status_code, answer.content

            def call(method: str, url: str, *, body: Body = None, headers: Any = None, follow: bool = False) -> tuple[int, bytes]:  # noqa: ANN401
                return loop.run(ask(method, url, body, headers, follow))

            yield call
            loop.run(client.aclose())

    return opened


async def _later(body: Iterator[bytes]) -> Any:  # noqa: ANN401 - an async generator
    for piece in body:
        yield piece


@contextmanager
def _requests(setting: Setting) -> Generator[Call]:
    from podpass.client.requests import BearerAuth  # noqa: PLC0415 - each subject imports its own

    with requests.Session() as session:
        setting.make(BearerAuth).attach(session)

        def call(method: str, url: str, *, body: Body = None, headers: Any = None, follow: bool = False) -> tuple[int, bytes]:  # noqa: ANN401
            answer = session.request(method, url, data=body, headers=headers, allow_redirects=follow, verify=str(setting.ca_file))
            return answer.status_code, answer.content

        yield call


@contextmanager
def _urllib3(setting: Setting) -> Generator[Call]:
    from podpass.client.urllib3 import BearerAuth  # noqa: PLC0415 - each subject imports its own

    manager = setting.make(BearerAuth).attach(_manager(setting))

    def call(method: str, url: str, *, body: Body = None, headers: Any = None, follow: bool = False) -> tuple[int, bytes]:  # noqa: ANN401
        answer = manager.request(method, url, body=body, headers=headers, redirect=follow)
        return answer.status, answer.data

    yield call
    manager.clear()


def _manager(setting: Setting) -> urllib3.PoolManager:
    context = setting.context()
    return urllib3.ProxyManager(setting.proxy, ssl_context=context) if setting.proxy else urllib3.PoolManager(ssl_context=context)


@contextmanager
def _aiohttp(setting: Setting) -> Generator[Call]:
    aiohttp = pytest.importorskip("aiohttp", minversion="3.12", reason="pip install 'aiohttp>=3.12'")
    from podpass.client.aiohttp import BearerAuth  # noqa: PLC0415 - each subject imports its own

    async def start() -> Any:  # noqa: ANN401 - a session
        connector = aiohttp.TCPConnector(ssl=setting.context())
        return aiohttp.ClientSession(middlewares=[setting.make(BearerAuth)], connector=connector, trust_env=setting.proxy is not None)

    with asyncio.Runner() as loop:
        session = loop.run(start())

        async def ask(method: str, url: str, body: Body, headers: Any, follow: bool) -> tuple[int, bytes]:  # noqa: ANN401, FBT001
            data = _later(body) if isinstance(body, Iterator) else body
            async with session.request(method, url, data=data, headers=headers, allow_redirects=follow) as answer:
                return answer.status, await answer.read()

        def call(method: str, url: str, *, body: Body = None, headers: Any = None, follow: bool = False) -> tuple[int, bytes]:  # noqa: ANN401
            return loop.run(ask(method, url, body, headers, follow))

        yield call
        loop.run(session.close())


def _httpx2(setting: Setting) -> AbstractContextManager[Call]:
    import httpx2  # noqa: PLC0415 - each subject imports its own

    import podpass.client.httpx2 as adapter  # noqa: PLC0415

    return _httpx_like(httpx2, adapter)(setting)


def _httpx2_async(setting: Setting) -> AbstractContextManager[Call]:
    import httpx2  # noqa: PLC0415 - each subject imports its own

    import podpass.client.httpx2 as adapter  # noqa: PLC0415

    return _httpx_like_async(httpx2, adapter)(setting)


def _httpx(setting: Setting) -> AbstractContextManager[Call]:
    library = pytest.importorskip("httpx", reason="pip install httpx")
    import podpass.client.httpx as adapter  # noqa: PLC0415 - each subject imports its own

    return _httpx_like(library, adapter)(setting)


def _httpx_async(setting: Setting) -> AbstractContextManager[Call]:
    library = pytest.importorskip("httpx", reason="pip install httpx")
    import podpass.client.httpx as adapter  # noqa: PLC0415 - each subject imports its own

    return _httpx_like_async(library, adapter)(setting)


SUBJECTS: dict[str, Subject] = {
    "httpx2": _httpx2,
    "httpx2 async": _httpx2_async,
    "httpx": _httpx,
    "httpx async": _httpx_async,
    "requests": _requests,
    "aiohttp": _aiohttp,
    "urllib3": _urllib3,
}
