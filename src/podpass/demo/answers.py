# SPDX-License-Identifier: Apache-2.0
"""The questions that a guarded server is asked, what it should answer, and the table of what it did."""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any

import httpx2

from podpass.names import Secret

_BUSY, _PATIENCE_S = 503, 20.0
# No TLS is spoken here, so no authority is trusted; reading the machine's would cost more than the question.
_NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server says: the status, and the code that a refusal has."""

    status: int
    code: str = ""

    def __str__(self) -> str:
        return f"{self.status} {self.code}".rstrip()


@dataclass(frozen=True, slots=True)
class Question:
    """A request, and the answer to it that is wanted.

    Attributes:
        name: For programs.
        path: What is asked for.
        token: What is sent, in words.
        wanted: The answer.
    """

    name: str
    path: str
    token: str
    wanted: Answer


NONE_EXPOSED = Question("exposed", "/", "none", Answer(200))
NONE = Question("none", "/private", "none", Answer(401, "token.missing"))
GOOD = Question("good", "/private", "the client's own", Answer(200))
OTHER_AUDIENCE = Question("other-audience", "/private", "for another audience", Answer(401, "token.wrong-audience"))
OTHER_CLUSTER = Question("other-cluster", "/private", "another cluster's, same issuer", Answer(401, "token.unknown-key"))
EXPIRED = Question("expired", "/private", "expired", Answer(401, "token.expired"))
OTHER_ACCOUNT = Question("not-in-policy", "/private", "of an account not in the policy", Answer(403, "policy.not-a-member"))
DELETED_POD = Question("pod-deleted", "/private", "of a pod that is deleted", Answer(401, "token.revoked"))
QUESTIONS = (NONE_EXPOSED, NONE, GOOD, OTHER_AUDIENCE, OTHER_CLUSTER, EXPIRED, OTHER_ACCOUNT, DELETED_POD)


def ask(url: str, token: Secret[str] | None = None) -> Answer:
    """Send a request with a token; where the server says "not now", come back when it says so, as any client would."""
    headers = {"authorization": f"Bearer {token.reveal()}"} if token else {}
    deadline = monotonic() + _PATIENCE_S
    while True:
        response = httpx2.get(url, headers=headers, verify=_NOBODY, trust_env=False, timeout=_PATIENCE_S)
        pause_s = float(response.headers.get("retry-after", "1"))
        if response.status_code != _BUSY or monotonic() + pause_s > deadline:
            return Answer(response.status_code, _code(response))
        sleep(pause_s)


def _code(response: httpx2.Response) -> str:
    if response.headers.get("content-type") != "application/json":
        return ""
    return str(response.json().get("code", ""))


@dataclass(slots=True)
class Table:
    """Questions with their answers.

    Attributes:
        signing_key: Which key of the cluster signed at that time: `first` or `new`.
        title: The same for people.
        answers: By the question's name.
    """

    signing_key: str
    title: str
    answers: dict[str, Answer] = field(default_factory=dict)

    def note(self, question: Question, answer: Answer) -> str:
        """Take an answer; return a line about it."""
        self.answers[question.name] = answer
        return f"GET {question.path}, token: {question.token} -> {answer}"

    def lines(self) -> Iterator[str]:
        """Yield the table; it fits 80 columns."""
        yield f"{'GET':9}{'token':33}{'wanted':8}answer"
        for question in QUESTIONS:
            answer = self.answers.get(question.name)
            remark = "" if answer == question.wanted else f" (wanted {question.wanted})"
            yield f"{question.path:9}{question.token:33}{question.wanted.status:<8}{answer or 'none'}{remark}"

    def faults(self) -> Iterator[str]:
        """Yield half a sentence for each answer that is not the one that is wanted."""
        for question in QUESTIONS:
            answer = self.answers.get(question.name)
            if answer != question.wanted:
                yield f"{question.name} (signing key: {self.signing_key}): {answer or 'no answer'}, wanted {question.wanted}"

    def as_json(self) -> list[dict[str, Any]]:
        """Return the table for programs."""
        return [
            {
                "case": question.name,
                "path": question.path,
                "token": question.token,
                "wanted": {"status": question.wanted.status, "code": question.wanted.code},
                "answer": {"status": answer.status, "code": answer.code} if answer else None,
                "as_wanted": answer == question.wanted,
            }
            for question in QUESTIONS
            for answer in [self.answers.get(question.name)]
        ]
