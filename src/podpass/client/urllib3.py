# SPDX-License-Identifier: Apache-2.0
"""For urllib3: `manager = BearerAuth.from_env().attach(urllib3.PoolManager())`, or `ProxyManager`.

The tokens are added where a connection pool sends a request, redirects included: the manager has chosen the pool, and a pool has one
origin.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar

import urllib3
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from podpass.client.bearer import UNAUTHORIZED, Bearer
from podpass.client.origins import Origin
from podpass.net.direct import through_a_proxy

__all__ = ["BearerAuth"]

ManagerT = TypeVar("ManagerT", bound=urllib3.PoolManager)


class BearerAuth(Bearer):
    """Add the workload's tokens to the requests to configured origins; see `Bearer`."""

    def attach(self, manager: ManagerT) -> ManagerT:
        """Make a manager send the tokens; its connections so far are closed."""
        manager.clear()
        manager.pool_classes_by_scheme = {"http": _pool(self, HTTPConnectionPool), "https": _pool(self, HTTPSConnectionPool)}
        return manager


# The mixin stands before one of two pools, and calls it.
if TYPE_CHECKING:
    _Pool: TypeAlias = HTTPConnectionPool
else:
    _Pool = object


class _Signing(_Pool):
    bearer: ClassVar[Bearer]

    @cached_property
    def _origin(self) -> Origin:
        return Origin.of(self.scheme or "", self.host, self.port)

    def urlopen(  # all but four arguments are handed on as they are
        self,
        method: str,
        url: str,
        body: Any = None,  # noqa: ANN401 - as above
        headers: Mapping[str, str] | None = None,
        *more: Any,  # noqa: ANN401 - as above
        **options: Any,  # noqa: ANN401 - as above
    ) -> urllib3.BaseHTTPResponse:
        headers = self.headers if headers is None else headers
        # A proxy that can read the request is asked for a whole URL.
        is_forwarded = self.proxy is not None and not url.startswith("/")
        origin = Origin.of_url(url) if is_forwarded else self._origin
        sent = self.bearer.headers(origin, {name.lower() for name in headers})
        if not sent:
            return super().urlopen(method, url, body, headers, *more, **options)
        if is_forwarded:
            raise through_a_proxy(url)
        response = super().urlopen(method, url, body, _with(headers, sent), *more, **options)
        if response.status != UNAUTHORIZED or not isinstance(body, bytes | str | None):
            return response
        second = self.bearer.second(origin, sent)
        if not second:
            return response
        response.drain_conn()
        return super().urlopen(method, url, body, _with(headers, {**sent, **second}), *more, **options)


def _with(headers: Mapping[str, str], added: Mapping[str, str]) -> Mapping[str, str]:
    if not isinstance(headers, urllib3.HTTPHeaderDict):
        return {**headers, **added}
    signed = headers.copy()  # it may hold a name several times
    for name, value in added.items():
        signed[name] = value
    return signed


def _pool(bearer: Bearer, kind: type[HTTPConnectionPool]) -> type[HTTPConnectionPool]:
    return type(f"Signing{kind.__name__}", (_Signing, kind), {"bearer": bearer})
