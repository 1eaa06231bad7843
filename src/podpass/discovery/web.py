# SPDX-License-Identifier: Apache-2.0
"""One bounded request: a deadline for all of it, a limit for the body, no redirects, no decompression."""

import json
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import podpass
from podpass.errors import ConfigError, UnexpectedAnswerError, UnreachableError
from podpass.names.secret import redact
from podpass.net.authorities import of_the_environment
from podpass.net.deadline import Deadline
from podpass.net.direct import PAST_PROXIES
from podpass.net.forks import unforked

if TYPE_CHECKING:  # costs more to import than all of this room, and serves it a few times an hour
    import httpx2

LIMIT_BYTES: Final = 1024 * 1024
DEADLINE_S: Final = 4.0
_CHUNK_BYTES: Final = 64 * 1024
_MAX_AGE = re.compile(r"(?:^|,)\s*max-age\s*=\s*\"?(\d{1,9})\"?\s*(?=,|$)", re.IGNORECASE)
_UNCACHED = re.compile(r"(?:^|,)\s*no-(?:store|cache)\s*(?=,|$|=)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Question:
    """One request.

    Attributes:
        url: Where to; its scheme has been judged by whoever made it.
        accept: Media types.
        headers: Further headers; not shown, since one may be a credential.
        body: JSON to post; None: a GET.
    """

    url: str
    accept: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: Mapping[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of any status but a redirect.

    Attributes:
        status: HTTP status.
        content: The body, at most `LIMIT_BYTES`.
        max_age: How long it is fresh, from `Cache-Control` and `Age`; None where they do not say.
    """

    status: int
    content: bytes
    max_age: timedelta | None = None


def import_now() -> None:
    """Import what a call needs, here and not in the thread that makes it.

    A process that forks while a thread imports leaves the module locked in the child for ever, and with it every call; greenlets of gevent
    that import the same at once wait for each other. Takes some 150 ms, once.
    """
    for name in ("httpx2", "httpcore2", "encodings.idna"):
        import_module(name)


def new_http(ca_file: Path | None = None, *, trust_env: bool = True) -> "httpx2.Client":
    """Return a client that checks certificates by the machine's authorities, or by those in a file alone.

    Args:
        ca_file: PEM.
        trust_env: Heed the environment's proxy and CA variables; no proxy for loopback.

    Raises:
        ConfigError: The file, or the one that SSL_CERT_FILE names, cannot be read or holds no certificate.
    """
    with unforked():
        import httpx2  # noqa: PLC0415 - see above

        agent = {"user-agent": f"podpass/{podpass.__version__}", "accept-encoding": "identity"}
        verify = True if ca_file is None else _authorities(ca_file)
        with of_the_environment():
            return httpx2.Client(verify=verify, headers=agent, trust_env=trust_env, follow_redirects=False, mounts=PAST_PROXIES)


def _authorities(ca_file: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        what = f"The certificate authority in {ca_file} cannot be used."
        raise ConfigError(what, f"{error.strerror or error}.", "Name a file of certificates in PEM.", code="config.ca-file") from error


def ask(http: "httpx2.Client", question: Question, deadline: Deadline) -> Answer:
    """Send one request and read the answer.

    Raises:
        UnreachableError: No answer within the deadline, or a certificate that is not to be trusted.
        UnexpectedAnswerError: A redirect, a body beyond the limit, or one that is compressed although nobody asked for that.
    """
    import httpx2  # noqa: PLC0415 - see above

    host = urlsplit(question.url).netloc
    try:
        with http.stream(
            "GET" if question.body is None else "POST",
            question.url,
            headers={"accept": question.accept, **question.headers},
            json=question.body,
            timeout=deadline.left_s,
            extensions={"trace": deadline.trace},
        ) as response:
            deadline.watch(response.extensions["network_stream"])  # one that was kept
            answer = _read(response, question.url)
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OSError, ValueError) as error:
        raise _unreachable(host, error, deadline) from None
    # A body that ends with its connection looks whole when the connection is cut.
    if deadline.is_over:
        raise _unreachable(host, None, deadline)
    return answer


def parse_object(answer: Answer, url: str) -> dict[str, Any]:
    """Return the JSON object of a good answer.

    Raises:
        UnexpectedAnswerError: Another status than 200 or 201, or no JSON object.
    """
    content = require_success(answer, url)
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        # Without a cause: the decoder's error holds the answer.
        raise UnexpectedAnswerError(f"The answer of {url} is not a JSON object.", f"It has {len(content)} bytes of something else.")
    return document


def require_success(answer: Answer, url: str) -> bytes:
    """Return the body of a good answer.

    Raises:
        UnexpectedAnswerError: Another status than 200 or 201.
    """
    if answer.status not in {200, 201}:
        raise UnexpectedAnswerError(f"{url} answered {answer.status}.", "", "Open it with curl: it has to be readable from here.")
    return answer.content


def freshness(cache_control: str, age: str) -> timedelta | None:
    """Read how long an answer is fresh.

    Source:
        RFC 9111, 4.2 and 5.2.2; `s-maxage` is for caches that many share, and podpass is none.
    """
    if _UNCACHED.search(cache_control):
        return timedelta()
    if (found := _MAX_AGE.search(cache_control)) is None:
        return None
    spent_s = int(age) if age.isascii() and age.isdecimal() and len(age) <= 9 else 0  # noqa: PLR2004 - as for max-age
    return timedelta(seconds=max(int(found[1]) - spent_s, 0))


def _read(response: "httpx2.Response", url: str) -> Answer:
    if response.is_redirect or response.has_redirect_location:
        raise UnexpectedAnswerError(
            f"{url} answered with a redirect ({response.status_code}).",
            "podpass does not follow it: whoever may redirect could choose the keys.",
            "Publish the document at this very address.",
        )
    if response.headers.get("content-encoding", "identity") != "identity":
        raise UnexpectedAnswerError(f"The answer of {url} is compressed, although podpass asked for plain bytes.")
    content = bytearray()
    for chunk in response.iter_raw(_CHUNK_BYTES):
        content += chunk
        if len(content) > LIMIT_BYTES:
            raise UnexpectedAnswerError(f"The answer of {url} is too large.", f"podpass reads {LIMIT_BYTES} bytes at most.")
    max_age = freshness(response.headers.get("cache-control", ""), response.headers.get("age", ""))
    return Answer(response.status_code, bytes(content), max_age)


def _unreachable(host: str, error: Exception | None, deadline: Deadline) -> UnreachableError:
    if error is None or deadline.is_over:
        what = f"{host} gave no whole answer within {deadline.span_s:g} s."
        return UnreachableError(what, "", "Check the network between here and there.")
    words = redact(str(error)) or type(error).__name__
    next_step = "Check the network, and HTTPS_PROXY if there is one."
    if "CERTIFICATE_VERIFY_FAILED" in words:
        next_step = "Its certificate is not trusted here: name its authority in SSL_CERT_FILE."
    return UnreachableError(f"{host} gave no answer.", f"{words.rstrip('.')}.", next_step)
