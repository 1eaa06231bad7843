# SPDX-License-Identifier: Apache-2.0
"""For urllib3: `manager = BearerAuth.from_env().attach(urllib3.PoolManager())`, or `ProxyManager`.

The tokens are added where a connection pool sends a request, redirects included: the manager has chosen the pool, and a pool has one
origin.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, TypeVar

import urllib3
from urllib3.connectionpool import HTTPConnectionPool

from podpass.client.bearer import UNAUTHORIZED, Bearer
from podpass.client.origins import Origin
from podpass.net.direct import through_a_proxy

__all__ = ["BearerAuth"]

# What `SOCKSProxyManager` gives its connections; whatever is said through them is written as to the service itself.
_SOCKS: Final = "_socks_options"

ManagerT = TypeVar("ManagerT", bound=urllib3.PoolManager)


class BearerAuth(Bearer):
    """Add the workload's tokens to the requests to configured origins; see `Bearer`."""

    def attach(self, manager: ManagerT) -> ManagerT:
        """Make a manager send the tokens; its connections so far are closed."""
        manager.clear()
        manager.pool_classes_by_scheme = {scheme: _pool(self, kind) for scheme, kind in manager.pool_classes_by_scheme.items()}
        return manager


def _with(headers: Mapping[str, str], added: Mapping[str, str]) -> Mapping[str, str]:
    if not isinstance(headers, urllib3.HTTPHeaderDict):
        return {**headers, **added}
    signed = headers.copy()  # it may hold a name several times
    for name, value in added.items():
        signed[name] = value
    return signed


def _pool(bearer: Bearer, kind: type[HTTPConnectionPool]) -> type[HTTPConnectionPool]:
    """Return a kind of pools that sign what pools of this kind send."""

    def urlopen(  # all but four arguments are handed on as they are
        pool: HTTPConnectionPool,
        method: str,
        url: str,
        body: Any = None,  # noqa: ANN401 - as above
        headers: Mapping[str, str] | None = None,
        *more: Any,  # noqa: ANN401 - as above
        **options: Any,  # noqa: ANN401 - as above
    ) -> urllib3.BaseHTTPResponse:
        headers = pool.headers if headers is None else headers
        # A proxy that can read the request is asked for a whole URL.
        is_forwarded = pool.proxy is not None and not url.startswith("/")
        origin = Origin.of_url(url) if is_forwarded else _origin_of(pool.scheme or "", pool.host, pool.port)
        sent = bearer.headers(origin, {name.lower() for name in headers})
        if not sent:
            return kind.urlopen(pool, method, url, body, headers, *more, **options)
        if is_forwarded or (pool.scheme == "http" and _SOCKS in pool.conn_kw):
            raise through_a_proxy(str(origin))
        response = kind.urlopen(pool, method, url, body, _with(headers, sent), *more, **options)
        if response.status != UNAUTHORIZED or not isinstance(body, bytes | str | None):
            return response
        second = bearer.second(origin, sent)
        if not second:
            return response
        response.drain_conn()
        return kind.urlopen(pool, method, url, body, _with(headers, {**sent, **second}), *more, **options)

    return type(f"Signing{kind.__name__}", (kind,), {"urlopen": urlopen})


# As many services as a workload calls.
_origin_of: Final = lru_cache(64)(Origin.of)
