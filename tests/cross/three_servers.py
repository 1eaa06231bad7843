# SPDX-License-Identifier: Apache-2.0
"""A control plane of three real kube-apiservers over one etcd, each restarted by itself with other signing keys."""

import subprocess
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2

from podpass.kube.client import KubeClient, connect
from podpass.kube.kubeconfig import from_dict
from podpass.sandbox.binaries import cache_directory
from podpass.sandbox.ca import AuthorityCA
from podpass.sandbox.cluster import IssuerChange
from podpass.sandbox.control_plane import ControlPlane, _free_port
from podpass.sandbox.settings import SandboxSettings
from podpass.sandbox.token_issuer import make_key

_PATIENCE_S = 90.0


class ThreeServers:
    """Enter it to have it run.

    Args:
        folder: Where everything is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._plane = ControlPlane(cache_directory(), SandboxSettings(key_type="p256", state_dir=folder), AuthorityCA(folder / "ca"))
        self._ports = [_free_port() for _ in range(3)]
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._log = folder / "servers.log"
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._plane._prepare()
        self._plane._write_keys()
        self._stack.callback(self._plane._scratch.close)
        self._end_later(self._start([str(self._plane._programs.etcd), *self._plane._etcd_flags()]))
        for port in self._ports:
            self._serve(port)
            self._stack.callback(self._end, port)
        for port in self._ports:
            self._until_ready(port)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    @property
    def urls(self) -> list[str]:
        return [f"https://127.0.0.1:{port}" for port in self._ports]

    def client(self, number: int = 0) -> KubeClient:
        return connect(replace(from_dict(self._plane.admin_kubeconfig()), server=self.urls[number]))

    def change(self, change: IssuerChange) -> None:
        """Restart one server after the other; each is ready before the next one goes."""
        kind = change.new_key or change.announce_key
        self._plane._issuer = self._plane._issuer.after(change, make_key(kind) if kind else None)
        self._plane._write_keys()
        for port in self._ports:
            self._end(port)
            self._serve(port)
            self._until_ready(port)

    def _serve(self, port: int) -> None:
        self._plane._port = port
        self._running[port] = self._start([str(self._plane._programs.api_server), *self._plane._api_server_flags()])

    def _start(self, command: list[str]) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as log:
            return subprocess.Popen(command, cwd=self._plane._home, stdout=log, stderr=log)

    def _end(self, port: int) -> None:
        """Let it finish what it answers, as kubelet does."""
        server = self._running[port]
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()

    def _end_later(self, process: "subprocess.Popen[bytes]") -> None:
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)

    def _until_ready(self, port: int) -> None:
        end = time.monotonic() + _PATIENCE_S
        with httpx2.Client(verify=False, trust_env=False) as http:
            while True:
                try:
                    if http.get(f"https://127.0.0.1:{port}/readyz").is_success:
                        return
                except httpx2.RequestError:
                    pass
                assert time.monotonic() < end, self._log.read_text()[-2000:]
                time.sleep(0.1)
