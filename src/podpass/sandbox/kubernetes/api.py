# SPDX-License-Identifier: Apache-2.0
"""The built-in cluster: an HTTPS API server on a port of its own, with its state, its users and its restarts."""

import asyncio
import base64
import hashlib
import json
import secrets
import tempfile
from pathlib import Path
from typing import Any, Final

from podpass.clock import Clock
from podpass.names import Secret
from podpass.sandbox.ca import AuthorityCA, write_private
from podpass.sandbox.cluster import IssuerChange, Kubeconfig
from podpass.sandbox.kubernetes.authentication import AUTHENTICATED, Authenticator, User
from podpass.sandbox.kubernetes.authorization import ADMINS, CONTROLLER, NODES
from podpass.sandbox.kubernetes.garbage import CollectedObjects
from podpass.sandbox.kubernetes.kind import Json
from podpass.sandbox.kubernetes.kinds import KINDS, NAMESPACE
from podpass.sandbox.kubernetes.objects import Write
from podpass.sandbox.kubernetes.server import ApiServer
from podpass.sandbox.kubernetes.token_issuer import DEFAULT_ISSUER, TokenIssuer, make_key
from podpass.sandbox.listener import Listener
from podpass.sandbox.settings import SandboxSettings
from podpass.sandbox.store import Store

_NAMESPACES: Final = ("default", "kube-node-lease", "kube-public", "kube-system")
_USERS: Final = {
    "admin": User("kubernetes-admin", (ADMINS, AUTHENTICATED)),
    "node": User("system:node:podpass-node", (NODES, AUTHENTICATED)),
    "controller": User(CONTROLLER, (AUTHENTICATED,)),
}
_NAMES: Final = (
    "127.0.0.1",
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
# Given out by the server anew each time, so that they say nothing about what was declared.
_VOLATILE: Final = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields")


class KubernetesApi:
    """Satisfies `sandbox.cluster.Cluster`.

    Args:
        settings: The kind of the first signing key, and where state is kept.
        ca: Signs the server's certificate.
        clock: Dates objects and tokens.
    """

    def __init__(self, settings: SandboxSettings, ca: AuthorityCA, clock: Clock) -> None:
        self._settings = settings
        self._ca = ca
        self._directory = settings.state_dir / "kubernetes" if settings.state_dir else None
        self._store = Store(self._directory)
        self._objects = CollectedObjects(self._store, clock)
        self._listener: Listener | None = None
        self._stopped = asyncio.Event()
        self._port = 0
        self._tokens: dict[str, str] = {}
        self._issuer: TokenIssuer

    @property
    def url(self) -> str:
        """Its address, known once it has started."""
        return f"https://127.0.0.1:{self._port}"

    @property
    def ca_pem(self) -> bytes:
        """The certificate that signs the server's own."""
        return self._ca.pem

    @property
    def issuers(self) -> list[str]:
        """The accepted issuers; the first one signs."""
        return list(self._issuer.issuers)

    async def start(self) -> None:
        """Take up what was kept, or begin with the namespaces of every cluster."""
        kept = self._directory / "issuer.json" if self._directory else None
        if kept and kept.exists():
            state = json.loads(kept.read_bytes())
            self._issuer, self._tokens = TokenIssuer.from_json(state["issuer"]), state["tokens"]
        else:
            key = await asyncio.to_thread(make_key, self._settings.key_type)
            self._issuer, self._tokens = TokenIssuer((DEFAULT_ISSUER,), (key,)), {name: secrets.token_urlsafe(32) for name in _USERS}
            self._keep()
        for name in _NAMESPACES:
            if self._objects.find(NAMESPACE, "", name) is None:
                self._objects.create(NAMESPACE, "", {"metadata": {"name": name}}, Write("kube-apiserver"))
        await self._up()

    async def stop(self) -> None:
        """Go down; what has a directory stays there."""
        await self._down()
        self._store.close()

    async def restart(self, change: IssuerChange) -> None:
        """Go down and come up on the same port with other issuers or keys.

        Raises:
            ConfigError: No API server could have the issuer; the server has not gone down then.
        """
        kind = change.new_key or change.announce_key
        new_key = await asyncio.to_thread(make_key, kind) if kind else None
        issuer = self._issuer.after(change, new_key)
        await self._down()
        self._issuer = issuer
        self._keep()
        await self._up()

    def admin_kubeconfig(self) -> Kubeconfig:
        """Return the way in of a cluster administrator."""
        return self._kubeconfig("admin")

    def node_kubeconfig(self) -> Kubeconfig:
        """Return the way in of the node agent."""
        return self._kubeconfig("node")

    def controller_kubeconfig(self) -> Kubeconfig:
        """Return the way in of the job controller."""
        return self._kubeconfig("controller")

    async def dump(self) -> dict[str, Any]:
        """Return what was declared: the objects of lasting kinds, without status and without what the server gives out anew each time."""
        kinds = [kind for kind in KINDS if kind.lasting]
        return {kind.plural: {_path(obj): _declared(obj) for obj in self._objects.select(kind)} for kind in kinds}

    async def _up(self) -> None:
        self._stopped = asyncio.Event()
        users = tuple((user, Secret(self._tokens[name], "bearer token")) for name, user in _USERS.items())
        app = ApiServer(self._objects, Authenticator(self._objects, users, self._issuer), lambda: self.url, self._stopped)
        certificate = self._ca.issue_server_certificate(_NAMES)
        with tempfile.TemporaryDirectory() as directory:
            self._listener = Listener(app, certificate.server_context(Path(directory), "apiserver"))
        await self._listener.start(self._port)
        self._port = self._listener.port

    async def _down(self) -> None:
        self._stopped.set()
        if self._listener:
            await self._listener.stop()
        self._listener = None

    def _keep(self) -> None:
        if self._directory:
            state = {"issuer": self._issuer.to_json(), "tokens": self._tokens}
            write_private(self._directory / "issuer.json", json.dumps(state).encode())

    def _kubeconfig(self, user: str) -> Kubeconfig:
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


def _path(obj: Json) -> str:
    metadata = obj["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}" if "namespace" in metadata else str(metadata["name"])


def _declared(obj: Json) -> Json:
    metadata = {name: value for name, value in obj["metadata"].items() if name not in _VOLATILE}
    kept = {name: value for name, value in obj.items() if name != "status"} | {"metadata": metadata}
    if obj["kind"] == "Secret":  # a dump tells whether a secret has changed, not what it is
        kept["data"] = {name: hashlib.sha256(value.encode()).hexdigest() for name, value in (obj.get("data") or {}).items()}
    return kept
