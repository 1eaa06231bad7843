# SPDX-License-Identifier: Apache-2.0
"""Callers: who asks, as policies and scopes see them."""

from dataclasses import dataclass

CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        name: How messages and the log call it: an email, a `principal://…`, or `anonymous`.
        members: Every member of a policy that it is.
        scopes: What its token is good for; empty for an anonymous caller.
        email: The email of a user or service account, else None.
        expires_at_s: When its token ends, seconds since 1970.
    """

    name: str
    members: frozenset[str]
    scopes: frozenset[str] = frozenset()
    email: str | None = None
    expires_at_s: int = 0

    @property
    def is_user(self) -> bool:
        """Whether it is a person."""
        return f"user:{self.email}" in self.members

    @property
    def anonymous(self) -> bool:
        """Whether it showed no credentials."""
        return self.name == "anonymous"


ANONYMOUS = Caller("anonymous", frozenset({"allUsers"}))
