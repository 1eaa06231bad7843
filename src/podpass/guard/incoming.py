# SPDX-License-Identifier: Apache-2.0
"""What a shell tells about a request."""

from collections.abc import Sequence
from typing import Final

import msgspec

from podpass.errors import AmbiguousMethodError, AmbiguousPathError
from podpass.guard.paths import read_path

# Those that need no second look.
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Incoming(msgspec.Struct, frozen=True, gc=False):
    """The part of a request that is judged.

    Attributes:
        method: As sent; `GET` for a WebSocket's handshake.
        raw_path: As sent, without the query.
        headers: Names in lower case, with their values, in the order in which they came, none joined or left out.
        mount: Where the guarded application is mounted: the part of the path that its router does not see.
        path: What its router will see, decoded; None where nothing but `raw_path` is known.
    """

    method: str
    raw_path: bytes
    headers: Sequence[tuple[bytes, bytes]]
    mount: str = ""
    path: str | None = None

    def __repr__(self) -> str:
        return f"<{self.method} with {len(self.headers)} headers>"

    def served_method(self) -> str:
        """Return the method.

        Raises:
            AmbiguousMethodError: It has small letters. To HTTP `post` is another method than `POST`; some frameworks, such as Django, serve
                both alike, and a rule for POST would have judged only one.
        """
        if self.method in _METHODS or self.method == self.method.upper():
            return self.method
        raise AmbiguousMethodError(
            f"The method {self.method[:32]!r} can be read in more than one way.",
            "It has small letters, which some frameworks change into capitals.",
            "Write methods in capitals.",
        )

    def served_path(self) -> str:
        """Return the path that rules judge: the one that the application serves.

        Raises:
            AmbiguousPathError: It has several readings, or the server hands on another path than the one that was asked for.
        """
        path = read_path(self.raw_path)
        if self.path is None:
            return path
        if self.mount + self.path != path or (self.path and self.path[0] != "/"):
            raise AmbiguousPathError(
                "The path that was asked for is not the path that would be served.",
                "The server, or something between it and the guard, has changed it, or the mount ends within a segment.",
                "Put the guard around whatever rewrites paths, and write mounts without a slash at the end.",
            )
        return self.path or "/"
