# SPDX-License-Identifier: Apache-2.0
"""An answer of the metadata server: every one carries `Metadata-Flavor: Google`, or clients conclude that it is somebody else's."""

import hashlib
import json
from dataclasses import dataclass
from typing import Final, Self

FLAVOR: Final = ("metadata-flavor", "Google")
# The types are Google's own; Python's client reads JSON where the type says so, and text everywhere else. [O]
_TEXT = "application/text"
_JSON = "application/json"
_WORDS = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers and body, ready for any server.

    Attributes:
        status: HTTP status.
        headers: Names in lower case.
        body: May hold a token, so it is not shown.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @classmethod
    def make(cls, status: int, kind: str, body: bytes, *headers: tuple[str, str]) -> Self:
        """Return an answer with the headers that all of them have."""
        return cls(status, (FLAVOR, ("content-type", kind), ("content-length", str(len(body))), *headers), body)

    @classmethod
    def value(cls, text: str) -> Self:
        """Answer with a value. It ends where it ends: clients take a line feed for a part of it."""
        return cls._tagged(_TEXT, text.encode())

    @classmethod
    def of_json(cls, content: object) -> Self:
        """Answer with a value in JSON."""
        return cls._tagged(_JSON, json.dumps(content, separators=(",", ":")).encode())

    @classmethod
    def token_json(cls, token: str, expires_in_s: int) -> Self:
        """Answer with an access token."""
        body = json.dumps({"access_token": token, "expires_in": expires_in_s, "token_type": "Bearer"}, separators=(",", ":"))
        return cls.make(200, _JSON, body.encode())

    @classmethod
    def token_text(cls, token: str) -> Self:
        """Answer with an ID token."""
        return cls.make(200, _TEXT, token.encode())

    @classmethod
    def words(cls, status: int, text: str, *headers: tuple[str, str]) -> Self:
        """Answer with words for people."""
        return cls.make(status, _WORDS, f"{text}\n".encode(), *headers)

    @classmethod
    def _tagged(cls, kind: str, body: bytes) -> Self:
        return cls.make(200, kind, body, ("etag", hashlib.blake2b(body, digest_size=8).hexdigest()))

    @property
    def etag(self) -> str | None:
        """What tells this content from another; None where nobody can wait for a change."""
        return next((value for name, value in self.headers if name == "etag"), None)

    def __repr__(self) -> str:
        return f"<Answer {self.status}, {len(self.body)} bytes>"
