# SPDX-License-Identifier: Apache-2.0
"""For requests: `session.auth = BearerAuth.from_env()`.

The hook below is called for each answer on the way of a redirect. To another origin, requests takes `Authorization` off by itself, and the
hook takes off the rest.
"""

import os
import re
import sys
from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import requests
from requests.auth import AuthBase
from requests.utils import get_environ_proxies, select_proxy

from podpass.client.bearer import AUTHORIZATION, UNAUTHORIZED, Bearer
from podpass.client.origins import Origin
from podpass.errors import ConfigError
from podpass.net.direct import place, through_a_proxy

__all__ = ["BearerAuth"]

_NETLOC_END: Final = re.compile(r"[/?#]")
# What urllib and requests read about proxies of http in an environment, in the cases that are in use; elsewhere than on Linux the system's
# settings come on top.
_NAMES_OF_PROXIES: Final = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")
_EXCEPTIONS: Final = ("no_proxy", "NO_PROXY", "REQUEST_METHOD")


class BearerAuth(Bearer, AuthBase):
    """Add the workload's tokens to the requests to configured origins; see `Bearer`."""

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sign a request; called by requests."""
        origin = _origin(r)
        if sent := self.headers(origin, r.headers):
            if origin.scheme == "http" and _is_proxied(origin):
                raise through_a_proxy(r.url or str(origin))
            r.headers.update(sent)
            r.register_hook("response", partial(self._answered, sent))  # type: ignore[no-untyped-call]  # the stubs leave it out
        return r

    def _answered(self, sent: Mapping[str, str], response: requests.Response, **options: Any) -> requests.Response:  # noqa: ANN401 - handed on
        """Look at an answer: after a refusal send the request once more, before a redirect take off what is not for its origin."""
        request = response.request
        proxies = options.get("proxies")
        if proxies and request.url and request.url.startswith("http:") and select_proxy(request.url, proxies):
            response.close()
            raise _was_read(request.url)
        answer = self._again(sent, response, **options) if response.status_code == UNAUTHORIZED else response
        if answer.is_redirect and not self._goes_to_us(answer):
            for name in sent.keys() - {AUTHORIZATION}:
                request.headers.pop(name, None)  # it is what requests copies for its next request
        return answer

    def _again(self, sent: Mapping[str, str], response: requests.Response, **options: Any) -> requests.Response:  # noqa: ANN401 - handed on
        request = response.request
        arrived = {name: value for name, value in sent.items() if request.headers.get(name) == value}
        if not arrived or not isinstance(request.body, bytes | str | None):
            return response
        second = self.second(_origin(request), arrived)
        if not second:
            return response
        _ = response.content  # else the connection could not be used again
        response.close()
        again = request.copy()
        again.headers.update(second)
        answer = response.connection.send(again, **options)
        answer.history.append(response)
        answer.request = again
        return answer

    def _goes_to_us(self, response: requests.Response) -> bool:
        """Tell whether a redirect stays among the configured origins."""
        try:
            return Origin.of_url(urljoin(response.url, response.headers["location"])) in self._origins
        except (ConfigError, ValueError):
            return False


def _was_read(url: str) -> ConfigError:
    """Return the error for a session that has proxies of its own; a session tells nobody of them before it sends."""
    parts = urlsplit(url)
    return ConfigError(
        f"The token that was sent to {parts.scheme}://{place(parts.netloc)} went through a proxy of the session: it has read it.",
        "It is not https, and the session was given `proxies` of its own, which requests shows to nobody before it sends.",
        f"Set session.proxies['http://{parts.hostname}'] = '', so that requests go there directly, or use https.",
        code="config.token-proxy",
    )


def _origin(request: requests.PreparedRequest) -> Origin:
    """Return where a prepared request goes; requests has brought its URL into one form."""
    scheme, _, rest = (request.url or "").partition("://")
    return _parsed(f"{scheme}://{_NETLOC_END.split(rest, maxsplit=1)[0]}")


# As many services as a workload calls; taking a URL apart costs as much as all the rest.
_parsed = lru_cache(64)(Origin.of_url)


def _is_proxied(origin: Origin) -> bool:
    """Tell whether the environment, as it is now, sends requests to an origin through a proxy."""
    named = tuple(map(os.environ.get, _NAMES_OF_PROXIES))
    # To ask for one variable costs as much as half of the rest: what excepts origins from proxies is asked for where there are any.
    excepted = tuple(map(os.environ.get, _EXCEPTIONS)) if any(named) else ()
    return _reads_a_proxy(origin, *named, *excepted)


def _finds_a_proxy(origin: Origin, *_: str | None) -> bool:
    url = f"{origin}/"
    return bool(select_proxy(url, get_environ_proxies(url)))


# To look through a whole environment costs ten times what the rest of a request's signing does.
_reads_a_proxy = lru_cache(64)(_finds_a_proxy) if sys.platform == "linux" else _finds_a_proxy
