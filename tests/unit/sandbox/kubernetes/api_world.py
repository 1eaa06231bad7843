# SPDX-License-Identifier: Apache-2.0
"""The built-in API server alone, in a thread of its own, with a clock that the test moves."""

import asyncio
import ssl
import threading
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx2

from podpass.clock import SteppedClock
from podpass.sandbox.ca import AuthorityCA
from podpass.sandbox.cluster import Kubeconfig
from podpass.sandbox.kubernetes import KubernetesApi
from podpass.sandbox.settings import SandboxSettings

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
_T = TypeVar("_T")


class ApiWorld:
    """An API server in a thread of its own, with a clock that the test moves."""

    def __init__(self, directory: Path, settings: SandboxSettings) -> None:
        self.clock = SteppedClock(NOON)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="api-world")
        self._thread.start()
        self.api = self.run(self._make(directory, settings))
        self.run(self.api.start())
        self._clients: list[httpx2.Client] = []

    async def _make(self, directory: Path, settings: SandboxSettings) -> KubernetesApi:
        return KubernetesApi(settings, AuthorityCA(directory / "ca"), self.clock)

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self.run(self.api.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def client(self, token: str) -> httpx2.Client:
        """Return a client that shows a token; without one it is anonymous."""
        trust = ssl.create_default_context(cadata=self.api.ca_pem.decode())
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._clients.append(httpx2.Client(base_url=self.api.url, verify=trust, trust_env=False, headers=headers, timeout=60))
        return self._clients[-1]

    def as_user(self, kubeconfig: Kubeconfig) -> httpx2.Client:
        return self.client(kubeconfig["users"][0]["user"]["token"])

    @property
    def admin(self) -> httpx2.Client:
        return self.as_user(self.api.admin_kubeconfig())

    def token(self, account: str = "default", **spec: Any) -> str:  # noqa: ANN401 - JSON
        """Ask for a token of an account in the namespace `default`, which is made when it is missing."""
        path = "/api/v1/namespaces/default/serviceaccounts"
        self.admin.post(path, json={"metadata": {"name": account}})
        answer = self.admin.post(f"{path}/{account}/token", json={"spec": spec})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["status"]["token"])
