# SPDX-License-Identifier: Apache-2.0
"""Calls of a workload: each request to a configured service carries the workload's token, and no other request does.

`Bearer` is all of it: which token (`tokens`), and to whom (`origins`). Beside it stands one thin adapter for each HTTP library, in a file
with the library's name: `httpx2`, `httpx`, `requests`, `aiohttp`, `urllib3`, each with a `BearerAuth`. See docs/how-to/call-a-service.md.
"""

from podpass.client.bearer import Bearer
from podpass.client.origins import Origin

__all__ = ["Bearer", "Origin"]
