# SPDX-License-Identifier: Apache-2.0
"""One client for all of Google's APIs: sends a request, repeats what may be repeated, turns refusals into errors.

What is repeated, with pauses (`backoff.py`) and never beyond the deadline:

1. 429, and connections that never stood: any request, since Google did nothing yet.
2. 408, 500, 502, 503, 504, and connections that broke: requests that may be made twice (GET, PUT, DELETE, POSTs that only read, and
   creations under a name of our own, whose repetition is refused where the first one was done).
3. 401: once, at once, with renewed credentials.

Redirects are never followed: the `Authorization` header belongs to the host that was asked.
"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar
from urllib.parse import quote

import httpx2

from podpass.errors import NeighbourError, UnexpectedAnswerError, UnreachableError
from podpass.google.backoff import Attempts, Pacing, retry_after_s
from podpass.google.connections import CONNECT_TIMEOUT_S, TIMEOUT_S, new_http
from podpass.google.fault import FaultKind, GoogleFault, GoogleRefusedError, GoogleUnavailableError
from podpass.names.secret import redact
from podpass.net.silence import Silence

log = logging.getLogger(__name__)

T = TypeVar("T")

Json = dict[str, Any]
"""An object of Google's APIs, as answered. Who reads a member checks it."""

UNIVERSE: Final = "googleapis.com"
_SAFE_TO_REPEAT = frozenset({"GET", "PUT", "DELETE"})
_PASSING = frozenset({408, 500, 502, 503, 504})
_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)
# A writing may take its time, and whether it was done is better known; a reading that gets lost is asked for again.
_READING_TIMEOUT_S = 12.0
_LOOK: Final = "Check the network and HTTPS_PROXY, then run the command again."


class Authorizer(Protocol):
    """Signs requests with somebody's credentials; safe for threads."""

    def headers(self) -> Mapping[str, str]:
        """Return what a request needs: `authorization`, and `x-goog-user-project` where the credentials name a quota project."""
        ...

    def renew(self, stale: Mapping[str, str]) -> None:
        """Make sure that the next `headers` differ from these, which were refused."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """One call.

    Attributes:
        verb: GET, POST, PUT, PATCH or DELETE.
        service: The API's host without the universe: `iam`.
        path: With its version, from the root, percent-encoded (`segment`).
        doing: What it does, after "to", for errors: `create the pool demo`.
        query: Query parameters.
        body: JSON to send; None sends nothing.
        content: Bytes to send in place of `body`.
        headers: Further headers.
        permission: What the caller needs, for errors where Google does not say.
        is_repeatable: May be made twice; None: by its verb.
    """

    verb: str
    service: str
    path: str
    doing: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Json | None = None
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    permission: str | None = None
    is_repeatable: bool | None = None

    @property
    def may_repeat(self) -> bool:
        """Whether making it twice is as good as once."""
        return self.verb in _SAFE_TO_REPEAT if self.is_repeatable is None else self.is_repeatable


def segment(text: str) -> str:
    """Return a name as one segment of a path."""
    return quote(text, safe="@")


class GoogleClient:
    """Asks Google's APIs. Safe for threads; close it, or use it as a context manager.

    Args:
        authorizer: The operator, usually `operator.find()`.
        http: The connection pool; None makes one of its own.
        universe: The domain of the APIs.
        pacing: How often and how long a request is repeated.

    Attributes:
        silence: How long nothing of Google has answered, the token endpoint included where it is asked over the same `http`.
    """

    def __init__(
        self, authorizer: Authorizer, *, http: httpx2.Client | None = None, universe: str = UNIVERSE, pacing: Pacing | None = None
    ) -> None:
        self._authorizer = authorizer
        self._http = http or new_http()
        self._universe = universe
        self.pacing = pacing or Pacing()
        self.silence = Silence(_silent)
        self.silence.listen_to(self._http)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._http.close()

    def call(self, request: Request) -> Json:
        """Send a request and return the object that it is answered with; an empty answer is an empty object.

        Raises:
            GoogleRefusedError: 4xx.
            GoogleUnavailableError: 429 or 5xx until the deadline.
            UnreachableError: No answer at all.
            UnexpectedAnswerError: No JSON object, or a redirect.
        """
        content = self.send(request).content
        if not content.strip():
            return {}
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise UnexpectedAnswerError(
                f"Google's answer to the request to {request.doing} is not a JSON object.",
                f"{request.service}.{self._universe} sent {len(content)} bytes of something else.",
                "Look for a proxy that answers in Google's place.",
            )
        return answer

    def find(self, request: Request) -> Json | None:
        """Do as `call`, but return None where the thing is not there."""
        return _or_none(lambda: self.call(request))

    def find_content(self, request: Request) -> bytes | None:
        """Return the bytes of an answer, or None where the thing is not there."""
        return _or_none(lambda: self.send(request).content)

    def send(self, request: Request) -> httpx2.Response:
        """Do as `call`, but return the whole answer, whatever is in it."""
        attempts = self.pacing.start()
        is_renewed = False
        while True:
            signature = self._authorizer.headers()
            try:
                response = self._once(request, signature, attempts)
            except httpx2.RequestError as error:
                repeatable = request.may_repeat or isinstance(error, _NOT_SENT)
                if not repeatable or not attempts.pause(is_silent=True):
                    raise self._unreachable(request, error, attempts) from error
                continue
            if response.is_success:
                return response
            if response.status_code == httpx2.codes.UNAUTHORIZED and not is_renewed:
                self._authorizer.renew(signature)
                is_renewed = True
            elif not self._passes(request, response) or not attempts.pause(at_least=retry_after_s(response.headers.get("retry-after", ""))):
                raise self._refused(request, response, attempts)

    def _once(self, request: Request, signature: Mapping[str, str], attempts: Attempts) -> httpx2.Response:
        headers = {"accept": "application/json", **request.headers, **signature}
        timeout = max(1.0, min(_READING_TIMEOUT_S if request.may_repeat else TIMEOUT_S, attempts.remaining))
        response = self._http.request(
            request.verb,
            f"https://{request.service}.{self._universe}{request.path}",
            params=request.query or None,
            headers=headers,
            timeout=httpx2.Timeout(timeout, connect=min(timeout, CONNECT_TIMEOUT_S)),
            follow_redirects=False,
            content=request.content,
            json=request.body,
        )
        log.debug("%s %s%s -> %d", request.verb, request.service, request.path, response.status_code)
        return response

    @staticmethod
    def _passes(request: Request, response: httpx2.Response) -> bool:
        """Say whether the same request may fare better later."""
        if response.status_code == httpx2.codes.TOO_MANY_REQUESTS:
            return True
        return request.may_repeat and response.status_code in _PASSING

    def _refused(self, request: Request, response: httpx2.Response, attempts: Attempts) -> NeighbourError:
        if response.has_redirect_location or response.is_redirect:
            return UnexpectedAnswerError(
                f"The request to {request.doing} was answered with a redirect ({response.status_code}).",
                "Google's APIs do not redirect, and podpass never sends a token along.",
                "Look for a proxy that answers in Google's place.",
            )
        fault = GoogleFault.parse(response.status_code, response.content)
        if fault.code >= httpx2.codes.INTERNAL_SERVER_ERROR or fault.code in {httpx2.codes.TOO_MANY_REQUESTS, httpx2.codes.REQUEST_TIMEOUT}:
            return GoogleUnavailableError(fault, request.doing, attempts.count)
        return GoogleRefusedError(fault, request.doing, permission=request.permission)

    def _unreachable(self, request: Request, error: httpx2.RequestError, attempts: Attempts) -> UnreachableError:
        host = f"{request.service}.{self._universe}"
        return unreachable(host, request.doing, error, attempts.count)


def _or_none(call: Callable[[], T]) -> T | None:
    try:
        return call()
    except GoogleRefusedError as error:
        if error.kind is FaultKind.NOT_FOUND:
            return None
        raise


def _silent(seconds: float) -> UnreachableError:
    return UnreachableError(
        f"Google has given no answer for {seconds:.0f} s.",
        f"Neither its APIs nor who gives tokens for them answers: something swallows what is sent to {UNIVERSE}.",
        f"{_LOOK} `curl https://iam.{UNIVERSE}` shows the same without podpass.",
    )


def unreachable(host: str, doing: str, error: Exception, attempts: int = 1) -> UnreachableError:
    """Return the error for a host of Google that gave no answer."""
    words = redact(str(error)) or type(error).__name__
    times = f" after {attempts} tries" if attempts > 1 else ""
    next_step = _LOOK
    if "CERTIFICATE_VERIFY_FAILED" in words:
        next_step = "Its certificate is not trusted here: name the CA of your proxy in SSL_CERT_FILE."
    return UnreachableError(f"{host} gave no answer{times} when asked to {doing}.", f"{words.rstrip('.')}.", next_step)
