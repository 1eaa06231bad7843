# SPDX-License-Identifier: Apache-2.0
"""What every adapter asks: which headers a request to an origin gets, and whether a refused one is worth a second try."""

import logging
import os
from collections.abc import Callable, Container, Iterable, Mapping
from functools import partial
from typing import Final, Self, TypeVar

from podpass.client.environment import read_environment
from podpass.client.origins import CLUSTER_DOMAIN, Origin, read_origins
from podpass.client.tokens import Tokens, tokens_of
from podpass.clock import Clock, SystemClock
from podpass.names import Secret
from podpass.sources.source import SubjectTokenSource

T = TypeVar("T")

LOGGER: Final = logging.getLogger("podpass.client")

AUTHORIZATION: Final = "authorization"
# Cloud Run reads it first, and takes it away, so that `Authorization` is left to the service: google-behaviour.md. [R]
SERVERLESS: Final = "x-serverless-authorization"
UNAUTHORIZED: Final = 401
_NOTED_LIMIT: Final = 32
_API_SERVER: Final = frozenset({"kubernetes", "kubernetes.default", "kubernetes.default.svc"})


class Bearer:
    """Gives a workload's tokens to the services they were configured for. Safe for threads, tasks and forks.

    Args:
        source: Where the token in `Authorization` is read: `FileSource` for a projected volume, `MetadataSource` for an ID token of Google,
            `TokenRequestSource` outside pods.
        origins: Of the services: `https://auth-server.example`. Requests elsewhere go out without tokens.
        serverless: Where a second token is read, for `X-Serverless-Authorization`; None: there is none.
        cluster_domain: What the long names of the cluster's Services end with: plain http is for its Services and for loopback.
        clock: Tells the time.

    Raises:
        ConfigError: No origin, or one that a token may not travel to.
    """

    def __init__(
        self,
        source: SubjectTokenSource,
        *,
        origins: Iterable[str],
        serverless: SubjectTokenSource | None = None,
        cluster_domain: str = CLUSTER_DOMAIN,
        clock: Clock | None = None,
    ) -> None:
        self._origins = read_origins(origins, cluster_domain)
        self._sources = {AUTHORIZATION: source} if serverless is None else {AUTHORIZATION: source, SERVERLESS: serverless}
        clock = clock or SystemClock()
        asks_cluster_alone = all(_is_api_server(origin.host) for origin in self._origins)
        self._tokens: tuple[tuple[str, Tokens], ...] = tuple(
            (name, tokens_of(each, clock, for_api_server=asks_cluster_alone)) for name, each in self._sources.items()
        )
        self._noted: set[Origin] = set()

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read the environment of a client; see docs/how-to/call-a-service.md.

        Raises:
            ConfigError: One that is needed is missing, or one of all is wrong.
        """
        wanted = read_environment(environ)
        return cls(wanted.source, origins=wanted.origins, serverless=wanted.serverless, cluster_domain=wanted.cluster_domain)

    def __repr__(self) -> str:
        sources = " and ".join(map(str, self._sources.values()))
        return f"<{type(self).__name__} {sources} for {', '.join(sorted(map(str, self._origins)))}>"

    def headers(self, origin: Origin, present: Container[str] = ()) -> dict[str, str]:
        """Return the headers that a request gets: none where the origin gets none. May wait where a source has to be asked.

        Args:
            origin: Where the request goes.
            present: Names of headers that somebody has set already, in lower case: they stay as they are.

        Raises:
            SourceUnavailableError: There is no token.
            NeighbourError: It cannot be had now.
        """
        if origin not in self._origins:
            return self._none_for(origin, present)
        found: dict[str, str] = {}
        for name, tokens in self._tokens:
            if name not in present:
                token = tokens.at_hand()
                found[name] = _value(tokens.fetch() if token is None else token)
        return found

    async def headers_async(self, origin: Origin, present: Container[str] = ()) -> dict[str, str]:
        """Do as `headers`, without keeping the event loop waiting."""
        if origin not in self._origins:
            return self._none_for(origin, present)
        found: dict[str, str] = {}
        for name, tokens in self._tokens:
            if name not in present:
                token = tokens.at_hand()
                found[name] = _value(await self._elsewhere(tokens.fetch) if token is None else token)
        return found

    def second(self, origin: Origin, sent: Mapping[str, str]) -> dict[str, str]:
        """Return what to send in place of headers that were answered with 401; nothing where there is no other token.

        Which token was refused, Google's or the cluster's, nobody says; so each is read anew.
        """
        if origin not in self._origins:
            return self._none_for(origin)
        renewed = {name: tokens.renew(_token(sent[name])) for name, tokens in self._tokens if name in sent}
        return {name: _value(token) for name, token in renewed.items() if token is not None}

    async def second_async(self, origin: Origin, sent: Mapping[str, str]) -> dict[str, str]:
        """Do as `second`, without keeping the event loop waiting."""
        return await self._elsewhere(partial(self.second, origin, sent))

    @staticmethod
    async def _elsewhere(work: Callable[[], T]) -> T:
        """Do what may wait on a thread."""
        import asyncio  # noqa: PLC0415 - who gets here has imported it, and others need not

        return await asyncio.to_thread(work)

    def _none_for(self, origin: Origin, present: Container[str] = ()) -> dict[str, str]:
        """Return no headers, and say once of an origin that it gets none."""
        is_meant = any(name not in present for name, _ in self._tokens)
        if is_meant and origin not in self._noted and len(self._noted) < _NOTED_LIMIT:
            self._noted.add(origin)
            LOGGER.warning("No token is sent to %s: it is not one of %s", origin, ", ".join(sorted(map(str, self._origins))))
        return {}


def _is_api_server(host: str) -> bool:
    """Tell whether a host is the API server of the pod's own cluster, as pods call it."""
    return host == os.environ.get("KUBERNETES_SERVICE_HOST") or host in _API_SERVER or host.startswith("kubernetes.default.svc.")


def _value(token: Secret[str]) -> str:
    return f"Bearer {token.reveal()}"


def _token(value: str) -> Secret[str]:
    return Secret(value.removeprefix("Bearer "), "token")
