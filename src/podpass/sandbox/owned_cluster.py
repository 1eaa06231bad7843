# SPDX-License-Identifier: Apache-2.0
"""What the sandbox's two clusters share: users with static tokens, ways in, the issuer of service-account tokens, the form of a dump."""

import base64
import hashlib
import json
import secrets
import ssl
from pathlib import Path
from typing import Any, Final, Literal

import httpx2

from podpass.sandbox.ca import AuthorityCA, write_private
from podpass.sandbox.cluster import Kubeconfig
from podpass.sandbox.settings import KeyType
from podpass.sandbox.steady_client import SteadyClient
from podpass.sandbox.token_issuer import DEFAULT_ISSUER, TokenIssuer, make_key

NODE_USER: Final = "system:node:podpass-node"
# Each user's name and groups, by who uses it.
USERS: Final = {
    "admin": ("kubernetes-admin", ("system:masters",)),
    "node": (NODE_USER, ("system:nodes",)),
    "controller": ("system:kube-controller-manager", ()),
}
SERVER_NAMES: Final = (
    "127.0.0.1",
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
# Given out by the server anew each time, so that they say nothing about what was declared.
_VOLATILE: Final = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields")


class OwnedCluster:
    """Half of a `cluster.Cluster`; the other half starts and stops.

    Args:
        ca: Signs the server's certificate.
    """

    def __init__(self, ca: AuthorityCA) -> None:
        self._ca = ca
        self._port = 0
        self._tokens: dict[str, str] = {}
        self._issuer: TokenIssuer

    @property
    def url(self) -> str:
        """The API server's address, known once it has started."""
        return f"https://127.0.0.1:{self._port}"

    @property
    def ca_pem(self) -> bytes:
        """The certificate that signs the server's own."""
        return self._ca.pem

    @property
    def issuers(self) -> list[str]:
        """The accepted issuers; the first one signs."""
        return list(self._issuer.issuers)

    def admin_kubeconfig(self) -> Kubeconfig:
        """Return the way in of a cluster administrator."""
        return self._kubeconfig("admin")

    def node_kubeconfig(self) -> Kubeconfig:
        """Return the way in of the node agent."""
        return self._kubeconfig("node")

    def controller_kubeconfig(self) -> Kubeconfig:
        """Return the way in of the job controller."""
        return self._kubeconfig("controller")

    def _kubeconfig(self, user: Literal["admin", "node", "controller"]) -> Kubeconfig:
        cluster = {"server": self.url, "certificate-authority-data": base64.b64encode(self.ca_pem).decode()}
        name = f"{user}@podpass-sandbox"
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "podpass-sandbox", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": self._tokens[user]}}],
            "contexts": [{"name": name, "context": {"cluster": "podpass-sandbox", "user": user, "namespace": "default"}}],
            "current-context": name,
        }

    def _write_node_client(self, directory: Path) -> tuple[Path, Path]:
        """Write the certificate by which nodes know the API server, and its key; both are there for its user alone."""
        return self._ca.issue_client_certificate("kube-apiserver-kubelet-client").write(directory, "kubelet-client")

    def _node_client(self, directory: Path) -> httpx2.AsyncClient:
        """Return what the API server asks nodes with; a node's certificate is not checked, as without --kubelet-certificate-authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # not the default one, which would read the machine's authorities for nothing
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(*self._write_node_client(directory))
        return SteadyClient(verify=context, trust_env=False, timeout=httpx2.Timeout(10, read=None), limits=httpx2.Limits())

    def _take_up(self, directory: Path | None, key_type: KeyType) -> None:
        """Read the issuer and the tokens that were kept in `directory`, else make new ones; an RSA key takes a moment."""
        kept = directory / "issuer.json" if directory else None
        if kept and kept.exists():
            state = json.loads(kept.read_bytes())
            self._issuer, self._tokens = TokenIssuer.from_json(state["issuer"]), state["tokens"]
        else:
            self._issuer = TokenIssuer((DEFAULT_ISSUER,), (make_key(key_type),))
            self._tokens = {name: secrets.token_urlsafe(32) for name in USERS}

    def _keep(self, directory: Path) -> None:
        state = {"issuer": self._issuer.to_json(), "tokens": self._tokens}
        write_private(directory / "issuer.json", json.dumps(state).encode())


def path_of(obj: dict[str, Any]) -> str:
    """Return NAMESPACE/NAME, or the name alone."""
    metadata = obj["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}" if "namespace" in metadata else str(metadata["name"])


# What the controllers give each namespace, in their own time; kube-controller-manager annotates its config map with a description.
_TOLD = {"kubernetes.io/description"}
_GIVEN = {("configmaps", "kube-root-ca.crt"), ("serviceaccounts", "default")}


def is_given(plural: str, obj: dict[str, Any]) -> bool:
    """Tell whether a controller made it for its namespace and nobody has declared anything of it since."""
    metadata = obj["metadata"]
    return (plural, metadata["name"]) in _GIVEN and not metadata.get("labels") and not (metadata.get("annotations") or {}).keys() - _TOLD


def declared(obj: dict[str, Any]) -> dict[str, Any]:
    """Return what somebody declared of an object; of a secret that it has changed, not what it is."""
    metadata = {name: value for name, value in obj["metadata"].items() if name not in _VOLATILE}
    kept = {name: value for name, value in obj.items() if name != "status"} | {"metadata": metadata}
    if obj["kind"] == "Secret":
        kept["data"] = {name: hashlib.sha256(value.encode()).hexdigest() for name, value in (obj.get("data") or {}).items()}
    return kept
