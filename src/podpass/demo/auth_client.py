# SPDX-License-Identifier: Apache-2.0
"""The second article's client: asks SERVICE_ENDPOINT again and again, and says what it is answered.

Run by the sandbox for the image `podpass.dev/demo/auth-client`. IDENTITY says which token, or which two, `podpass.client` adds to each
request.
"""

import os
from time import sleep

import httpx2

from podpass.client.httpx2 import BearerAuth
from podpass.errors import PodpassError

_PATHS = ("/", "/private")
_PAUSE_S = 1.0


def ask(http: httpx2.Client, path: str) -> str:
    """Ask once; return a line about it."""
    try:
        response = http.get(path)
    except (httpx2.HTTPError, PodpassError) as error:
        return f"GET {path} failed: {error}"
    return f"GET {path} {response.status_code} {' '.join(response.text.split())}"


def main() -> None:
    """Ask until the pod ends."""
    client = httpx2.Client(base_url=os.environ["SERVICE_ENDPOINT"], timeout=10)
    with BearerAuth.from_env().attach(client) as http:
        while True:
            for path in _PATHS:
                print(ask(http, path), flush=True)
            sleep(_PAUSE_S)


if __name__ == "__main__":
    main()
