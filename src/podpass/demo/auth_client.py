# SPDX-License-Identifier: Apache-2.0
"""The second article's client: asks SERVICE_ENDPOINT again and again, and says what it is answered.

Run by the sandbox for the image `podpass.dev/demo/auth-client`. The token comes from `podpass.client`, which adds it to each request.
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
    return f"GET {path} {response.status_code} {response.text.strip()}"


def main() -> None:
    """Ask until the pod ends."""
    with httpx2.Client(base_url=os.environ["SERVICE_ENDPOINT"], auth=BearerAuth.from_env(), timeout=10) as http:
        while True:
            for path in _PATHS:
                print(ask(http, path), flush=True)
            sleep(_PAUSE_S)


if __name__ == "__main__":
    main()
