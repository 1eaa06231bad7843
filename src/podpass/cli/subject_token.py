# SPDX-License-Identifier: Apache-2.0
"""Where `podpass token` gets a token and the cluster's keys from."""

from datetime import timedelta
from pathlib import Path

from podpass.config.federation import ClusterSettings
from podpass.errors import ConfigError, SourceUnavailableError
from podpass.kube.client import connect
from podpass.kube.issuer import get_jwks
from podpass.kube.kubeconfig import load
from podpass.names import Audience, Secret, ServiceAccountRef
from podpass.sources.file import FileSource
from podpass.sources.metadata import MetadataSource
from podpass.sources.token_request import TokenRequestSource
from podpass.verify import parse


def from_file(path: Path | None, audience: str) -> Secret[str]:
    """Read a projected token, which has to be for this audience: whoever was given another one could use it elsewhere.

    Raises:
        ConfigError: No file was named.
        SourceUnavailableError: It holds no token, or one for somebody else.
        MalformedTokenError: What it holds is no token.
    """
    if path is None:
        raise ConfigError("No token file is named.", "--source file reads one.", "Add --token-file PATH.", code="config.usage")
    source = FileSource(path, audience=audience)
    token = source.read()
    found = parse(token.reveal()).payload.members.get("aud")
    if audience not in ([found] if isinstance(found, str) else found or []):
        raise SourceUnavailableError(
            f"The token in {path} is for another audience.",
            f"Its aud is {found!r}, not {audience!r}.",
            source.volume(),
            code="credential.token-file",
        )
    return token


def from_metadata(audience: str) -> Secret[str]:
    """Ask the metadata server of this pod or machine for an ID token.

    Raises:
        SourceUnavailableError: It refused.
        NeighbourError: There is none, or it cannot answer now.
    """
    return MetadataSource.from_env(audience).read()


def request(account: str | None, audience: str, expiration_s: int, kubeconfig: Path | None, context: str | None) -> Secret[str]:
    """Ask the API server for a token of a service account.

    Raises:
        ConfigError: No account was named, or no cluster can be found.
        SourceUnavailableError: The API server gives none.
    """
    if account is None:
        raise ConfigError(
            "No service account is named.",
            "--source request asks the API server for the token of one.",
            "Add --service-account NAMESPACE/NAME.",
            code="config.usage",
        )
    ref, wanted = ServiceAccountRef.parse(account), Audience.parse(audience)
    with connect(load(kubeconfig, context)) as client:
        return TokenRequestSource(client, ref, wanted.value, timedelta(seconds=expiration_s)).read()


def issuer_keys(cluster: ClusterSettings) -> bytes:
    """Ask a cluster for its public keys; where there is none to ask, say that they may be named.

    Raises:
        ConfigError: No cluster can be found.
    """
    try:
        return cluster_keys(cluster)
    except ConfigError as error:
        named = f"{error.next_step} Or name the issuer's keys: --jwks FILE."
        raise ConfigError(error.what, error.why, named.lstrip(), code=error.full_code) from error


def cluster_keys(cluster: ClusterSettings) -> bytes:
    """Ask a cluster for its public keys."""
    with connect(load(cluster.kubeconfig, cluster.context)) as client:
        return get_jwks(client)
