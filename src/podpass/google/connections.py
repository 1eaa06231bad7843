# SPDX-License-Identifier: Apache-2.0
"""The connections to Google's APIs, with podpass's habits; what is asked over them is `rest.py`'s."""

from collections.abc import Iterator
from typing import Final

import httpx2

import podpass
from podpass.errors import UnexpectedAnswerError
from podpass.net.authorities import of_the_environment
from podpass.net.direct import PAST_PROXIES

TIMEOUT_S: Final = 30.0
CONNECT_TIMEOUT_S: Final = 5.0
_CONNECTIONS = 16
# A policy has 64 KiB, a page of a list a few hundred; nothing that podpass asks for comes near it.
LIMIT_ANSWER_BYTES: Final = 16 * 1024 * 1024


def new_http() -> httpx2.Client:
    """Return a client with podpass's habits: the environment's proxy and CA, no redirects, bounded times, bounded answers.

    Raises:
        ConfigError: The environment's CA file cannot be used.
    """
    with of_the_environment():
        return httpx2.Client(
            timeout=httpx2.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            limits=httpx2.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS, keepalive_expiry=60.0),
            headers={"user-agent": f"podpass/{podpass.__version__}", "accept-encoding": "identity"},
            follow_redirects=False,
            mounts=PAST_PROXIES,
            event_hooks={"response": [_bound]},
        )


def _bound(response: httpx2.Response) -> None:
    """Have a body end at the limit, and refuse a compressed one: a megabyte of it can hold a gigabyte."""
    host = response.request.url.host
    if response.headers.get("content-encoding", "identity") != "identity":
        raise UnexpectedAnswerError(f"The answer of {host} is compressed, although podpass asked for plain bytes.")
    assert isinstance(response.stream, httpx2.SyncByteStream)
    response.stream = _Bounded(response.stream, host)


class _Bounded(httpx2.SyncByteStream):
    """A body that ends with an error where it grows beyond the limit."""

    def __init__(self, stream: httpx2.SyncByteStream, host: str) -> None:
        self._stream = stream
        self._host = host

    def __iter__(self) -> Iterator[bytes]:
        count = 0
        for chunk in self._stream:
            count += len(chunk)
            if count > LIMIT_ANSWER_BYTES:
                raise UnexpectedAnswerError(
                    f"The answer of {self._host} is too large.", f"podpass reads {LIMIT_ANSWER_BYTES} bytes at most."
                )
            yield chunk

    def close(self) -> None:
        self._stream.close()
