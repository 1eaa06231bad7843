# SPDX-License-Identifier: Apache-2.0
"""The signing key of three real kube-apiservers is rotated, one server after the other, under load: nobody is refused."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from background_load import Load, running
from cross.three_servers import ThreeServers
from podpass.config.reading import load
from podpass.discovery.api_server import ApiServerOrigin
from podpass.discovery.key_cache import KeyCache
from podpass.discovery.kube import KubeApi
from podpass.discovery.patience import patiently
from podpass.errors import ConfigError, ExchangeRefusedError
from podpass.federate.execution.apply import apply
from podpass.federate.planning.prepared import prepare
from podpass.federate.rotation import servers
from podpass.federate.rotation.instruction import Instruction
from podpass.federate.rotation.key.ledger import KeyLedger
from podpass.federate.rotation.key.rotation import Phase, Rotation
from podpass.federate.rotation.key.sides import KeySides
from podpass.federate.rotation.key.walk import KeyWalk
from podpass.federate.rotation.servers import ControlPlane
from podpass.federate.safety.allowances import Allowances
from podpass.google import operator
from podpass.google.connections import new_http
from podpass.google.rest import GoogleClient
from podpass.kube.client import KubeClient
from podpass.kube.objects import ensure_service_account
from podpass.kube.tokens import request_token
from podpass.names import Audience, Issuer, ServiceAccountRef
from podpass.sandbox.binaries import Binaries, cache_directory
from podpass.sandbox.cluster import IssuerChange
from podpass.sandbox.hosting import HostedSandbox
from podpass.sandbox.settings import SandboxSettings
from podpass.verify import Verifier

pytestmark = pytest.mark.cluster
ACCOUNT = ServiceAccountRef("default", "shop")
AUDIENCE = "https://orders.example"
PODS = 20
REQUESTS_A_SECOND = 20
LONGEST = timedelta(seconds=20)
CHANGES = {
    Phase.ANNOUNCE: IssuerChange(announce_key="rsa2048"),
    Phase.SWITCH: IssuerChange(sign_with_announced=True),
    Phase.RETIRE: IssuerChange(keep_old_keys=False),
}


@dataclass(frozen=True, slots=True)
class ThreeSides(KeySides):
    """Each server is asked by its own address. Kubernetes lists none of them, since a loopback address may not be an endpoint."""

    urls: tuple[str, ...] = ()

    def control_plane(self, *, thoroughly: bool = True) -> ControlPlane:
        del thoroughly
        found, silent = servers._ask(self.cluster.access, list(self.urls), ACCOUNT, self._audience)
        return ControlPlane(found, is_complete=True, silent=silent)


@dataclass
class Administrator:
    """Does what is asked for."""

    plane: ThreeServers
    phase: Phase = Phase.ANNOUNCE
    said: list[str] = field(default_factory=list)

    def step(self, rotation: Rotation) -> None:
        self.phase = rotation.phase

    def do(self, work: Instruction) -> None:
        del work
        self.plane.change(CHANGES[self.phase])

    def waiting(self, unmet: list[str]) -> None:
        self.said += unmet

    def passed(self, rotation: Rotation, detail: str) -> None:
        self.said.append(f"{rotation.phase}: {detail}")


@contextmanager
def loaded(sides: KeySides, plane: ThreeServers) -> Iterator[Load]:
    """Have pods exchange tokens, and somebody call a guarded service."""
    with ExitStack() as stack:
        clients = [stack.enter_context(plane.client(number)) for number in range(3)]
        pods = [(_pod(sides, clients), 0.5) for _ in range(PODS)]
        yield stack.enter_context(running([*pods, (_caller(clients), 1 / REQUESTS_A_SECOND)]))


def _pod(sides: KeySides, clients: list[KubeClient]) -> Callable[[], None]:
    """Keep a token as long as its life allows, as kubelet does, and exchange it."""
    exchanger, audience = sides.exchanger(), sides._audience
    held = request_token(clients[0], ACCOUNT, audiences=[audience]).value
    asked_s = after_s = 0.0

    def once() -> None:
        nonlocal held, asked_s, after_s
        if time.monotonic() - asked_s > after_s:
            now_s, held = time.monotonic(), request_token(random.choice(clients), ACCOUNT, audiences=[audience]).value
            asked_s, after_s = now_s, 0.8 * LONGEST.total_seconds() * random.random()
        try:
            exchanger.federated_token(held)
        except ExchangeRefusedError:
            # On a busy machine its life may end on the way, after which it may be refused.
            if time.monotonic() - asked_s < LONGEST.total_seconds():
                raise

    return once


def _caller(clients: list[KubeClient]) -> Callable[[], None]:
    """Call a service that verifies with keys of an API server."""
    keys = KeyCache(ApiServerOrigin(KubeApi(clients[0])))
    verifier = Verifier(issuer=Issuer("https://kubernetes.default.svc.cluster.local"), audiences=[Audience(AUDIENCE)], keys=keys)

    def once() -> None:
        token = request_token(random.choice(clients), ACCOUNT, audiences=[AUDIENCE]).value
        patiently(lambda: verifier.verify(token.reveal(), now=datetime.now(UTC) + timedelta(seconds=1)))

    return once


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[ThreeServers]:
    try:
        Binaries.find(cache_directory())
    except ConfigError as error:
        pytest.skip(str(error))
    with ThreeServers(tmp_path / "plane") as plane:
        yield plane


@pytest.fixture
def sides(plane: ThreeServers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreeSides]:
    file = tmp_path / "podpass.yaml"
    spec = {
        "google": {"project": "demo-project", "pool": {"id": "three-servers"}, "provider": {"id": "cluster"}},
        "workloads": [{"serviceAccount": str(ACCOUNT), "roles": ["roles/viewer"]}],
    }
    file.write_text(
        yaml.safe_dump({"apiVersion": "podpass.dev/v1alpha1", "kind": "Federation", "metadata": {"name": "shop"}, "spec": spec})
    )
    settings = SandboxSettings(propagation=timedelta(0), account_visibility=timedelta(0))
    with HostedSandbox(settings, with_cluster=False) as sandbox, plane.client() as cluster:
        for name, value in sandbox.environment().items():
            monkeypatch.setenv(name, value)
        ensure_service_account(cluster, ACCOUNT)
        declared, http = load(file), new_http()
        with GoogleClient(operator.find(http), http=http) as google, new_http() as plain:
            prepared = prepare(declared, google, cluster)
            apply(prepared, Allowances())
            assert prepared.facts is not None
            yield ThreeSides(declared, google, cluster, plain, prepared.facts, tuple(plane.urls))


def test_nobody_is_refused_while_the_key_of_three_servers_is_rotated(plane: ThreeServers, sides: ThreeSides) -> None:
    before = sides.control_plane()
    signer = before.servers[0].signer
    who = Administrator(plane)
    with loaded(sides, plane) as load:
        rotation = Rotation.begin(before.kids, signer, LONGEST)
        done = KeyWalk(sides, KeyLedger(sides.cluster, "shop"), who, patience=timedelta(minutes=2)).go(rotation)
    assert load.refused == []
    assert next(load.done) > PODS * 20
    assert done.new != signer
    assert [(set(server.kids), server.signer) for server in sides.control_plane().servers] == [({done.new}, done.new)] * 3
    assert sides.known_kids() == {done.new}
    assert any(said.startswith("switch: All 3 API servers sign with") for said in who.said)


@pytest.mark.slow
def test_the_same_load_notices_a_key_that_is_replaced_at_once(plane: ThreeServers, sides: ThreeSides) -> None:
    with loaded(sides, plane) as load:
        plane.change(IssuerChange(new_key="p256", keep_old_keys=False))
    assert any("ExchangeRefusedError" in refusal for refusal in load.refused)
