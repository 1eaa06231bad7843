# SPDX-License-Identifier: Apache-2.0
"""An API server made of prepared answers, and kubeconfigs that lead to it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2

from podpass.kube.client import KubeClient, connect
from podpass.kube.kubeconfig import from_dict

TOKEN = "not-to-be-seen-operator-token"
Answer = httpx2.Response | Exception


def kubeconfig(user: Mapping[str, Any] | None = None, **cluster: Any) -> dict[str, Any]:  # noqa: ANN401 - a kubeconfig's own values
    """Return a kubeconfig with one context."""
    return {
        "current-context": "admin@demo",
        "contexts": [{"name": "admin@demo", "context": {"cluster": "demo", "user": "admin"}}],
        "clusters": [{"name": "demo", "cluster": {"server": "https://demo.example:6443", **cluster}}],
        "users": [{"name": "admin", "user": {"token": TOKEN} if user is None else dict(user)}],
    }


def status(code: int, reason: str, message: str) -> httpx2.Response:
    """Return a Status of Kubernetes."""
    return httpx2.Response(
        code,
        json={
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "code": code,
        },
    )


@dataclass
class Recorded:
    """Answers in order; keeps what was asked, and how long was waited."""

    answers: list[Answer]
    asked: list[httpx2.Request] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        # A copy: who is asked for a second token writes it into the same request.
        self.asked.append(httpx2.Request(request.method, request.url, headers=request.headers, content=request.content))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx2.Response(answer.status_code, headers=answer.headers, stream=answer.stream)

    def client(self, content: Mapping[str, Any] | None = None) -> KubeClient:
        """Return a client that asks this server."""
        client = connect(from_dict(content or kubeconfig()), transport=httpx2.MockTransport(self._answer))
        client._sleep = self.slept.append
        return client

    @property
    def bodies(self) -> list[Any]:
        """The JSON bodies that were sent."""
        return [json.loads(request.content) if request.content else None for request in self.asked]

    @property
    def lines(self) -> list[str]:
        """Verb and path of each request, with its query."""
        return [f"{request.method} {request.url.raw_path.decode()}" for request in self.asked]


def cluster(*answers: Answer | Mapping[str, Any]) -> Recorded:
    """Return an API server that gives these answers, the last one for ever."""
    return Recorded(
        [answer if isinstance(answer, httpx2.Response | Exception) else httpx2.Response(200, json=dict(answer)) for answer in answers]
    )
