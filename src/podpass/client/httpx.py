# SPDX-License-Identifier: Apache-2.0
"""For httpx, where it is installed: `httpx.Client(auth=BearerAuth.from_env())`, or `AsyncClient`.

With two tokens in a request: `BearerAuth.from_env().attach(httpx.Client())`.
"""

from typing import TYPE_CHECKING

from podpass.client.httpx_flow import HttpxFlow

if TYPE_CHECKING:  # its fork has the same types, and is always there
    import httpx2 as httpx
else:
    import httpx

__all__ = ["BearerAuth"]


class BearerAuth(HttpxFlow[httpx.Request, httpx.Response], httpx.Auth):
    """Add the workload's tokens to the requests to configured origins; see `Bearer`."""

    replayable = httpx.ByteStream
    asynchronous = httpx.AsyncClient
