# SPDX-License-Identifier: Apache-2.0
"""Three real kube-apiservers move to another issuer, one server after the other, under load: nobody is refused."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from background_load import Load
from cross.three_servers import ThreeServers
from moving_load import Reader, Workload, caller, loaded
from podpass.config.federation import Federation
from podpass.config.reading import load
from podpass.errors import ConfigError
from podpass.federate.execution.apply import apply
from podpass.federate.planning.prepared import prepare
from podpass.federate.records.issuer_move import IssuerMove, MovePhase
from podpass.federate.rotation import servers
from podpass.federate.rotation.instruction import Instruction
from podpass.federate.rotation.issuer.beginning import begin, check_servers
from podpass.federate.rotation.issuer.ledger import MoveLedger
from podpass.federate.rotation.issuer.sides import MoveSides
from podpass.federate.rotation.issuer.walk import MoveWalk
from podpass.federate.rotation.servers import ControlPlane
from podpass.federate.safety.allowances import Allowances
from podpass.google import operator
from podpass.google.connections import new_http
from podpass.google.rest import GoogleClient
from podpass.kube.client import KubeClient
from podpass.kube.objects import ensure_service_account
from podpass.names import PoolName, ServiceAccountRef
from podpass.sandbox.binaries import Binaries, cache_directory
from podpass.sandbox.cluster import IssuerChange
from podpass.sandbox.hosting import HostedSandbox
from podpass.sandbox.settings import SandboxSettings

pytestmark = pytest.mark.cluster
ACCOUNT = ServiceAccountRef("default", "shop")
FORMER, COMING = "https://kubernetes.default.svc.cluster.local", "https://storage.googleapis.com/shop-oidc"
PODS = 20
REQUESTS_A_SECOND = 20
LONGEST = timedelta(seconds=20)
BEFORE = {"google": {"project": "demo-project", "pool": {"id": "three-servers"}, "provider": {"id": "cluster"}}}
AFTER = {
    "issuer": {"url": COMING, "keys": "bucket", "bucket": {"name": "shop-oidc"}},
    "google": BEFORE["google"] | {"provider": {"id": "cluster-2", "formerIds": ["cluster"]}},
}


@dataclass(frozen=True, slots=True)
class ThreeSides(MoveSides):
    """Each server is asked by its own address. Kubernetes lists none of them, since a loopback address may not be an endpoint."""

    urls: tuple[str, ...] = ()

    def control_plane(self, *, thoroughly: bool = True) -> ControlPlane:
        del thoroughly
        found, silent = servers._ask(self.cluster.access, list(self.urls), ACCOUNT, self.audience, self.issuers)
        return ControlPlane(found, is_complete=True, silent=silent)


@dataclass
class Administrator:
    """Does what is asked for, server by server."""

    plane: ThreeServers
    reader: Reader
    move: IssuerMove | None = None
    said: list[str] = field(default_factory=list)

    def step(self, move: IssuerMove) -> None:
        self.move = move

    def do(self, work: Instruction) -> None:
        assert self.move is not None
        self.reader.heed(work)
        if any(line.startswith("kube-apiserver") for line in work.lines):
            self.plane.change(
                {
                    MovePhase.ACCEPT: IssuerChange(accepted_issuers=(FORMER, COMING)),
                    MovePhase.SWITCH: IssuerChange(issuer=self.move.stays.issuer),
                    MovePhase.DROP: IssuerChange(issuer=self.move.stays.issuer, accepted_issuers=()),
                }[self.move.phase]
            )

    def waiting(self, unmet: list[str]) -> None:
        self.said += unmet

    def passed(self, move: IssuerMove, detail: str) -> None:
        self.said.append(f"{move.phase}: {detail}")


@dataclass
class World:
    """A federation of three servers.

    Attributes:
        file: The federation file.
        plane: The servers.
        google: Google, as the operator.
        cluster: The first server, as the operator.
        folder: Where pods mount things.
    """

    file: Path
    plane: ThreeServers
    google: GoogleClient
    cluster: KubeClient
    folder: Path

    def declare(self, spec: Mapping[str, object]) -> Federation:
        credentials = {"configMap": "shop-sts", "tokenPath": str(self.folder / "token")}
        workload = {"serviceAccount": str(ACCOUNT), "roles": ["roles/viewer"], "credentials": credentials}
        content = {"apiVersion": "podpass.dev/v1alpha1", "kind": "Federation", "metadata": {"name": "shop"}}
        self.file.write_text(yaml.safe_dump({**content, "spec": {**spec, "workloads": [workload]}}))
        return load(self.file)

    @contextmanager
    def loaded(self) -> Iterator[tuple[Load, Reader]]:
        facts = prepare(load(self.file), self.google, self.cluster).facts
        assert facts is not None
        audience = PoolName(facts.project_number, "three-servers").provider("cluster").audience
        with ExitStack() as stack:
            clients = [stack.enter_context(self.plane.client(number)) for number in range(3)]
            http = stack.enter_context(new_http())
            workload = Workload(clients, ACCOUNT, audience, "shop-sts", self.folder, http, LONGEST)
            call = caller(clients, ACCOUNT, [FORMER, COMING], self.folder)
            reader = Reader(workload, self.folder / "token")
            reader.restart()
            others = [(call, 1 / REQUESTS_A_SECOND), (reader.once, 0.5)]
            yield stack.enter_context(loaded(workload, others, pods=PODS, pause_s=0.5)), reader


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    try:
        Binaries.find(cache_directory())
    except ConfigError as error:
        pytest.skip(str(error))
    settings = SandboxSettings(propagation=timedelta(0), account_visibility=timedelta(0))
    with ThreeServers(tmp_path / "plane") as plane, HostedSandbox(settings, with_cluster=False) as sandbox, plane.client() as cluster:
        for name, value in sandbox.environment().items():
            monkeypatch.setenv(name, value)
        ensure_service_account(cluster, ACCOUNT)
        http, folder = new_http(), tmp_path / "mounted"
        folder.mkdir()
        with GoogleClient(operator.find(http), http=http) as google:
            world = World(tmp_path / "podpass.yaml", plane, google, cluster, folder)
            apply(prepare(world.declare(BEFORE), google, cluster), Allowances())
            yield world


def test_nobody_is_refused_while_three_servers_move_to_another_issuer(world: World) -> None:
    with world.loaded() as (load, reader), new_http() as http:
        who = Administrator(world.plane, reader)
        file = world.declare(AFTER)
        prepared = prepare(file, world.google, world.cluster)
        move = begin(prepared, LONGEST, is_abrupt=False)
        sides = replace(ThreeSides.of(file, prepared, move, http), urls=tuple(world.plane.urls))
        check_servers(move, sides.control_plane())
        walk = MoveWalk(sides, MoveLedger(world.cluster, "shop"), who, patience=timedelta(minutes=2), brought=timedelta(seconds=3))
        done = walk.go(move)
    assert load.refused == []
    assert next(load.done) > PODS * 20
    assert done.phase is MovePhase.DONE
    assert reader.restarts == 3
    seen = [(server.issuer, server.accepted) for server in sides.control_plane().servers]
    assert seen == [(COMING, frozenset({COMING}))] * 3
    assert any(said.startswith("switch: All 3 API servers sign with") for said in who.said)
    assert not prepare(file, world.google, world.cluster).plan.changes


@pytest.mark.slow
def test_the_same_load_notices_an_issuer_that_is_replaced_at_once(world: World) -> None:
    with world.loaded() as (load, _):
        world.plane.change(IssuerChange(issuer=COMING, accepted_issuers=()))
    assert any("ExchangeRefusedError" in refusal for refusal in load.refused)
