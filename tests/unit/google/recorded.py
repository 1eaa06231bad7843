# SPDX-License-Identifier: Apache-2.0
"""A Google made of prepared answers, and a clock that only sleeping moves."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx2

from podpass.google.backoff import Pacing
from podpass.google.rest import GoogleClient

TOKEN = "ya29.not-to-be-seen"
Answer = httpx2.Response | Exception


def refusal(code: int, status: str, message: str, *details: Mapping[str, Any]) -> httpx2.Response:
    """Return Google's error body of the newer APIs."""
    error: dict[str, Any] = {"code": code, "status": status, "message": message}
    return httpx2.Response(code, json={"error": {**error, **({"details": list(details)} if details else {})}})


def reason(text: str, **metadata: str) -> dict[str, Any]:
    """Return an ErrorInfo."""
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": text, "domain": "googleapis.com", "metadata": metadata}


class Token:
    """An authorizer with a token for each renewal."""

    def __init__(self) -> None:
        self.renewals = 0

    def headers(self) -> dict[str, str]:
        """Return the present token."""
        return {"authorization": f"Bearer {TOKEN}{self.renewals}", "x-goog-user-project": "billed-project"}

    def renew(self, stale: Mapping[str, str]) -> None:
        """Make another one."""
        assert stale == self.headers()
        self.renewals += 1


class Time:
    """Seconds that pass by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        """Pass the time."""
        self.slept.append(seconds)
        self.now += seconds

    def pacing(self, within: float = 60) -> Pacing:
        """Return a pacing on this clock, without jitter."""
        return Pacing(within=timedelta(seconds=within), sleep=self.sleep, monotonic=lambda: self.now, jitter=lambda: 1.0)


@dataclass
class Recorded:
    """Answers in order; keeps what was asked."""

    answers: list[Answer]
    asked: list[httpx2.Request] = field(default_factory=list)
    time: Time = field(default_factory=Time)
    token: Token = field(default_factory=Token)

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx2.Response(answer.status_code, headers=answer.headers, content=answer.content)

    def client(self, *, within: float = 60) -> GoogleClient:
        """Return a client that asks this Google."""
        http = httpx2.Client(transport=httpx2.MockTransport(self._answer))
        return GoogleClient(self.token, http=http, pacing=self.time.pacing(within))

    @property
    def bodies(self) -> list[Any]:
        """The JSON bodies that were sent."""
        return [json.loads(request.content) if request.content else None for request in self.asked]

    @property
    def lines(self) -> list[str]:
        """Verb and path of each request, with its query."""
        return [f"{request.method} {request.url.host}{request.url.raw_path.decode()}" for request in self.asked]


def google(*answers: Answer | Mapping[str, Any]) -> Recorded:
    """Return a Google that gives these answers, the last one for ever."""
    return Recorded(
        [answer if isinstance(answer, httpx2.Response | Exception) else httpx2.Response(200, json=dict(answer)) for answer in answers]
    )
