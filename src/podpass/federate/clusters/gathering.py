# SPDX-License-Identifier: Apache-2.0
"""Asks a cluster, with the kubeconfig's credentials, and the world, without any, what there is to know. Changes nothing.

One question that is refused costs its answer only: the reason is kept, and whoever reads the evidence says "unknown".
"""

import ipaddress
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import yaml

from podpass.discovery.oidc import OidcOrigin
from podpass.errors import ConfigError, KeySetError, MalformedTokenError, PodpassError, UnexpectedAnswerError, UnreachableError
from podpass.federate.clusters.evidence import Evidence, Node, Publication, Question, address_of
from podpass.federate.clusters.forms.workloads import read_workload
from podpass.federate.clusters.statement import ProjectedToken
from podpass.kube.client import Json, KubeClient, Request
from podpass.kube.config_maps import get_config_map
from podpass.kube.fault import KubeRefusedError
from podpass.kube.issuer import get_discovery, get_jwks, get_version
from podpass.kube.tokens import request_token
from podpass.names import Issuer, ServiceAccountRef
from podpass.net.readings import Readings
from podpass.verify import UnverifiedClaims, parse

T = TypeVar("T")

_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_KUBEADM: Final = "kubeadm-config"
_LISTED_AT_MOST: Final = "500"
# kubeadm, kind, RKE2 and Talos label their static pods with the first, kops and older Talos with the second.
_API_SERVER_LABELS: Final = ("component=kube-apiserver", "k8s-app=kube-apiserver")
_INSIDE: Final = (".svc", ".local", ".internal", ".localhost", ".svc.cluster.local")


def gather(cluster: KubeClient) -> Evidence:
    """Ask everything, at once.

    Takes one token of the account `default` in the context's namespace, which goes nowhere.

    Raises:
        NeighbourError: The cluster gives no answer at all, or does not tell its version.
    """
    silent: dict[Question, str] = {}
    with Readings(6, cluster.silence) as pool:
        version = pool.submit(get_version, cluster)

        def begin(question: Question, ask: Callable[[KubeClient], T]) -> Callable[[], T | None]:
            future = pool.submit(ask, cluster)

            def result() -> T | None:
                try:
                    return future.result()
                except (KubeRefusedError, UnexpectedAnswerError, MalformedTokenError) as error:
                    silent[question] = error.what
                    return None

            return result

        nodes, commands = begin("nodes", _nodes), begin("flags", _commands)
        discovery, keys = begin("discovery", get_discovery), begin("keys", get_jwks)
        kubeadm, claims = begin("kubeadm", _kubeadm), begin("token", _own_claims)
        document, owned = discovery(), claims()
        issuer = document.issuer if document else _claimed_issuer(owned)
        publication = pool.submit(look_up, issuer) if issuer else None
        raw = keys()
        return Evidence(
            server=cluster.access.server,
            version=version.result(),
            nodes=nodes() or (),
            discovery=document,
            jwks=raw.decode("utf-8", "replace") if raw is not None else None,
            commands=commands() or (),
            kubeadm=kubeadm(),
            claims=owned,
            publication=publication.result() if publication else None,
            silent=silent,
        )


def projected_tokens(cluster: KubeClient) -> tuple[ProjectedToken, ...]:
    """Return the tokens that the running pods ask for; of the first 500 pods, and of none where nobody may list them."""
    try:
        answer = cluster.call(Request("GET", "/api/v1/pods", "list the pods", query={"limit": _LISTED_AT_MOST}))
    except KubeRefusedError:
        return ()
    pods = ({"kind": "Pod", **item} for item in _items(answer))
    return tuple(token for pod in pods for said in read_workload(pod, "cluster") for token in said.tokens)


def look_up(issuer: str) -> Publication:
    """Look an issuer up as a stranger: https, no credentials, no redirects, within seconds. Names of the inside are not looked up."""
    try:
        parsed = Issuer.parse(issuer)
    except ConfigError as error:
        return Publication(False, error.why)
    if is_inside(parsed.host):
        return Publication(False, f"{parsed.host} is a name or an address of the inside; nobody was asked", is_inside=True)
    try:
        keys = OidcOrigin(parsed).fetch(datetime.now(UTC)).keys
    except UnreachableError as error:
        is_untrusted = "CERTIFICATE_VERIFY_FAILED" in error.why
        return Publication(False if is_untrusted else None, f"{error.what} {error.why}".strip())
    except (UnexpectedAnswerError, KeySetError) as error:
        return Publication(False, f"{error.what} {error.why}".strip())
    except PodpassError as error:
        return Publication(None, f"{error.what} {error.why}".strip())
    return Publication(True, f"read from this machine without credentials at {parsed.discovery_url}", frozenset(keys.keys))


def is_inside(host: str) -> bool:
    """Whether a host's name or address means something inside a network only."""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith(_INSIDE)


def _nodes(cluster: KubeClient) -> tuple[Node, ...]:
    answer = cluster.call(Request("GET", "/api/v1/nodes", "list its nodes", query={"limit": _LISTED_AT_MOST}))
    # Names become parts of commands and of files' paths; Kubernetes has no others.
    return tuple(node for item in _items(answer) if _NAME.fullmatch((node := _node(item)).name))


def _node(item: Json) -> Node:
    metadata, spec, status = (_mapping(item.get(name)) for name in ("metadata", "spec", "status"))
    info = _mapping(status.get("nodeInfo"))
    addresses = status.get("addresses")
    return Node(
        name=str(metadata.get("name", "")),
        os_image=str(info.get("osImage", "")),
        kubelet_version=str(info.get("kubeletVersion", "")),
        provider_id=str(spec.get("providerID", "")),
        labels=_texts(metadata.get("labels")),
        annotations=_texts(metadata.get("annotations")),
        addresses=tuple(
            str(one["address"])
            for one in (addresses if isinstance(addresses, list) else ())
            # Requests with the kubeconfig's credentials go there, so nothing but an address will do.
            if isinstance(one, dict) and one.get("type") in {"InternalIP", "ExternalIP"} and address_of(one.get("address"))
        ),
        machine_id=str(info.get("machineID", "")),
        boot_id=str(info.get("bootID", "")),
    )


def _commands(cluster: KubeClient) -> tuple[tuple[str, ...], ...]:
    """Return the command lines of the API servers that run as pods, each pod once."""
    found: dict[str, tuple[str, ...]] = {}
    for label in _API_SERVER_LABELS:
        query = {"labelSelector": label, "limit": "50"}
        answer = cluster.call(Request("GET", "/api/v1/namespaces/kube-system/pods", "look at its kube-apiserver pods", query=query))
        for pod in _items(answer):
            containers = _mapping(pod.get("spec")).get("containers")
            command = _command_of(containers if isinstance(containers, list) else [])
            if command:
                found[str(_mapping(pod.get("metadata")).get("name"))] = command
    return tuple(found.values())


def _command_of(containers: list[Any]) -> tuple[str, ...]:
    for container in containers:
        words = [*(_mapping(container).get("command") or ()), *(_mapping(container).get("args") or ())]
        if any("kube-apiserver" in str(word) or str(word).startswith("--etcd-servers") for word in words):
            return tuple(str(word) for word in words)
    return ()


def _kubeadm(cluster: KubeClient) -> str | None:
    found = get_config_map(cluster, "kube-system", _KUBEADM)
    text = found.data.get("ClusterConfiguration") if found else None
    if text is None:
        return None
    try:
        return text if isinstance(yaml.safe_load(text), dict) else None
    except yaml.YAMLError:
        return None


def _own_claims(cluster: KubeClient) -> UnverifiedClaims:
    account = ServiceAccountRef(cluster.access.namespace, "default")
    return parse(request_token(cluster, account).value.reveal()).payload


def _claimed_issuer(claims: UnverifiedClaims | None) -> str:
    issuer = claims.get("iss") if claims else None
    return issuer if isinstance(issuer, str) else ""


def _items(answer: Json) -> list[Json]:
    items = answer.get("items")
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _texts(value: object) -> dict[str, str]:
    return {str(key): str(one) for key, one in _mapping(value).items()}
