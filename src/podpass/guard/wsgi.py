# SPDX-License-Identifier: Apache-2.0
"""The WSGI shell.

WSGI hands on a path that is decoded already, so that an encoded slash looks like a plain one. Most servers say beside it what was sent
(`RAW_URI` of gunicorn, `REQUEST_URI` of others); then both are judged and must agree. Where neither is there, the decoded path is all that
exists: it is what is judged and what is served.
"""

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from podpass.guard import health
from podpass.guard.answer import Answer, refusal
from podpass.guard.caller import KEY, caller, identity
from podpass.guard.decide import Allow
from podpass.guard.guard import Guard
from podpass.guard.handing_on import Edit
from podpass.guard.incoming import Incoming

__all__ = ["GuardMiddleware", "caller", "health_app", "identity"]

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
App = Callable[[Environ, StartResponse], Iterable[bytes]]

_HEADERS: Final = (("HTTP_AUTHORIZATION", b"authorization"), ("HTTP_X_SERVERLESS_AUTHORIZATION", b"x-serverless-authorization"))


class GuardMiddleware:
    """Let an application see only the requests that a guard allows."""

    def __init__(self, app: App, guard: Guard) -> None:
        self._app = app
        self._guard = guard

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        decision = self._guard.decide(_incoming(environ))
        if isinstance(decision, Allow):
            environ[KEY] = decision.identity
            if decision.edit is not None:
                _edit(environ, decision.edit)
            return self._app(environ, start_response)
        return _respond(refusal(decision), environ, start_response)


def _incoming(environ: Environ) -> Incoming:
    """Read a request. Texts of WSGI hold bytes, one for each character (PEP 3333)."""
    mount, below = environ.get("SCRIPT_NAME", ""), environ.get("PATH_INFO", "")
    below = below or ("" if mount else "/")
    sent = environ.get("RAW_URI") or environ.get("REQUEST_URI")
    raw = (sent or "").partition("?")[0].encode("latin-1", "replace") or quote(_octets(mount + below), safe="/").encode("ascii")
    headers = [(name, environ[key].encode("latin-1", "replace")) for key, name in _HEADERS if key in environ]
    return Incoming(environ["REQUEST_METHOD"], raw, headers, _text(mount), _text(below))


def _edit(environ: Environ, edit: Edit) -> None:
    key = next(key for key, name in _HEADERS if name == edit[0])
    if edit[1] is None:
        del environ[key]
    else:
        environ[key] = edit[1].decode("latin-1")


def _octets(text: str) -> bytes:
    return text.encode("latin-1", "replace")


def _text(text: str) -> str:
    """Decode as routers do. What is not UTF-8 differs from every path that is judged, and so is refused."""
    return text if text.isascii() else _octets(text).decode("utf-8", "replace")


def _respond(answer: Answer, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response(f"{answer.status} {HTTPStatus(answer.status).phrase}", list(answer.headers))
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]


def health_app(guard: Guard) -> App:
    """Return an application that answers `/livez`, `/readyz` and `/metrics`."""

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        found = health.answer(guard, environ["REQUEST_METHOD"], environ.get("PATH_INFO", ""))
        return _respond(found, environ, start_response)

    return app
