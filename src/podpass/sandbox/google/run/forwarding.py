# SPDX-License-Identifier: Apache-2.0
"""Hands a request on to a process on loopback and its answer back, both as streams; the request's target stays as it was written.

Left out: WebSockets, HTTP/2 and trailers.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import httpx2

from podpass.sandbox.google.message import Receive, Scope, Send
from podpass.sandbox.google.run.admission import Headers

# RFC 9110, 7.6.1, with what `Connection` names.
_HOP: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te", b"trailer", b"upgrade"}
    | {b"transfer-encoding"}
)
# The door's own to say; `expect` is answered by the server in front.
_OURS: Final = frozenset({b"forwarded", b"x-forwarded-proto", b"x-forwarded-for", b"expect"})
_CONNECT_S: Final = 5.0


class UpstreamError(Exception):
    """The process has given no answer.

    Attributes:
        status: What the caller is told.
        why: For the log.
    """

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status, self.why = status, why


class Forwarder:
    """Connections to the processes of services."""

    def __init__(self) -> None:
        limits = httpx2.Limits(max_connections=None, keepalive_expiry=2.0)
        # Plain HTTP on loopback: authorities, and an environment that names some, are nothing to it.
        self._transport = httpx2.AsyncHTTPTransport(verify=False, trust_env=False, limits=limits)

    async def close(self) -> None:
        """Let go of connections."""
        await self._transport.aclose()

    async def ask(self, port: int, headers: Headers, limit_s: float, scope: Scope, receive: Receive) -> httpx2.Response:
        """Hand one request on; return its answer as soon as it begins, to be given to `relay`.

        Raises:
            UpstreamError: There is no answer.
        """
        target = scope["raw_path"].partition(b"?")[0] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        passed = [*_end_to_end(headers, _OURS), *_forwarded(headers, scope)]
        has_body = any(name in {b"content-length", b"transfer-encoding"} for name, _ in headers)
        request = httpx2.Request(
            scope["method"],
            f"http://127.0.0.1:{port}/",
            headers=passed,
            content=_body(receive) if has_body else None,
            extensions={"target": target, "timeout": {"connect": _CONNECT_S, "read": limit_s}},
        )
        try:
            return await self._transport.handle_async_request(request)
        except httpx2.TimeoutException as error:
            raise UpstreamError(504, f"{error!r}") from None
        except httpx2.TransportError as error:
            raise UpstreamError(503, f"{error!r}") from None


def _end_to_end(headers: Headers, left_out: frozenset[bytes]) -> list[tuple[bytes, bytes]]:
    named = b",".join(value for name, value in headers if name.lower() == b"connection").lower().split(b",")
    dropped = _HOP | left_out | {each.strip() for each in named}
    # White space at an end is no part of a value (RFC 9110, 5.5), and the server in front leaves it there.
    return [(name, value.strip(b" \t")) for name, value in headers if name.lower() not in dropped or name.lower() == b"host"]


def _forwarded(headers: Headers, scope: Scope) -> list[tuple[bytes, bytes]]:
    """Say who came and how; what the caller says of earlier hops stays in front, where nobody may rely on it [K]."""
    peer = scope["client"][0].encode()
    before = [value for name, value in headers if name == b"x-forwarded-for"]
    return [
        (b"x-forwarded-for", b", ".join([*before, peer])),
        (b"x-forwarded-proto", b"https"),
        (b"forwarded", b'for="' + peer + b'";proto=https'),
    ]


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise httpx2.ReadError("the caller has gone")
        yield message.get("body", b"")
        if not message.get("more_body"):
            return


async def relay(response: httpx2.Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Send an answer on until it ends or the caller goes; one that breaks off breaks off for the caller, too."""
    sending = asyncio.ensure_future(_send(response, send))
    going = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait({sending, going}, return_when=asyncio.FIRST_COMPLETED)
        if sending.done():
            sending.result()
    except httpx2.TransportError:
        scope["state"]["hang_up"](rudely=True)
    finally:
        for each in (sending, going):
            each.cancel()
        await asyncio.gather(sending, going, return_exceptions=True)
        await response.aclose()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send(response: httpx2.Response, send: Send) -> None:
    # The server in front writes its own `date` and `server`, as Google's front end does.
    headers = [(name.lower(), value) for name, value in _end_to_end(response.headers.raw, frozenset({b"date", b"server"}))]
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    async for chunk in response.stream:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
