# SPDX-License-Identifier: Apache-2.0
"""Pods that exchange their tokens and callers of a guarded service, while the cluster moves to another issuer."""

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import httpx2
import yaml
from google.auth import identity_pool
from google.auth.transport.requests import Request

from background_load import Load, Task, running
from podpass.errors import ExchangeRefusedError, PodpassError
from podpass.exchange.credential_config import load_credential_config
from podpass.exchange.exchanger import CLOUD_PLATFORM, Exchanger
from podpass.exchange.provider_list import SUFFIX
from podpass.federate.rotation.instruction import Instruction
from podpass.guard.decide import Allow
from podpass.guard.guard import Guard
from podpass.guard.incoming import Incoming
from podpass.kube.client import KubeClient
from podpass.kube.config_maps import get_config_map
from podpass.kube.issuer import get_jwks
from podpass.kube.tokens import request_token
from podpass.names import Secret, ServiceAccountRef

AUDIENCE = "https://orders.example"


@dataclass
class Workload:
    """A workload's pods, as kubelet keeps them.

    Attributes:
        clients: The API servers.
        account: Whose tokens they have.
        audience: Whom the tokens are for: what the pods' manifests say.
        config_map: The credential configuration, in the account's namespace.
        folder: Where it is mounted.
        http: For the exchange.
        life: Of a token, as far as kubelet goes.
        within: How late kubelet may bring what the config map says; no later than the walk supposes.
    """

    clients: Sequence[KubeClient]
    account: ServiceAccountRef
    audience: str
    config_map: str
    folder: Path
    http: httpx2.Client
    life: timedelta
    within: timedelta = timedelta(seconds=1)
    _synced_s: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def sync(self) -> None:
        """Bring the config map, file by file, as it is now."""
        with self._lock:
            asked_s = time.monotonic()
            self._bring()
            self._synced_s = asked_s

    def keep_word(self) -> None:
        """Sync if the last time is longer ago than kubelet may take: on a busy machine the thread that does it comes too seldom."""
        if time.monotonic() - self._synced_s > self.within.total_seconds():
            self.sync()

    def _bring(self) -> None:
        found = get_config_map(random.choice(self.clients), self.account.namespace, self.config_map)
        assert found is not None
        for key in ("config", f"config{SUFFIX}"):
            target, swap = self.folder / key, self.folder / f".{key}"
            if key in found.data:
                swap.write_text(found.data[key])
                swap.replace(target)
            else:
                target.unlink(missing_ok=True)

    def token(self) -> Secret[str]:
        return request_token(random.choice(self.clients), self.account, audiences=[self.audience]).value

    def pod(self) -> Callable[[], None]:
        """Start a program that reads its configuration once, and chooses the provider by the token; return one exchange of it."""
        exchanger = Exchanger.from_config(load_credential_config(self.folder / "config"), http=self.http)
        asked_s, held, after_s = time.monotonic(), self.token(), self._renewed_after_s()

        def once() -> None:
            nonlocal asked_s, held, after_s
            if time.monotonic() - asked_s > after_s:
                asked_s, held, after_s = time.monotonic(), self.token(), self._renewed_after_s()
            try:
                exchanger.federated_token(held)
            except ExchangeRefusedError:
                # On a busy machine its life may end on the way, after which it may be refused.
                if time.monotonic() - asked_s < self.life.total_seconds():
                    raise

        return once

    def _renewed_after_s(self) -> float:
        return 0.8 * self.life.total_seconds() * random.random()


class Reader:
    """A program with google-auth alone: it reads its configuration once, and is restarted when the steps of a move say so.

    Args:
        workload: Its pod.
        token_path: Where the configuration says that the token is.
    """

    def __init__(self, workload: Workload, token_path: Path) -> None:
        self._workload = workload
        self._token_path = token_path
        self._lock = threading.Lock()
        self.restarts = 0

    def restart(self) -> None:
        """Start a new pod: it has the config map of now, and a token of its own."""
        with self._lock:
            self._workload.sync()
            self._token_path.write_text(self._workload.token().reveal())
            self._credentials = identity_pool.Credentials.from_file(str(self._workload.folder / "config"), scopes=[CLOUD_PLATFORM])
            self.restarts += 1

    def heed(self, work: Instruction) -> None:
        """Do what concerns it; whoever is told to do something has waited for kubelet where that has to be."""
        self._workload.keep_word()
        if work.purpose.startswith(("Restart now", "New pods find")):
            self.restart()

    def once(self) -> None:
        """Exchange its token."""
        with self._lock:
            self._credentials.refresh(Request())


def caller(clients: Sequence[KubeClient], account: ServiceAccountRef, issuers: Sequence[str], folder: Path) -> Callable[[], None]:
    """Return one call of a service that is guarded by a policy with these issuers."""
    (folder / "jwks.json").write_bytes(get_jwks(clients[0]))
    names = {f"issuer-{number}": issuer for number, issuer in enumerate(issuers)}
    policy = {
        "apiVersion": "podpass.dev/v1alpha1",
        "kind": "InvokerPolicy",
        "metadata": {"name": "orders"},
        "spec": {
            "audiences": [AUDIENCE],
            "issuers": {name: {"kind": "kubernetes", "url": issuer, "keys": {"file": "jwks.json"}} for name, issuer in names.items()},
            "rules": [{"paths": ["/**"], "members": [f"kubernetes:{name}/{account.namespace}/{account.name}" for name in names]}],
        },
    }
    (folder / "policy.yaml").write_text(yaml.safe_dump(policy))
    guard = Guard.from_file(folder / "policy.yaml")

    def once() -> None:
        token = request_token(random.choice(clients), account, audiences=[AUDIENCE]).value
        verdict = guard.decide(Incoming("GET", b"/orders", [(b"authorization", f"Bearer {token.reveal()}".encode())]))
        assert isinstance(verdict, Allow), verdict

    return once


@contextmanager
def loaded(workload: Workload, others: Iterable[Task], *, pods: int, pause_s: float) -> Iterator[Load]:
    """Have pods exchange while the block runs, and others do what they do, with their pauses."""
    workload.sync()

    def sync() -> None:
        with suppress(PodpassError):
            workload.sync()

    exchanges = [(workload.pod(), pause_s) for _ in range(pods)]
    with running([(sync, 0.2)]), running([*exchanges, *others]) as load:
        yield load
