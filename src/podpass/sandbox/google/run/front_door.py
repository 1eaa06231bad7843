# SPDX-License-Identifier: Apache-2.0
"""`https://SERVICE….run.app`: finds the service, judges the request, and hands it on to the service's process as it comes."""

import html
import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from http import HTTPStatus
from typing import Final

from podpass.sandbox.google.message import Answer, Receive, Request, Scope, Send
from podpass.sandbox.google.run.addresses import SERVED_DOMAIN
from podpass.sandbox.google.run.admission import Refusal, admit
from podpass.sandbox.google.run.forwarding import Forwarder, UpstreamError, relay
from podpass.sandbox.google.run.services import KIND, Place, urls_of
from podpass.sandbox.google.universe import Universe
from podpass.sandbox.store import Record

_log = logging.getLogger(__name__)
# What the pages say, by status; the words are Cloud Run's own [M].
_SENTENCES: Final = {
    401: "Your client does not have permission to the requested URL <code>{path}</code>.",
    403: "Your client does not have permission to get URL <code>{path}</code> from this server.",
    404: "The requested URL <code>{path}</code> was not found on this server.",
    503: "The service you requested is not available yet.<p>Please try again in 30 seconds.",
    504: "The upstream request timed out.",
}
_TITLES: Final = {401: "Unauthorized", 403: "Forbidden", 404: "Page not found"}
_CHALLENGE: Final = 'Bearer error="invalid_token" error_description="The access token could not be verified"'  # [M]


class FrontDoor:
    """The ASGI application of every service's URLs.

    Args:
        universe: Whose services.
        at_work: Says at which port a service is served now, by its record's key, and keeps it there until the request is answered.
    """

    def __init__(self, universe: Universe, at_work: Callable[[str], AbstractContextManager[int]]) -> None:
        self._universe = universe
        self._at_work = at_work
        self._forwarder = Forwarder()

    def serves(self, host: str) -> bool:
        """Tell whether a host is, or could be, a service's."""
        return host.endswith(SERVED_DOMAIN)

    async def close(self) -> None:
        """Let go of connections."""
        await self._forwarder.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request of an ASGI server."""
        with ExitStack() as until_answered:
            await self._answer(scope, receive, send, until_answered)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, until_answered: ExitStack) -> None:
        started = time.time()
        (host,) = (value.decode("latin-1").lower().removesuffix(":443") for name, value in scope["headers"] if name == b"host")
        request = Request(scope["method"], host, scope["raw_path"].decode("latin-1").partition("?")[0])
        caller, response = "anonymous", None
        try:
            service = self._service(host)
            admission = admit(self._universe, service, scope["headers"])
            caller = admission.caller.name
            port = until_answered.enter_context(self._at_work(service.key))
            response = await self._forwarder.ask(port, admission.headers, _limit_s(service), scope, receive)
            status = response.status_code
        except Refusal as refusal:
            caller, status = refusal.caller, refusal.status
            _log.info("%s https://%s%s: %s %s", request.verb, host, request.path, status, refusal.why)
        except UpstreamError as error:
            status = error.status
            _log.info("%s https://%s%s: %s %s", request.verb, host, request.path, status, error.why)
        # Noted before anything is sent, so that whoever has an answer finds it in the log.
        self._universe.log.add(request, "run.routes.invoke", status, caller, started)
        if response is None:
            await _page(status, request.path).send(send, bodiless=request.verb == "HEAD")
        else:
            await relay(response, scope, receive, send)

    def _service(self, host: str) -> Record:
        url = f"https://{host}"
        for record in self._universe.store.select(KIND):
            if url in urls_of(self._universe, Place.of(record.key)):
                return record
        raise Refusal(404, "No service has this host.")


def _limit_s(service: Record) -> float:
    return float(service.value["spec"]["template"]["spec"]["timeoutSeconds"])


def _page(status: int, path: str) -> Answer:
    phrase = HTTPStatus(status).phrase
    title = _TITLES.get(status, "Server Error")
    sentence = _SENTENCES.get(status, _SENTENCES[503]).format(path=html.escape(path))
    text = (
        '\n<html><head>\n<meta http-equiv="content-type" content="text/html;charset=utf-8">\n'
        f"<title>{status} {phrase if status in _TITLES and status != HTTPStatus.NOT_FOUND else title}</title>\n</head>\n"
        f"<body text=#000000 bgcolor=#ffffff>\n<h1>Error: {title}</h1>\n<h2>{sentence}</h2>\n<h2></h2>\n</body></html>\n"
    )
    headers = {"content-type": "text/html; charset=UTF-8"}
    return Answer(status, text.encode(), {**headers, "www-authenticate": _CHALLENGE} if status == HTTPStatus.UNAUTHORIZED else headers)
