# SPDX-License-Identifier: Apache-2.0
"""Google's two desks of an exchange, with as much weather as a test wants; keeps what it was asked."""

import json
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count
from typing import Any
from urllib.parse import parse_qs

import httpx2

from loopback_server import Reply, Seen
from podpass.clock import Clock
from podpass.errors import SourceUnavailableError
from podpass.exchange.endpoints import Endpoints
from podpass.exchange.exchanger import Exchanger
from podpass.names import GoogleServiceAccount, PoolName, Secret
from token_forge import ec_signer

PROVIDER = PoolName("123", "demo-pool").provider("demo-provider")
ACCOUNT = GoogleServiceAccount("wif-demo-sa@demo-project.iam.gserviceaccount.com")
_GOOGLE = ec_signer("google")

Weather = Callable[[], Reply]
"""Answers in Google's place, or raises what the HTTP library would."""


class GoogleDesk:
    """Issues tokens with numbers, until its weather changes.

    Attributes:
        asked: What was asked: the verb, and what it was asked for.
        weather: By verb (`token`, `generateAccessToken`, …): what happens in place of an answer; `*` for all.
        life: Of the tokens.
        revoked: Federated tokens that IAM Credentials does not accept.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._numbers = count(1)
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.weather: dict[str, Weather] = {}
        self.life = timedelta(hours=1)
        self.revoked: set[str] = set()

    @property
    def counts(self) -> Counter[str]:
        """How often each verb was asked for."""
        return Counter(verb for verb, _ in self.asked)

    def exchanger(self, account: GoogleServiceAccount | None = ACCOUNT) -> Exchanger:
        """Return an exchanger that asks here, in memory."""
        http = httpx2.Client(transport=httpx2.MockTransport(self._in_memory))
        return Exchanger(PROVIDER, service_account=account, http=http, clock=self._clock)

    def exchanger_at(self, url: str, account: GoogleServiceAccount | None = ACCOUNT) -> Exchanger:
        """Return an exchanger that asks a server."""
        return Exchanger(PROVIDER, service_account=account, clock=self._clock, endpoints=Endpoints(url, url))

    def answer(self, seen: Seen) -> Reply:
        """Answer a request."""
        verb = seen.path.rpartition(":")[2].rpartition("/")[2]
        form = verb == "token"
        asked = {key: values[0] for key, values in parse_qs(seen.body.decode()).items()} if form else json.loads(seen.body)
        self.asked.append((verb, asked))
        if weather := self.weather.get(verb, self.weather.get("*")):
            return weather()
        if seen.headers.get("authorization", "").removeprefix("Bearer ") in self.revoked:
            return refusal(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
        return Reply(200, json.dumps(self._grant(verb, asked)).encode())

    def _grant(self, verb: str, asked: dict[str, Any]) -> dict[str, Any]:
        number, ends_at = next(self._numbers), self._clock.now() + self.life
        match verb:
            case "token":
                return {"access_token": f"ya29.federated-{number}", "expires_in": self.life.total_seconds()}
            case "generateAccessToken":
                return {"accessToken": f"ya29.account-{number}", "expireTime": f"{ends_at:%Y-%m-%dT%H:%M:%SZ}"}
            case "generateIdToken":
                claims = {"aud": asked["audience"], "exp": int(ends_at.timestamp()), "iat": int(self._clock.now().timestamp()), "n": number}
                return {"token": _GOOGLE.token(claims)}
            case _:
                return {"keyId": "key-1", "signedBlob": "c2lnbmVk"}

    def _in_memory(self, request: httpx2.Request) -> httpx2.Response:
        seen = Seen(request.method, request.url.path, {name.lower(): value for name, value in request.headers.items()}, request.content)
        reply = self.answer(seen)
        return httpx2.Response(reply.status, headers=dict(reply.headers), content=reply.body)


class FakeSource:
    """A subject token that tests swap, as kubelet does."""

    def __init__(self, token: str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln") -> None:
        self.token = token
        self.error: BaseException | None = None
        self.reads = 0

    def read(self) -> Secret[str]:
        """Return the token, or raise as told."""
        self.reads += 1
        if self.error is not None:
            raise self.error
        return Secret(self.token, "subject token")

    def go_away(self) -> None:
        """Have no token from now on."""
        self.error = SourceUnavailableError("There is no subject token: /token does not exist.")

    def __str__(self) -> str:
        return "file /token"


def refusal(code: int, status: str, message: str) -> Reply:
    """Return an error body as Google's APIs write it."""
    return Reply(code, json.dumps({"error": {"code": code, "status": status, "message": message}}).encode())


def oauth_refusal(error: str, description: str, code: int = 400) -> Reply:
    """Return an error body as the security token service writes it."""
    return Reply(code, json.dumps({"error": error, "error_description": description}).encode())


def reset() -> Reply:
    """Cut the connection."""
    message = "connection reset"
    raise httpx2.ReadError(message)


def slow() -> Reply:
    """Say nothing until the client gives up."""
    message = "timed out"
    raise httpx2.ReadTimeout(message)


OUTAGES: dict[str, Weather] = {
    "500": lambda: refusal(500, "INTERNAL", "Internal error encountered."),
    "503 in HTML": lambda: Reply(503, b"<html>"),
    "429 with Retry-After": lambda: Reply(429, refusal(429, "RESOURCE_EXHAUSTED", "Quota exceeded.").body, {"retry-after": "20"}),
    "slow": slow,
    "reset": reset,
    "truncated": lambda: Reply(200, b'{"access_to'),
}


def moments(start: datetime, span: timedelta, step: timedelta) -> list[datetime]:
    """Return the moments of a span."""
    return [start + number * step for number in range(span // step)]
