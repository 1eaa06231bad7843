# SPDX-License-Identifier: Apache-2.0
"""The flow of a request through httpx2 and httpx, which are one library under two names.

The library asks `BearerAuth` once for a request and all its redirects. On the way to another origin it takes `Authorization` off by itself,
and nothing else: so any other header with a token is set and taken off by a hook, which the library calls before each hop.
"""

from collections.abc import AsyncGenerator, Callable, Generator, Mapping, MutableMapping
from functools import cached_property, lru_cache
from typing import Any, ClassVar, Final, Generic, Protocol, TypeVar
from urllib.parse import urljoin

from anyio import to_thread

from podpass.client.bearer import AUTHORIZATION, SERVERLESS, UNAUTHORIZED, Bearer
from podpass.client.origins import Origin
from podpass.errors import ConfigError
from podpass.net.direct import BEFORE_WRITING, is_in_the_clear, through_a_proxy

# Where a request keeps what its hops get, and where it says who watches it; the library hands extensions on from hop to hop.
_HOPS: Final = "podpass.client"
_TRACE: Final = "trace"
_CARRIERS: Final = frozenset({AUTHORIZATION.encode(), SERVERLESS.encode()})

_Trace = Callable[[str, Mapping[str, Any]], Any]


class _Url(Protocol):
    @property
    def scheme(self) -> str: ...
    @property
    def raw_host(self) -> bytes: ...
    @property
    def port(self) -> int | None: ...


class _Request(Protocol):
    extensions: Any  # a dictionary to one library, and a mutable mapping to the other

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


class _Client(Protocol):
    auth: Any

    @property
    def event_hooks(self) -> Mapping[str, list[Callable[..., Any]]]: ...


RequestT = TypeVar("RequestT", bound=_Request)
ResponseT = TypeVar("ResponseT", bound=_Response)
ClientT = TypeVar("ClientT", bound=_Client)
T = TypeVar("T")


class HttpxFlow(Bearer, Generic[RequestT, ResponseT]):
    """Sign a request, and once more with another token if it was refused."""

    replayable: ClassVar[type]
    """The library's type of bodies that can be sent twice."""
    asynchronous: ClassVar[type]
    """The library's client whose hooks are awaited."""
    _is_attached = False

    def attach(self, client: ClientT) -> ClientT:
        """Make a client send the tokens; with two tokens in a request, this is the one way that keeps both from other origins."""
        client.auth = self
        client.event_hooks["request"].append(_judge_hop_async if isinstance(client, self.asynchronous) else _judge_hop)
        self._is_attached = True
        return client

    def sync_auth_flow(self, request: RequestT) -> Generator[RequestT, ResponseT, None]:
        """Serve a `Client`."""
        if sent := self.headers(_origin(request), request.headers):
            request = _copy_of(request)
            self._sign(request, sent)
            self._watch(request, _watcher)
        response = yield request
        if self._is_refused(request, response, sent) and (second := self.second(_origin(request), sent)):
            self._sign(request, {**sent, **second})
            yield request

    async def async_auth_flow(self, request: RequestT) -> AsyncGenerator[RequestT, ResponseT]:
        """Serve an `AsyncClient`."""
        if sent := await self.headers_async(_origin(request), request.headers):
            request = _copy_of(request)
            self._sign(request, sent)
            self._watch(request, _watcher_async)
        response = yield request
        if self._is_refused(request, response, sent) and (second := await self.second_async(_origin(request), sent)):
            self._sign(request, {**sent, **second})
            yield request

    @staticmethod
    async def _elsewhere(work: Callable[[], T]) -> T:
        """Do what may wait on a thread, under asyncio and trio, as the library does itself."""
        return await to_thread.run_sync(work)

    @cached_property
    def _may_be_plain(self) -> bool:
        """Whether one of the origins is plain http."""
        return any(origin.scheme == "http" for origin in self._origins)

    def _watch(self, request: RequestT, watcher: "Callable[[frozenset[Origin], _Trace | None], _Trace]") -> None:
        """See to it that no hop of a request shows a token to a proxy; https never does."""
        if self._may_be_plain:
            request.extensions = {**request.extensions, _TRACE: watcher(self._origins, request.extensions.get(_TRACE))}

    def _sign(self, request: RequestT, sent: dict[str, str]) -> None:
        if AUTHORIZATION in sent:
            request.headers[AUTHORIZATION] = sent[AUTHORIZATION]
        if len(sent) > (AUTHORIZATION in sent):
            others = {name: value for name, value in sent.items() if name != AUTHORIZATION}
            if not self._is_attached:
                raise _unattached(sorted(others))
            request.extensions = {**request.extensions, _HOPS: _Hops(self._origins, others)}

    def _is_refused(self, request: RequestT, response: ResponseT, sent: Mapping[str, str]) -> bool:
        """Tell whether a token was refused, by a service that got it, and whether the request can be sent again."""
        if response.status_code != UNAUTHORIZED or not isinstance(request.stream, self.replayable):
            return False
        return any(response.request.headers.get(name) == value for name, value in sent.items())


class _Hops:
    """The headers that each hop of a request gets if it goes to one of the origins; has no `repr` that could show them."""

    def __init__(self, origins: frozenset[Origin], headers: Mapping[str, str]) -> None:
        self._origins = origins
        self._headers = headers

    def judge(self, request: _Request) -> None:
        """Set the headers, or take them off."""
        is_ours = _origin(request) in self._origins
        for name, value in self._headers.items():
            if is_ours:
                request.headers[name] = value
            elif request.headers.get(name) == value:
                del request.headers[name]


def _judge_hop(request: _Request) -> None:
    """Serve a `Client`; called by the library before each hop."""
    hops = request.extensions.get(_HOPS)
    if hops is not None:
        hops.judge(request)


async def _judge_hop_async(request: _Request) -> None:
    """Serve an `AsyncClient`."""
    _judge_hop(request)


def _judge_write(origins: frozenset[Origin], event: str, info: Mapping[str, Any], after: _Trace | None) -> None:
    """Refuse to write a token to a proxy that can read it; called by the library before it connects and before it writes."""
    if event.endswith(BEFORE_WRITING):
        request = info["request"]
        # Who sets `target` may have replaced the whole URL that tells of a proxy.
        is_shown = is_in_the_clear(info) or ("target" in request.extensions and not _goes_to(request.url, origins))
        if is_shown and any(name.lower() in _CARRIERS for name, _ in request.headers):
            raise through_a_proxy(_wanted(request))
        # This hop is judged, and what else it tells costs a tenth of the request. The next one has extensions of its own.
        request.extensions = {**request.extensions, _TRACE: after}
    elif event == "socks.setup_socks5_connection.started":
        origin = Origin.of("http", info["host"], info["port"])
        if origin in origins:  # what is said through this proxy is written as to the service itself
            raise through_a_proxy(str(origin))


def _watcher(origins: frozenset[Origin], after: _Trace | None) -> _Trace:
    """Return what a `Client` tells of its connections, and tells `after` as well."""

    def watch(event: str, info: Mapping[str, Any]) -> None:
        _judge_write(origins, event, info, after)
        if after is not None:
            after(event, info)

    return watch


def _watcher_async(origins: frozenset[Origin], after: _Trace | None) -> _Trace:
    """Return what an `AsyncClient` tells of its connections."""

    async def watch(event: str, info: Mapping[str, Any]) -> None:
        _judge_write(origins, event, info, after)
        if after is not None:
            await after(event, info)

    return watch


def _goes_to(url: Any, origins: frozenset[Origin]) -> bool:  # noqa: ANN401 - as the connection has it, proxies and all
    return Origin.of(url.scheme.decode("ascii"), url.host.decode("ascii"), url.port) in origins


def _wanted(request: Any) -> str:  # noqa: ANN401 - as above
    """Return what a proxy was about to be asked for."""
    host: bytes = next((value for name, value in request.headers if name.lower() == b"host"), b"")
    target: bytes = request.url.target
    return urljoin(f"http://{host.decode('ascii')}", target.decode("ascii"))


def _copy_of(request: RequestT) -> RequestT:
    """Return a request to sign: the caller's own has no token, so it gets one of the moment whenever it is sent again."""
    copy = object.__new__(type(request))
    vars(copy).update(vars(request), headers=type(request.headers)(request.headers))  # type: ignore[call-arg] # as both libraries have it
    return copy


def _origin(request: _Request) -> Origin:
    url = request.url
    return _origin_of(url.scheme, url.raw_host.decode("ascii"), url.port)


# As many services as a workload calls, as for requests.
_origin_of = lru_cache(64)(Origin.of)


def _unattached(names: list[str]) -> ConfigError:
    return ConfigError(
        f"This client would take {' and '.join(names)} along when it is redirected to another origin.",
        "The library takes only Authorization off by itself.",
        "Write client = BearerAuth.from_env().attach(Client()), in place of Client(auth=…).",
        code="config.client",
    )
