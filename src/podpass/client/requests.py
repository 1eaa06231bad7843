# SPDX-License-Identifier: Apache-2.0
"""For requests: `session.auth = BearerAuth.from_env()`.

requests takes the header off on the way to another origin; the hook below is called for each answer on that way.
"""

import re
from functools import lru_cache
from typing import Any, Final

import requests
from requests.auth import AuthBase

from podpass.client.bearer import AUTHORIZATION, UNAUTHORIZED, Bearer
from podpass.client.origins import Origin

__all__ = ["BearerAuth"]

_NETLOC_END: Final = re.compile(r"[/?#]")


class BearerAuth(Bearer, AuthBase):
    """Add the workload's token to the requests to configured origins; see `Bearer`."""

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sign a request; called by requests."""
        if AUTHORIZATION not in r.headers and (header := self.header(_origin(r))) is not None:
            r.headers[AUTHORIZATION] = header
            r.register_hook("response", self._again)  # type: ignore[no-untyped-call]  # the stubs leave it out
        return r

    def _again(self, response: requests.Response, **options: Any) -> requests.Response:  # noqa: ANN401 - handed on
        """Send a refused request once more, if there is another token by now."""
        if response.status_code != UNAUTHORIZED:
            return response
        request = response.request
        header = request.headers.get(AUTHORIZATION)  # None: taken off on the way
        if header is None or not isinstance(request.body, bytes | str | None):
            return response
        second = self.second(_origin(request), header)
        if second is None:
            return response
        _ = response.content  # else the connection could not be used again
        response.close()
        again = request.copy()
        again.headers[AUTHORIZATION] = second
        answer = response.connection.send(again, **options)
        answer.history.append(response)
        answer.request = again
        return answer


def _origin(request: requests.PreparedRequest) -> Origin:
    """Return where a prepared request goes; requests has brought its URL into one form."""
    scheme, _, rest = (request.url or "").partition("://")
    return _parsed(f"{scheme}://{_NETLOC_END.split(rest, maxsplit=1)[0]}")


# As many services as a workload calls; taking a URL apart costs as much as all the rest.
_parsed = lru_cache(64)(Origin.of_url)
