# SPDX-License-Identifier: Apache-2.0
"""The built-in cluster: an HTTPS API server on a port of its own, with its state, its users and its restarts."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any, Final

import httpx2

from podpass.clock import Clock
from podpass.names import Secret
from podpass.sandbox.ca import AuthorityCA
from podpass.sandbox.cluster import IssuerChange
from podpass.sandbox.kubernetes.authentication import AUTHENTICATED, Authenticator, User
from podpass.sandbox.kubernetes.garbage import CollectedObjects
from podpass.sandbox.kubernetes.kinds import KINDS, NAMESPACE
from podpass.sandbox.kubernetes.options import Write
from podpass.sandbox.kubernetes.server import ApiServer
from podpass.sandbox.listener import Listener
from podpass.sandbox.owned_cluster import SERVER_NAMES, USERS, OwnedCluster, declared, is_given, path_of
from podpass.sandbox.settings import SandboxSettings
from podpass.sandbox.store import Store
from podpass.sandbox.token_issuer import make_key
from podpass.sandbox.weather.weather import Weather

_NAMESPACES: Final = ("default", "kube-node-lease", "kube-public", "kube-system")


class KubernetesApi(OwnedCluster):
    """Satisfies `sandbox.cluster.Cluster`.

    Args:
        settings: The kind of the first signing key, and where state is kept.
        ca: Signs the server's certificate.
        clock: Dates objects and tokens.
        weather: What goes wrong.
    """

    def __init__(self, settings: SandboxSettings, ca: AuthorityCA, clock: Clock, weather: Weather | None = None) -> None:
        super().__init__(ca)
        self._settings = settings
        self._weather = weather or Weather(clock)
        self._directory = settings.state_dir / "kubernetes" if settings.state_dir else None
        if self._directory:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)  # secrets lie in it
        self._store = Store(self._directory)
        self._objects = CollectedObjects(self._store, clock)
        self._listener: Listener | None = None
        self._to_nodes: httpx2.AsyncClient
        self._stopped = asyncio.Event()
        self._restarting = asyncio.Lock()

    async def start(self) -> None:
        """Take up what was kept, or begin with the namespaces of every cluster."""
        await asyncio.to_thread(self._take_up, self._directory, self._settings.key_type)
        self._keep_in_directory()
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
        async with self._restarting:
            kind = change.new_key or change.announce_key
            new_key = await asyncio.to_thread(make_key, kind) if kind else None
            issuer = self._issuer.after(change, new_key)
            await self._down()
            self._issuer = issuer
            self._keep_in_directory()
            await self._up()

    async def dump(self) -> dict[str, Any]:
        """Return what was declared: the objects of lasting kinds, without status and without what the server gives out anew each time."""
        kinds = [kind for kind in KINDS if kind.lasting]
        return {
            kind.plural: {path_of(obj): declared(obj) for obj in self._objects.select(kind) if not is_given(kind.plural, obj)}
            for kind in kinds
        }

    async def _up(self) -> None:
        self._stopped = asyncio.Event()
        users = tuple(
            (User(user, (*groups, AUTHENTICATED)), Secret(self._tokens[name], "bearer token")) for name, (user, groups) in USERS.items()
        )
        certificate = self._ca.issue_server_certificate(SERVER_NAMES)
        authenticator = Authenticator(self._objects, users, self._issuer)
        with tempfile.TemporaryDirectory() as directory:
            self._to_nodes = self._node_client(Path(directory))
            app = ApiServer(self._objects, authenticator, lambda: self.url, self._stopped, self._to_nodes, self._weather)
            self._listener = Listener(app, certificate.server_context(Path(directory), "apiserver"))
        await self._listener.start(self._port)
        self._port = self._listener.port

    async def _down(self) -> None:
        self._stopped.set()
        if self._listener:
            await self._listener.stop()
            await self._to_nodes.aclose()
        self._listener = None

    def _keep_in_directory(self) -> None:
        if self._directory:
            self._keep(self._directory)
