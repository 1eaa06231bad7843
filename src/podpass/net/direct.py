# SPDX-License-Identifier: Apache-2.0
"""Plain http goes to its service directly: a proxy would read the token in it, and somebody else's answer would count for the service's.

https goes through a proxy in a tunnel, where nobody reads it. Plain http is admitted within this machine and within the cluster only, and a
proxy reaches neither for its callers: its own loopback is another machine's.
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from podpass.errors import ConfigError

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
"""The hosts of this very machine, as URLs name them."""

PAST_PROXIES: Final = {"all://127.0.0.1": None, "all://[::1]": None, "all://localhost": None}
"""The `mounts` of an httpx2 client of our own: requests to this machine heed no proxy of the environment."""


BEFORE_WRITING: Final = ".send_request_headers.started"
"""How the event ends that an httpx2 or httpx client tells the extension `trace` of a request before it writes it."""


def is_in_the_clear(info: Mapping[str, Any]) -> bool:
    """Tell whether a request is about to be written to a proxy that can read it.

    Args:
        info: What is told with the event before writing.

    Source:
        RFC 9112, 3.2.2: a proxy is asked for a whole URL; a service, also through a tunnel, for a path.
    """
    target: bytes = info["request"].url.target
    return not target.startswith(b"/") and target.lower().startswith((b"http://", b"https://"))


def place(netloc: str) -> str:
    """Return host and port; a URL may have a user and a password before them, which are no error's to say."""
    return netloc.rpartition("@")[2]


def through_a_proxy(url: str) -> ConfigError:
    """Return the error for a request that is not sent, since a proxy would read it."""
    parts = urlsplit(url)
    return ConfigError(
        f"No token is sent to {parts.scheme}://{place(parts.netloc)}: a proxy is on the way.",
        "It is not https, so the proxy, and everybody between here and there, could take the token.",
        f"Add {parts.hostname} to NO_PROXY, so that requests go there directly, or use https.",
        code="config.token-proxy",
    )
