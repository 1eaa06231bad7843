# SPDX-License-Identifier: Apache-2.0
"""Who is asking: the port between the shell and whoever can prove it.

A server for one pod knows by construction. One for a whole node has to prove it for each connection; it would implement `Callers` and
change nothing else.
"""

from typing import Protocol

from podpass.exchange.tokens import AccessToken, IdToken
from podpass.metadata.tree import Tree

Peer = tuple[str, int]
"""Address and port of the other end of a connection."""


class Workload(Protocol):
    """One workload: what is known of it, and its tokens."""

    async def tree(self) -> Tree:
        """Return the tree as it is now.

        Raises:
            PodpassError: The workload's identity is not known.
        """
        ...

    async def another_tree(self, known: Tree) -> Tree:
        """Wait until the tree is another one and return it; return the known one when the server ends."""
        ...

    async def access_token(self, scopes: tuple[str, ...] | None) -> AccessToken:
        """Return an access token; None asks for the usual scopes.

        Raises:
            PodpassError: It cannot be had.
        """
        ...

    async def id_token(self, audience: str) -> IdToken:
        """Return an ID token.

        Raises:
            PodpassError: It cannot be had.
        """
        ...


class Callers(Protocol):
    """Tells the workload behind a connection."""

    async def find(self, peer: Peer | None) -> Workload:
        """Return the one workload that can be asking.

        Raises:
            PodpassError: None, or more than one.
        """
        ...
