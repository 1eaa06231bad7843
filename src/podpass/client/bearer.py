# SPDX-License-Identifier: Apache-2.0
"""What every adapter asks: which `Authorization` a request to an origin carries, and whether a refused one is worth a second try."""

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from podpass.client.origins import Origin, read_origins
from podpass.client.tokens import tokens_of
from podpass.clock import Clock, SystemClock
from podpass.errors import ConfigError
from podpass.names import Secret
from podpass.sources.file import FileSource
from podpass.sources.source import SubjectTokenSource

T = TypeVar("T")

LOGGER: Final = logging.getLogger("podpass.client")

AUTHORIZATION: Final = "authorization"
UNAUTHORIZED: Final = 401
_IDENTITY: Final = ("PODPASS_IDENTITY", "IDENTITY")
_TOKEN_FILE: Final = ("PODPASS_TOKEN_FILE", "TOKEN_FILE")
_ENDPOINT: Final = ("SERVICE_ENDPOINT",)
_NOTED_LIMIT: Final = 32


class Bearer:
    """Gives a workload's token to the services it was configured for. Safe for threads, tasks and forks.

    Args:
        source: Where the token is read: `FileSource` for a projected volume, `TokenRequestSource` outside pods.
        origins: Of the services: `https://auth-server.example`. Requests elsewhere go out without the token.
        clock: Tells the time.

    Raises:
        ConfigError: No origin, or one that a token may not travel to.
    """

    def __init__(self, source: SubjectTokenSource, *, origins: Iterable[str], clock: Clock | None = None) -> None:
        self._origins = read_origins(origins)
        self._tokens = tokens_of(source, clock or SystemClock())
        self._source = source
        self._noted: set[Origin] = set()

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read PODPASS_IDENTITY or IDENTITY (`cluster` by default), PODPASS_TOKEN_FILE or TOKEN_FILE, and SERVICE_ENDPOINT.

        Raises:
            ConfigError: One of the last two is missing, or one of all is wrong.
        """
        environ = os.environ if environ is None else environ
        _check_identity(_find(environ, _IDENTITY) or "cluster")
        endpoint = _find(environ, _ENDPOINT)
        if endpoint is None:
            raise _missing("SERVICE_ENDPOINT", "the URL of the service that is called: its origin is the only one that gets the token")
        file = _find(environ, _TOKEN_FILE)
        if file is None:
            raise _missing(" or ".join(_TOKEN_FILE), "the path of the projected token, such as /var/run/secrets/tokens/NAME")
        return cls(FileSource(Path(file), audience=endpoint), origins=[str(Origin.of_url(endpoint))])

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._source} for {', '.join(sorted(map(str, self._origins)))}>"

    def header(self, origin: Origin) -> str | None:
        """Return the `Authorization` of a request; None where the origin gets none. May wait where the source has to be asked.

        Raises:
            SourceUnavailableError: There is no token.
            NeighbourError: It cannot be had now.
        """
        if not self._covers(origin):
            return None
        token = self._tokens.at_hand()
        return _value(self._tokens.fetch() if token is None else token)

    async def header_async(self, origin: Origin) -> str | None:
        """Do as `header`, without keeping the event loop waiting."""
        if not self._covers(origin):
            return None
        token = self._tokens.at_hand()
        return _value(await self._elsewhere(self._tokens.fetch) if token is None else token)

    def second(self, origin: Origin, refused: str) -> str | None:
        """Return another `Authorization` after a 401; None where there is no other, or where the origin gets none."""
        token = self._tokens.renew(_token(refused)) if self._covers(origin) else None
        return None if token is None else _value(token)

    async def second_async(self, origin: Origin, refused: str) -> str | None:
        """Do as `second`, without keeping the event loop waiting."""
        return await self._elsewhere(partial(self.second, origin, refused))

    @staticmethod
    async def _elsewhere(work: Callable[[], T]) -> T:
        """Do what may wait on a thread."""
        import asyncio  # noqa: PLC0415 - who gets here has imported it, and others need not

        return await asyncio.to_thread(work)

    def _covers(self, origin: Origin) -> bool:
        if origin in self._origins:
            return True
        if origin not in self._noted and len(self._noted) < _NOTED_LIMIT:
            self._noted.add(origin)
            LOGGER.warning("No token is sent to %s: it is not one of %s", origin, ", ".join(sorted(map(str, self._origins))))
        return False


def has_authorization(headers: Mapping[str, Any]) -> bool:
    """Tell whether somebody has set the header already: then it stays as it is."""
    return any(name.lower() == AUTHORIZATION for name in headers)


def _value(token: Secret[str]) -> str:
    return f"Bearer {token.reveal()}"


def _token(value: str) -> Secret[str]:
    return Secret(value.removeprefix("Bearer "), "subject token")


def _check_identity(identity: str) -> None:
    if identity == "google":
        raise ConfigError(
            "Calls with a Google identity are not there yet.",
            "IDENTITY=google asks for an ID token of a Google service account; this version has IDENTITY=cluster only.",
            "Set IDENTITY=cluster and admit the Kubernetes service account in the service's policy.",
            code="config.identity",
        )
    if identity != "cluster":
        raise ConfigError(f"IDENTITY is {identity[:80]!r}.", "It is cluster or google.", "Set IDENTITY=cluster.", code="config.identity")


def _find(environ: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    """Return a value that may have two names; an empty one is none.

    Raises:
        ConfigError: Both are set, and differ.
    """
    found = {name: environ[name] for name in names if environ.get(name)}
    if len(set(found.values())) > 1:
        raise ConfigError(f"{' and '.join(found)} differ.", "They mean the same.", "Set one of them.", code="config.client")
    return next(iter(found.values()), None)


def _missing(name: str, meaning: str) -> ConfigError:
    return ConfigError(f"{name} is not set.", f"It is {meaning}.", "Set it in the container's env.", code="config.client")
