# SPDX-License-Identifier: Apache-2.0
"""For requests: `session.auth = BearerAuth.from_env()`.

requests takes the header off on the way to another origin; the hook below is called for each answer on that way.
"""

from functools import partial
from typing import Any

import requests
from requests.auth import AuthBase

from podpass.client.bearer import AUTHORIZATION, UNAUTHORIZED, Bearer
from podpass.client.origins import Origin

__all__ = ["BearerAuth"]


class BearerAuth(Bearer, AuthBase):
    """Add the workload's token to the requests to configured origins; see `Bearer`."""

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sign a request; called by requests."""
        if AUTHORIZATION not in r.headers and (header := self.header(_origin(r))) is not None:
            r.headers[AUTHORIZATION] = header
            r.register_hook("response", partial(self._again, header))  # type: ignore[no-untyped-call]  # the stubs leave it out
        return r

    def _again(self, header: str, response: requests.Response, **options: Any) -> requests.Response:  # noqa: ANN401 - handed on
        """Send a refused request once more, if there is another token by now."""
        request = response.request
        is_refused = response.status_code == UNAUTHORIZED and request.headers.get(AUTHORIZATION) == header
        if not is_refused or not isinstance(request.body, bytes | str | None):
            return response
        second = self.second(_origin(request), header)
        if second is None:
            return response
        response.close()
        again = request.copy()
        again.headers[AUTHORIZATION] = second
        answer = response.connection.send(again, **options)
        answer.history.append(response)
        answer.request = again
        return answer


def _origin(request: requests.PreparedRequest) -> Origin:
    return Origin.of_url(request.url or "")
