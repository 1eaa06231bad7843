# SPDX-License-Identifier: Apache-2.0
"""The environment of a client: the article's variables, and podpass's names for them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from podpass.client.origins import CLUSTER_DOMAIN, Origin
from podpass.errors import ConfigError
from podpass.sources.file import FileSource
from podpass.sources.metadata import MetadataSource
from podpass.sources.source import SubjectTokenSource

_IDENTITY: Final = ("PODPASS_IDENTITY", "IDENTITY")
_TOKEN_FILE: Final = ("PODPASS_TOKEN_FILE", "TOKEN_FILE")
_ENDPOINT: Final = ("SERVICE_ENDPOINT",)
# Not PODPASS_AUDIENCE: that is what a guard in the same container is called, and a token for itself is what it must never send to others.
_AUDIENCE: Final = ("SERVICE_AUDIENCE",)
_CLUSTER_DOMAIN: Final = ("PODPASS_CLUSTER_DOMAIN",)


@dataclass(frozen=True, slots=True)
class ClientEnvironment:
    """What a client's environment asks for; `Bearer` has the same arguments."""

    source: SubjectTokenSource
    serverless: SubjectTokenSource | None
    origins: tuple[str, ...]
    cluster_domain: str


def read_environment(environ: Mapping[str, str] | None = None) -> ClientEnvironment:
    """Read what a client sends, and where.

    `IDENTITY` is `cluster` (the default): the cluster's token in `Authorization`; `google`: an ID token of Google in its place; or
    `google+cluster`: the cluster's there, and Google's in `X-Serverless-Authorization`.

    Raises:
        ConfigError: A variable that is needed is missing, or one is wrong.
    """
    environ = os.environ if environ is None else environ
    identity = _find(environ, _IDENTITY) or "cluster"
    if identity not in {"cluster", "google", "google+cluster"}:
        what = f"{' or '.join(name for name in _IDENTITY if environ.get(name))} is {identity[:80]!r}."
        raise ConfigError(what, "It is cluster, google or google+cluster.", "Set one of them.", code="config.identity")
    endpoint = _find(environ, _ENDPOINT)
    if endpoint is None:
        raise _missing("SERVICE_ENDPOINT", "the URL of the service that is called: its origin is the only one that gets the token")
    origin = str(Origin.of_url(endpoint))
    google = None if identity == "cluster" else MetadataSource.from_env(_find(environ, _AUDIENCE) or origin, environ)
    domain = _find(environ, _CLUSTER_DOMAIN) or CLUSTER_DOMAIN
    if identity == "google":
        assert google is not None
        return ClientEnvironment(google, None, (origin,), domain)
    return ClientEnvironment(_file(environ, endpoint), google, (origin,), domain)


def _file(environ: Mapping[str, str], endpoint: str) -> FileSource:
    file = _find(environ, _TOKEN_FILE)
    if file is None:
        raise _missing(" or ".join(_TOKEN_FILE), "the path of the projected token, such as /var/run/secrets/tokens/NAME")
    return FileSource(Path(file), audience=endpoint)


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
