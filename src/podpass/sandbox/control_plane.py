# SPDX-License-Identifier: Apache-2.0
"""A real control plane on this machine: etcd, kube-apiserver and kube-controller-manager, started from a directory of programs.

It keeps the promise of `cluster.Cluster`. A change of issuer or key is a restart with other flags, as an administrator makes it. The
programs run behind the node agent's shim, so that none outlives a sandbox that is killed; etcd listens on a Unix socket that only this
user can reach.
"""

import asyncio
import contextlib
import json
import os
import socket
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from podpass.clock import SystemClock
from podpass.errors import NeighbourError, PodpassError
from podpass.sandbox.binaries import Binaries
from podpass.sandbox.ca import AuthorityCA, write_private
from podpass.sandbox.cluster import IssuerChange
from podpass.sandbox.cluster_client import ClusterClient, Object, StatusError
from podpass.sandbox.node.lease import lock
from podpass.sandbox.node.logs import ContainerLog
from podpass.sandbox.node.processes import Order, Process, StartError
from podpass.sandbox.owned_cluster import NODE_USER, SERVER_NAMES, USERS, OwnedCluster, declared, is_given, path_of
from podpass.sandbox.settings import SandboxSettings
from podpass.sandbox.token_issuer import make_key

_API_SERVER, _CONTROLLER_MANAGER, _ETCD = "kube-apiserver", "kube-controller-manager", "etcd"
_CONFLICT = 409
# Seen on 2 cores: ready after 2.2 s. A loaded machine may need ten times that.
_READY_S, _POLL_S = 90.0, 0.1
_GRACE_S = 10.0
_RBAC = "rbac.authorization.k8s.io"
_SCHEDULER: Object = {
    "apiVersion": f"{_RBAC}/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "podpass-node-binds-pods"},
    "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": "system:kube-scheduler"},
    "subjects": [{"apiGroup": _RBAC, "kind": "User", "name": NODE_USER}],
}
_CORE = "/api/v1"
# plural -> where it is, and its kind
_DUMPED = {
    "namespaces": (_CORE, "Namespace"),
    "serviceaccounts": (_CORE, "ServiceAccount"),
    "configmaps": (_CORE, "ConfigMap"),
    "secrets": (_CORE, "Secret"),
    **{f"{kind.lower()}s": (f"/apis/{_RBAC}/v1", kind) for kind in ("ClusterRoleBinding", "Role", "RoleBinding")},
}


class ControlPlaneError(PodpassError):
    """A program of the control plane does not come up."""

    code = "sandbox.control-plane"


class ControlPlane(OwnedCluster):
    """A control plane of real programs.

    Args:
        directory: Where the programs are (`make cluster`).
        settings: Of the sandbox; with a `state_dir` the cluster is kept there.
        ca: Signs the API server's certificate.
    """

    def __init__(self, directory: Path, settings: SandboxSettings, ca: AuthorityCA) -> None:
        super().__init__(ca)
        self._programs = Binaries.find(directory)
        self._settings = settings
        self._scratch = contextlib.ExitStack()
        self._running: dict[str, tuple[Process, ContainerLog]] = {}
        self._restarting = asyncio.Lock()
        self._home = Path()

    async def start(self) -> None:
        """Start the three programs; return when the API answers and pods can be made in the namespace `default`.

        Raises:
            ControlPlaneError: A program ended, or the API server is not ready in time; the end of its log says why.
        """
        await asyncio.to_thread(self._prepare)
        await self._launch(_ETCD, self._etcd_flags())
        await self._start_kubernetes()

    async def _start_kubernetes(self) -> None:
        self._write_keys()
        await self._launch(_API_SERVER, self._api_server_flags())
        async with ClusterClient(self.admin_kubeconfig(), agent="podpass-sandbox") as client:
            await self._until(client.is_ready)
            with contextlib.suppress(StatusError):  # there already, after a restart
                await client.post(f"/apis/{_RBAC}/v1/clusterrolebindings", _SCHEDULER)
            await self._launch(_CONTROLLER_MANAGER, self._controller_manager_flags())
            # Until the controller has made it, the API server refuses every pod of the namespace.
            await self._until(lambda: _exists(client, "/api/v1/namespaces/default/serviceaccounts/default"))

    async def restart(self, change: IssuerChange) -> None:
        """Stop kube-apiserver and kube-controller-manager, and start them with other flags on the same port; etcd goes on."""
        async with self._restarting:
            kind = change.new_key or change.announce_key
            new_key = await asyncio.to_thread(make_key, kind) if kind else None
            after = self._issuer.after(change, new_key)
            await self._end(_CONTROLLER_MANAGER)
            await self._end(_API_SERVER)
            self._issuer = after
            await self._start_kubernetes()

    async def stop(self) -> None:
        """Stop everything, etcd last: an API server that has lost its etcd hangs for more than a minute."""
        for name in (_CONTROLLER_MANAGER, _API_SERVER, _ETCD):
            await self._end(name)
        self._scratch.close()

    async def dump(self) -> Object:
        """Return what lies in the user's namespaces, without volatile values."""
        async with ClusterClient(self.admin_kubeconfig(), agent="podpass-sandbox") as client:
            lists = {plural: (await client.get(f"{root}/{plural}"))["items"] for plural, (root, _) in _DUMPED.items()}
        return {
            plural: {
                path_of(item): declared({**_head(plural), **item}) for item in items if not _is_system(item) and not is_given(plural, item)
            }
            for plural, items in lists.items()
        }

    # Files.

    def _prepare(self) -> None:
        if self._settings.state_dir:
            self._home = self._settings.state_dir / "control-plane"
        else:
            # Beside the authority's key, which is kept from pods and taken away with the sandbox.
            self._home = Path(self._scratch.enter_context(tempfile.TemporaryDirectory(prefix="control-plane-", dir=self._ca.path.parent)))
        self._home.mkdir(parents=True, exist_ok=True)
        self._home.chmod(0o700)
        self._scratch.callback(os.close, lock(self._home))
        for left_behind in ("client:0", "peer:0"):
            (self._home / left_behind).unlink(missing_ok=True)
        self._take_up(self._home, self._settings.key_type)
        self._port = self._port or _free_port()
        self._ca.issue_server_certificate((*SERVER_NAMES, "10.0.0.1")).write(self._home, "apiserver")
        self._write_node_client(self._home)
        (self._home / "ca.crt").write_bytes(self.ca_pem)
        users = "".join(f'{self._tokens[key]},{name},{name},"{",".join(groups)}"\n' for key, (name, groups) in USERS.items())
        write_private(self._home / "tokens.csv", users.encode())
        write_private(self._home / "controller-manager.kubeconfig", json.dumps(self.controller_kubeconfig()).encode())

    def _write_keys(self) -> None:
        self._keep(self._home)
        encoding = (serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
        for number, key in enumerate(self._issuer.keys):
            write_private(self._home / f"service-account-{number}.key", key.private_bytes(*encoding))

    # Flags. Paths are relative to the programs' working directory, which keeps etcd's socket below the length that a socket's name has.

    @staticmethod
    def _etcd_flags() -> list[str]:
        client, peer = "unix://client:0", "unix://peer:0"
        return [
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--data-dir=etcd",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]

    def _api_server_flags(self) -> list[str]:
        keys = [f"--service-account-key-file=service-account-{number}.key" for number in range(len(self._issuer.keys))]
        return [
            "--etcd-servers=unix://client:0",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={self._port}",
            "--tls-cert-file=apiserver.crt",
            "--tls-private-key-file=apiserver.key",
            "--kubelet-client-certificate=kubelet-client.crt",
            "--kubelet-client-key=kubelet-client.key",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--endpoint-reconciler-type=none",  # a loopback address may not be an endpoint
            *(f"--service-account-issuer={issuer}" for issuer in self._issuer.issuers),
            "--service-account-signing-key-file=service-account-0.key",
            *keys,
            "--token-auth-file=tokens.csv",
            "--authorization-mode=Node,RBAC",  # without the admission plugin NodeRestriction, by which a node may not bind pods
        ]

    @staticmethod
    def _controller_manager_flags() -> list[str]:
        return [
            "--kubeconfig=controller-manager.kubeconfig",
            "--service-account-private-key-file=service-account-0.key",
            "--root-ca-file=ca.crt",
            "--use-service-account-credentials",
            "--kube-api-qps=500",  # the default, 20, makes its start take 5 s
            "--kube-api-burst=1000",
            "--leader-elect=false",
            "--secure-port=0",
            "--controllers=*,-node-ipam-controller,-cloud-node-lifecycle-controller",
        ]

    # Programs.

    async def _launch(self, name: str, flags: Sequence[str]) -> None:
        program = {
            _ETCD: self._programs.etcd,
            _API_SERVER: self._programs.api_server,
            _CONTROLLER_MANAGER: self._programs.controller_manager,
        }
        log = ContainerLog()
        order = Order([str(program[name]), *flags], {"HOME": str(self._home)}, str(self._home), steps=(), root=None, bubblewrap=False)
        try:
            self._running[name] = (await Process.start(order, log, SystemClock()), log)
        except StartError as error:
            raise ControlPlaneError(f"{name} cannot be started.", str(error), "Run `make cluster`, or name other programs.") from error

    async def _end(self, name: str) -> None:
        if name in self._running:
            process, _ = self._running.pop(name)
            # What lies in a temporary directory needs no leave-taking.
            await process.end(_GRACE_S if self._settings.state_dir else 0.0)

    async def _until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        """Wait until `holds` answers yes, while all programs run."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _READY_S
        while not await holds():
            for name, (process, log) in self._running.items():
                if process.has_ended:
                    raise ControlPlaneError(f"{name} ended with code {await process.wait()}.", f"Its last words: {_last_words(log)}")
            if loop.time() > deadline:
                log = self._running[_API_SERVER][1]
                raise ControlPlaneError(f"kube-apiserver is not ready after {_READY_S:.0f} s.", f"Its last words: {_last_words(log)}")
            await asyncio.sleep(_POLL_S)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _last_words(log: ContainerLog) -> str:
    return log.tail(1500).strip() or "none."


async def _exists(client: ClusterClient, path: str) -> bool:
    try:
        await client.get(path)
    except NeighbourError:
        return False
    return True


def _head(plural: str) -> Object:
    """Return what the items of a list leave out."""
    root, kind = _DUMPED[plural]
    return {"apiVersion": root.removeprefix("/apis/").removeprefix("/api/"), "kind": kind}


def _is_system(item: Object) -> bool:
    """Tell whether it is there without anybody's doing. API servers label the roles' bindings that they make."""
    metadata = item["metadata"]
    if "kubernetes.io/bootstrapping" in metadata.get("labels", {}) or metadata["name"] == _SCHEDULER["metadata"]["name"]:
        return True
    return str(metadata.get("namespace", metadata["name"])).startswith("kube-")
