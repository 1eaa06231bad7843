# SPDX-License-Identifier: Apache-2.0
"""One API server, asked past the load balancer: since when it runs, whether it is ready, as whom it signs, whose tokens and keys it takes.

Whether it takes an issuer's tokens shows before there is one: of a token that nobody signed, kube-apiserver says more when it knows the
issuer, for then it has looked for the key.
"""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from podpass.errors import MalformedTokenError, UnexpectedAnswerError
from podpass.federate.clusters.evidence import Node
from podpass.kube.client import KubeClient, Request, connect
from podpass.kube.issuer import get_jwks
from podpass.kube.kubeconfig import ClusterAccess
from podpass.kube.tokens import request_token
from podpass.names import ServiceAccountRef
from podpass.verify import KeySet, base64url, parse
from podpass.verify.algorithms import ALGORITHMS

_NOBODY: Final = "https://nobody.invalid"
_STARTED: Final = re.compile(rb"^process_start_time_seconds (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Sight:
    """What one API server was seen to do.

    Attributes:
        started_s: When its process began, seconds since 1970.
        issuer: The `iss` of a token that it issued just now.
        kids: The keys that it verifies with.
        accepted: Those of the issuers that were asked about whose tokens it takes.
    """

    started_s: float
    issuer: str
    kids: frozenset[str]
    accepted: frozenset[str] = frozenset()


Look = Callable[[Node, frozenset[str]], Sight]
"""Looks at a node's API server; the second argument is the issuers to ask about.

Raises:
    NeighbourError: It gives no answer, is not ready, or refuses.
    ConfigError: The kubeconfig does not check whose server it is.
"""


def look_through(access: ClusterAccess, *, server_of: Callable[[Node], str] | None = None) -> Look:
    """Return a way to look at each server with the kubeconfig's credentials; takes a token of `default`, which goes nowhere.

    Args:
        access: The kubeconfig's context.
        server_of: A node's own address of the API; None: its first address, with the port of the kubeconfig's server.
    """

    def look(node: Node, issuers: frozenset[str]) -> Sight:
        server = server_of(node) if server_of else _address(node, access.server)
        with connect(access.at(server)) as client:
            return _see(client, issuers)

    return look


def _see(client: KubeClient, issuers: Iterable[str]) -> Sight:
    client.send(Request("GET", "/readyz", "say whether it is ready"))
    started = _STARTED.search(client.send(Request("GET", "/metrics", "say since when it runs")))
    if started is None:
        raise UnexpectedAnswerError("The API server does not say since when it runs.", "/metrics has no process_start_time_seconds.")
    token = request_token(client, ServiceAccountRef(client.access.namespace, "default"))
    try:
        issuer = parse(token.value.reveal()).payload.get("iss")
    except MalformedTokenError as error:
        raise UnexpectedAnswerError("The API server issues tokens that are none.", error.why) from None
    kids = frozenset(KeySet.parse(get_jwks(client), algorithms=tuple(ALGORITHMS)).keys)
    return Sight(float(started[1]), str(issuer), kids, accepted_issuers(client, issuers))


def accepted_issuers(client: KubeClient, issuers: Iterable[str]) -> frozenset[str]:
    """Return those of the issuers whose tokens a server takes: for them it says something else than for one that nobody has."""
    unknown = _told_of(client, _NOBODY)
    return frozenset(one for one in issuers if _told_of(client, one) != unknown)


def _told_of(client: KubeClient, issuer: str) -> object:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": _unsigned(issuer)}}
    path = "/apis/authentication.k8s.io/v1/tokenreviews"
    answer = client.call(Request("POST", path, "review a token", body=body, is_question=True))
    status = answer.get("status")
    return status.get("error") if isinstance(status, dict) else None


def _unsigned(issuer: str) -> str:
    """Return a token that no key has signed: it opens nothing anywhere."""
    parts = ({"alg": "ES256", "kid": "podpass-asks"}, {"iss": issuer, "sub": "podpass-asks", "aud": ["podpass-asks"]})
    return ".".join((*(base64url.encode(json.dumps(part).encode()) for part in parts), "A" * 86))


def _address(node: Node, server: str) -> str:
    host = node.addresses[0] if node.addresses else node.name
    return f"https://{f'[{host}]' if ':' in host else host}:{urlsplit(server).port or 443}"
