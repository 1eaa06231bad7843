# SPDX-License-Identifier: Apache-2.0
"""For httpx2: `httpx2.Client(auth=BearerAuth.from_env())`, or `AsyncClient`.

With two tokens in a request: `BearerAuth.from_env().attach(httpx2.Client())`.
"""

import httpx2

from podpass.client.httpx_flow import HttpxFlow

__all__ = ["BearerAuth"]


class BearerAuth(HttpxFlow[httpx2.Request, httpx2.Response], httpx2.Auth):
    """Add the workload's tokens to the requests to configured origins; see `Bearer`."""

    replayable = httpx2.ByteStream
    asynchronous = httpx2.AsyncClient
