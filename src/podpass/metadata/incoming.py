# SPDX-License-Identifier: Apache-2.0
"""A request to the metadata server, taken apart, once it is one that a client of Google's on this machine may have sent.

What is refused here is what a web page, a proxy or a confused server would send (server-side request forgery, DNS rebinding): without the
header that says the sender knows whom it asks, for another host, or on somebody else's behalf.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import parse_qsl

from podpass.metadata.answer import Answer

# Room for 20 scopes or the longest audience, percent-encoded; far below what servers take.
_LIMIT_BYTES: Final = 8 * 1024
_METHODS: Final = frozenset({"GET", "HEAD"})
# The names of Google's own server; Node's client writes the one with the dot. [O]
_NAMES: Final = ("metadata.google.internal", "metadata.google.internal.", "metadata", "169.254.169.254")
_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
# Who forwards says so in one of these; Google's server refuses the first. [K]
_FORWARDED: Final = frozenset({b"x-forwarded-for", b"forwarded"})
# Python's and Go's probes ask for the root to learn who answers; Go's sends no header. [O] There is nothing to learn but the path.
ROOT: Final = "/"


@dataclass(frozen=True, slots=True)
class Incoming:
    """One request.

    Attributes:
        path: As it was sent; nothing is decoded, since no path of the tree needs it.
        query: Each parameter once.
        raw_query: For a redirect.
    """

    path: str
    query: Mapping[str, str]
    raw_query: str


class RefusedRequestError(Exception):
    """A request that is answered without a look at what it asks for; `answer` says how."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Gate:
    """Lets requests in.

    Attributes:
        hosts: What the `Host` header may be, in lower case.
    """

    hosts: frozenset[str]

    @classmethod
    def for_port(cls, port: int, more: Iterable[str] = ()) -> Self:
        """Return the gate of a server that listens on a port of the loopback address.

        Args:
            port: The port. On 80 clients leave it out.
            more: Further `HOST:PORT`: the address that it listens on, whichever that is.
        """
        named = {f"{name}{suffix}" for name in _NAMES for suffix in ("", ":80", f":{port}")}
        own = {f"{address}:{port}" for address in _LOOPBACK} | set(_LOOPBACK if port == 80 else ())  # noqa: PLR2004 - HTTP's
        return cls(frozenset(named | own | {host.lower() for host in more}))

    def admit(self, method: str, raw_path: bytes, raw_query: bytes, headers: Iterable[tuple[bytes, bytes]]) -> Incoming:
        """Take a request apart; header names are in lower case, as servers hand them on.

        Raises:
            RefusedRequestError: Whoever sent it is no client of a metadata server, or it is no request of theirs.
        """
        hosts, flavors = [], []
        for name, value in headers:
            if name == b"host":
                hosts.append(value)
            elif name == b"metadata-flavor":
                flavors.append(value)
            elif name in _FORWARDED:
                raise _refused(403, f"This request was forwarded ({name.decode()}); tokens are for the pod that asks itself.")
        if len(hosts) != 1 or hosts[0].decode("latin-1").lower() not in self.hosts:
            raise _refused(403, "The Host of this request is not the metadata server's. Set GCE_METADATA_HOST to its address.")
        if method not in _METHODS:
            raise RefusedRequestError(Answer.words(405, "The metadata server answers GET and HEAD only.", ("allow", "GET, HEAD")))
        if raw_path != ROOT.encode() and flavors != [b"Google"]:
            raise _refused(403, 'Missing required header "Metadata-Flavor": "Google"')
        if len(raw_path) + len(raw_query) > _LIMIT_BYTES:
            raise _refused(414, f"Path and query have more than {_LIMIT_BYTES} bytes.")
        try:
            return Incoming(raw_path.decode("ascii"), _parameters(raw_query), raw_query.decode("ascii"))
        except UnicodeDecodeError:
            raise _refused(400, "Path or query holds bytes that are no text.") from None


def _parameters(raw: bytes) -> Mapping[str, str]:
    """Read a query as the clients write it: some send an audience as it is, with slashes and colons [O]."""
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=16)
    except UnicodeDecodeError:
        raise
    except ValueError:
        raise _refused(400, "The query has more than 16 parameters.") from None
    parameters = dict(pairs)
    if len(parameters) != len(pairs):
        raise _refused(400, "A parameter is there twice.")
    return parameters


def _refused(status: int, words: str) -> RefusedRequestError:
    return RefusedRequestError(Answer.words(status, words))
