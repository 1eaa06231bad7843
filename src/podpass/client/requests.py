# SPDX-License-Identifier: Apache-2.0
"""For requests: `session = BearerAuth.from_env().attach(requests.Session())`.

The tokens are added where an adapter of the session sends a request, to a copy of it: each hop of a redirect passes there, and so requests
has no token that it could take along. It is also the one place that knows through which proxy a request is about to go.
"""

from functools import lru_cache
from typing import Any, NoReturn, TypeVar

import requests
from requests.adapters import BaseAdapter
from requests.utils import select_proxy

from podpass.client.bearer import UNAUTHORIZED, Bearer
from podpass.client.origins import Origin
from podpass.errors import ConfigError
from podpass.net.direct import through_a_proxy

__all__ = ["BearerAuth"]

SessionT = TypeVar("SessionT", bound=requests.Session)


class BearerAuth(Bearer):
    """Add the workload's tokens to the requests to configured origins; see `Bearer`."""

    def attach(self, session: SessionT) -> SessionT:
        """Make a session send the tokens. Adapters of its own are mounted before; one that is mounted later sends none."""
        session.adapters.update({prefix: _Signing(self, adapter) for prefix, adapter in session.adapters.items()})
        # Else what ~/.netrc has for a host, or for all, is a header of the caller's own, and no token is sent.
        session.auth = session.auth or _as_it_is
        return session

    def __call__(self, _: requests.PreparedRequest) -> NoReturn:
        """Refuse to be the `auth` of a session: what is called there cannot see the session's proxies."""
        raise ConfigError(
            "A token is not sent by way of `auth`.",
            "requests shows nobody there through which proxy a request will go.",
            "Write session = BearerAuth.from_env().attach(requests.Session()).",
            code="config.client",
        )


class _Signing(BaseAdapter):
    """Sign what another adapter sends, and once more with another token if it was refused."""

    def __init__(self, bearer: BearerAuth, adapter: BaseAdapter) -> None:
        super().__init__()
        self._bearer = bearer
        self._adapter = adapter

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: FBT001, FBT002 - as requests has it
        timeout: Any = None,  # noqa: ANN401 - handed on
        verify: bool | str = True,  # noqa: FBT001, FBT002
        cert: Any = None,  # noqa: ANN401
        proxies: Any = None,  # noqa: ANN401
    ) -> requests.Response:
        options = {"stream": stream, "timeout": timeout, "verify": verify, "cert": cert, "proxies": proxies}
        origin = _origin(request)
        if origin is None or not (sent := self._bearer.headers(origin, request.headers)):
            return self._adapter.send(request, **options)
        if proxies and origin.scheme == "http" and select_proxy(request.url or "", proxies):
            raise through_a_proxy(request.url or str(origin))
        response = self._signed(request, sent, options)
        if response.status_code != UNAUTHORIZED or not isinstance(request.body, bytes | str | None):
            return response
        second = self._bearer.second(origin, sent)
        if not second:
            return response
        _ = response.content  # else the connection could not be used again
        response.close()
        answer = self._signed(request, {**sent, **second}, options)
        answer.history.append(response)
        return answer

    def _signed(self, request: requests.PreparedRequest, sent: dict[str, str], options: dict[str, Any]) -> requests.Response:
        # A copy, so that at no time the request itself has a token: another thread may be sending it, or copying it for a redirect.
        signed = object.__new__(type(request))
        signed.__dict__.update(request.__dict__)
        signed.headers = request.headers.copy()
        signed.headers.update(sent)
        try:
            response = self._adapter.send(signed, **options)
        except requests.RequestException as error:
            if error.request is signed:
                error.request = request
            raise
        response.request = request
        return response

    def close(self) -> None:
        self._adapter.close()


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _origin(request: requests.PreparedRequest) -> Origin | None:
    """Return where a prepared request goes; requests has brought its URL into one form. None: to no service, or nowhere."""
    return _parsed("/".join((request.url or "").split("/", 3)[:3]))


# As many services as a workload calls; taking a URL apart costs as much as all the rest.
@lru_cache(64)
def _parsed(url: str) -> Origin | None:
    try:
        return Origin.of_url(url)
    except ConfigError:  # of another scheme, or what a redirect made up: the adapter's to judge
        return None
