# SPDX-License-Identifier: Apache-2.0
"""What the API server says of itself: its version, its issuer, its public keys."""

import json
from dataclasses import dataclass

from podpass.errors import UnexpectedAnswerError
from podpass.kube.client import KubeClient, Request
from podpass.kube.fault import FaultKind, KubeRefusedError

LIMIT_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Discovery:
    """The discovery document.

    Attributes:
        issuer: What the tokens carry as `iss`, if the server has only one issuer or this is its first.
        jwks_uri: Where others find the keys.
        raw: The document as it was sent.
    """

    issuer: str
    jwks_uri: str
    raw: bytes


def get_version(client: KubeClient) -> str:
    """Return the server's version: `v1.36.3`."""
    answer = client.call(Request("GET", "/version", "tell its version"))
    version = answer.get("gitVersion")
    if not isinstance(version, str):
        raise UnexpectedAnswerError(
            "The cluster's /version has no gitVersion.", "", "Check that the context names a Kubernetes API server."
        )
    return version


def get_jwks(client: KubeClient) -> bytes:
    """Return the public keys that the server verifies its tokens with, as it sends them (`/openid/v1/jwks`)."""
    return _document(client, "/openid/v1/jwks", "give its public keys")


def get_discovery(client: KubeClient) -> Discovery | None:
    """Return the discovery document; None where the server has none, as with an issuer that is no https URL."""
    try:
        raw = _document(client, "/.well-known/openid-configuration", "give its discovery document")
    except KubeRefusedError as error:
        if error.kind is FaultKind.NOT_FOUND:
            return None
        raise
    try:
        content = json.loads(raw)
    except ValueError:
        content = None
    if not isinstance(content, dict) or not isinstance(content.get("issuer"), str):
        raise UnexpectedAnswerError("The cluster's discovery document names no issuer.")
    return Discovery(content["issuer"], str(content.get("jwks_uri", "")), raw)


def _document(client: KubeClient, path: str, doing: str) -> bytes:
    content = client.send(Request("GET", path, doing))
    if len(content) > LIMIT_BYTES:
        raise UnexpectedAnswerError(f"The cluster's {path} has {len(content)} bytes; {LIMIT_BYTES} are read at most.")
    return content
