# SPDX-License-Identifier: Apache-2.0
"""One request that carries a token: to one origin, within a deadline, never along a redirect, never readable by a proxy; and its answer.

No error here has a cause or a context: the HTTP library's own hold the request, and with it the token.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeGuard
from urllib.parse import urlsplit

import httpx2

from podpass.errors import ConfigError, PodpassError, UnexpectedAnswerError, UnreachableError
from podpass.google.rest import unreachable
from podpass.net.deadline import Deadline
from podpass.net.direct import BEFORE_WRITING, is_in_the_clear, through_a_proxy

DEADLINE_S: Final = 8.0
_LIMIT_BYTES: Final = 1024 * 1024
_CONNECT_S: Final = 4.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, of any status but a redirect.

    Attributes:
        status: HTTP status.
        content: The body; not shown, since it may hold a token.
        retry_after: The header of that name, or nothing.
    """

    status: int
    content: bytes
    retry_after: str

    @property
    def is_good(self) -> bool:
        """Whether the request was granted."""
        return httpx2.codes.is_success(self.status)

    def __repr__(self) -> str:
        return f"<Answer {self.status}, {len(self.content)} bytes>"


def post(http: httpx2.Client, url: str, doing: str, **content: Any) -> Answer:  # noqa: ANN401 - the client's own arguments
    """Send one request, once: who waits for it decides whether to try again.

    Raises:
        UnreachableError: No whole answer within the deadline.
        UnexpectedAnswerError: A redirect, or an answer without end.
        ConfigError: A proxy would read the token.
    """
    outcome: Answer | PodpassError
    host = urlsplit(url).netloc
    with Deadline(DEADLINE_S, http) as deadline:
        try:
            outcome = _send(http, url, deadline, **content)
        except (httpx2.HTTPError, httpx2.StreamError, OSError) as error:
            outcome = _silent(host, doing, error, deadline)
        except (UnexpectedAnswerError, ConfigError) as error:
            outcome = error
    # A body that ends with its connection looks whole when the connection is cut.
    if deadline.is_over:
        outcome = _silent(host, doing, None, deadline)
    if isinstance(outcome, PodpassError):
        raise outcome
    if httpx2.codes.is_redirect(outcome.status):
        raise UnexpectedAnswerError(
            f"{host} answered the request to {doing} with a redirect ({outcome.status}).",
            "It was not followed: the token in it is for this origin only.",
            "Look for a proxy that answers in Google's place.",
        )
    return outcome


def _send(http: httpx2.Client, url: str, deadline: Deadline, **content: Any) -> Answer:  # noqa: ANN401 - as above
    def trace(event: str, info: Mapping[str, Any]) -> None:
        if event.endswith(BEFORE_WRITING) and is_in_the_clear(info):
            raise through_a_proxy(url)
        deadline.trace(event, info)

    timeout = httpx2.Timeout(deadline.left_s, connect=_CONNECT_S)
    extensions = {"trace": trace}
    with http.stream("POST", url, follow_redirects=False, timeout=timeout, extensions=extensions, **content) as response:
        if (stream := response.extensions.get("network_stream")) is not None:
            deadline.watch(stream)  # a connection that was kept
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > _LIMIT_BYTES:
                raise UnexpectedAnswerError(
                    f"The answer of {urlsplit(url).netloc} is too large.", f"It has more than {_LIMIT_BYTES} bytes."
                )
        return Answer(response.status_code, bytes(body), response.headers.get("retry-after", ""))


def _silent(host: str, doing: str, error: Exception | None, deadline: Deadline) -> UnreachableError:
    if error is None or deadline.is_over:
        what = f"{host} gave no whole answer within {deadline.span_s:g} s when asked to {doing}."
        return UnreachableError(what, "", "Check the network between here and there.")
    return unreachable(host, doing, error)


def is_token(value: object) -> TypeGuard[str]:
    """Whether it can stand in a header: printable ASCII without spaces."""
    return isinstance(value, str) and bool(value) and all("!" <= character <= "~" for character in value)


def read_object(answer: Answer, who: str) -> dict[str, Any]:
    """Return the JSON object of an answer.

    Raises:
        UnexpectedAnswerError: There is none. Without a cause: the decoder's error holds the answer.
    """
    try:
        content = json.loads(answer.content)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise unexpected(who, "is not a JSON object")
    return content


def unexpected(who: str, fault: str) -> UnexpectedAnswerError:
    """Return the error for a good answer without what was asked for."""
    return UnexpectedAnswerError(f"The answer of {who} {fault}.", "", "Look for a proxy that answers in Google's place.")
