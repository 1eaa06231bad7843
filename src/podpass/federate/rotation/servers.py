# SPDX-License-Identifier: Apache-2.0
"""What each API server serves and signs with, asked one by one.

A control plane has several, and the address in a kubeconfig often leads to any of them. Where the cluster lists their addresses and they
can be reached from here, each is asked, all at the same time; where not, the one address is asked several times, each time over a new
connection. Who may write that list can name whom he likes, so it is as long as a control plane may be, and all of it has one deadline.
"""

from collections.abc import Iterator
from concurrent.futures import wait
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final

from podpass.errors import NeighbourError, UnexpectedAnswerError
from podpass.federate.clusters.probe import accepted_issuers
from podpass.kube.client import Json, KubeClient, Request, connect
from podpass.kube.fault import KubeRefusedError
from podpass.kube.issuer import get_jwks
from podpass.kube.kubeconfig import ClusterAccess
from podpass.kube.tokens import request_token
from podpass.names import Secret, ServiceAccountRef
from podpass.net.flights import Pool
from podpass.net.silence import LIMIT_S
from podpass.verify import KeySet, parse
from podpass.verify.algorithms import ALGORITHMS

AT_MOST: Final = 100
"""Nobody has more API servers, even over years of rebuilding."""
_LISTED_AT: Final = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"
# Behind a load balancer of three servers, all are met with a probability of 99 %.
_TIMES: Final = 15


@dataclass(frozen=True, slots=True)
class Server:
    """One API server, as it was when it was asked.

    Attributes:
        name: Its address.
        kids: The ids of the keys that it serves, and so accepts.
        signer: The id of the key that signed a token a moment ago.
        token: That token.
        signed_at: When, by the server's clock.
        issuer: The `iss` of that token.
        accepted: Those of the issuers that were asked about whose tokens it takes.
    """

    name: str
    kids: frozenset[str]
    signer: str
    token: Secret[str]
    signed_at: datetime
    issuer: str = ""
    accepted: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """The API servers that were asked, as they were.

    Attributes:
        servers: As they answered.
        is_complete: Each was asked by its own address; else one address was asked many times.
        silent: Those that gave no answer, with their reasons.
        listed: The addresses that the cluster lists, whether or not they can be reached from here; empty where it does not say.
    """

    servers: tuple[Server, ...]
    is_complete: bool
    silent: tuple[str, ...] = ()
    listed: frozenset[str] = frozenset()

    @property
    def kids(self) -> frozenset[str]:
        """The keys that any of them serves."""
        return frozenset().union(*(server.kids for server in self.servers))


def ask_all(
    cluster: KubeClient, account: ServiceAccountRef, audience: str, issuers: frozenset[str] = frozenset(), *, thoroughly: bool = True
) -> ControlPlane:
    """Ask every API server.

    Args:
        cluster: The cluster, by the kubeconfig's address.
        account: Whose token is asked for.
        audience: Whom it is for.
        issuers: Each server is asked whether it takes tokens of these.
        thoroughly: Ask one address that may lead to several servers often enough to meet them all; False: once, for a first look.

    Raises:
        UnexpectedAnswerError: The cluster lists more than can be; none is asked, since one that is left out may be the one that counts.
        NeighbourError: No server answered.
    """
    addresses = _addresses(cluster)
    listed = frozenset(addresses)
    # Whoever may write the list could else have the operator's credential sent to himself.
    if addresses and cluster.access.checks_certificates:
        found, silent = _ask(cluster.access, addresses, account, audience, issuers)
        if found:
            return ControlPlane(found, is_complete=True, silent=silent, listed=listed)
    times = _TIMES if thoroughly else 1
    return ControlPlane(tuple(_ask_often(cluster, account, audience, issuers, times)), is_complete=False, listed=listed)


def _ask(
    access: ClusterAccess, addresses: list[str], account: ServiceAccountRef, audience: str, issuers: frozenset[str] = frozenset()
) -> tuple[tuple[Server, ...], tuple[str, ...]]:
    """Return what the servers answered, and who did not, in the order of the addresses."""

    def visit(address: str) -> Server:
        with connect(access.at(address)) as one:
            return _look(one, address, account, audience, issuers)

    pool = Pool("podpass-servers", len(addresses))
    flights = {address: pool.launch(partial(visit, address)) for address in addresses}
    answered = wait(flights.values(), timeout=LIMIT_S).done
    found: list[Server] = []
    silent: list[str] = []
    for address, flight in flights.items():
        if flight not in answered:
            silent.append(f"{address}: It has not answered within {LIMIT_S:.0f} s.")
            continue
        try:
            found.append(flight.result())
        except NeighbourError as error:
            silent.append(f"{address}: {error.what}")
    return tuple(found), tuple(silent)


def _ask_often(cluster: KubeClient, account: ServiceAccountRef, audience: str, issuers: frozenset[str], times: int) -> Iterator[Server]:
    for _ in range(times):
        with connect(cluster.access) as one:
            yield _look(one, cluster.access.server, account, audience, issuers)


def _look(one: KubeClient, name: str, account: ServiceAccountRef, audience: str, issuers: frozenset[str]) -> Server:
    keys = KeySet.parse(get_jwks(one), algorithms=tuple(ALGORITHMS))
    token = request_token(one, account, audiences=[audience]).value
    signed = parse(token.reveal())
    kid, signed_at = signed.kid, signed.payload.get("iat")
    if kid is None or type(signed_at) is not int:
        raise UnexpectedAnswerError(f"The API server at {name} signs tokens that name no key, or no time.")
    accepted = accepted_issuers(one, issuers) if issuers else frozenset()
    moment, issuer = datetime.fromtimestamp(signed_at, UTC), str(signed.payload.get("iss"))
    return Server(name, frozenset(keys.keys), kid, token, moment, issuer, accepted)


def _addresses(cluster: KubeClient) -> list[str]:
    """Return the API servers' addresses as the cluster lists them; none where it does not say.

    Raises:
        UnexpectedAnswerError: There are more than can be.
    """
    try:
        listed = cluster.find(Request("GET", _LISTED_AT, "list its API servers"))
    except KubeRefusedError:
        return []
    found: set[str] = set()
    for url in _urls(listed or {}):
        found.add(url)
        if len(found) > AT_MOST:
            raise UnexpectedAnswerError(
                f"The cluster lists more than {AT_MOST} API servers.",
                "Nobody has so many, and any of them could be the one that has not changed: none is asked, and nothing goes on.",
                "Find out who writes the EndpointSlice kubernetes in the namespace default, and delete it: the API servers write it anew.",
            )
    return sorted(found)


def _urls(listed: Json) -> Iterator[str]:
    ports = [port.get("port") for port in listed.get("ports") or [] if port.get("name") in {"https", None}]
    for endpoint in listed.get("endpoints") or []:
        for address in endpoint.get("addresses") or []:
            host = f"[{address}]" if ":" in address else address
            yield from (f"https://{host}:{port}" for port in ports if isinstance(port, int))
