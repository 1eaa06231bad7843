# SPDX-License-Identifier: Apache-2.0
"""A Talos cluster that can have one key has it replaced at once: what `podpass rotate --key` says beforehand is what is measured.

The API servers are real, and so are the tokens. Kubelet is played: it renews a token by its own rule, on a clock that goes on by a minute
with each round, so that an hour of a cluster takes seconds.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest
import yaml
from click.testing import CliRunner, Result

from cross.talos_cluster import TalosCluster
from podpass.cli.root import podpass
from podpass.errors import ConfigError, ExchangeRefusedError, PlanError
from podpass.exchange.exchanger import Exchanger
from podpass.federate.clusters.evidence import Node
from podpass.federate.clusters.gathering import gather
from podpass.federate.rotation.key.single_key import Report, report
from podpass.google.connections import new_http
from podpass.kube.client import KubeClient, Request
from podpass.kube.tokens import request_token
from podpass.names import PoolName, Secret, ServiceAccountRef
from podpass.sandbox.binaries import Binaries, cache_directory
from podpass.sandbox.cluster import IssuerChange
from podpass.sandbox.hosting import HostedSandbox
from podpass.sandbox.token_issuer import make_key
from podpass.verify import parse

pytestmark = pytest.mark.cluster
WORKLOAD = ServiceAccountRef("default", "default")
PROVIDER = PoolName("415104041262", "single-key").provider("cluster")
MINUTE = timedelta(minutes=1)
LIFE = timedelta(seconds=1800)
FEDERATION = f"""
apiVersion: podpass.dev/v1alpha1
kind: Federation
metadata: {{name: single-key}}
spec:
  google: {{project: demo-project, pool: {{id: single-key}}, provider: {{id: cluster}}}}
  workloads:
    - serviceAccount: {WORKLOAD}
      roles: [roles/storage.objectViewer]
      token: {{expiration: {int(LIFE.total_seconds())}}}
"""
Audience = Literal["cluster", "google"]


class SingleKeyCluster(TalosCluster):
    """Its key is replaced as Talos does it when cluster.serviceAccount.key changes: the new one in the place of the old."""

    def new_key(self) -> None:
        """Write it; a server has it when it has restarted."""
        self.plane._issuer = self.plane._issuer.after(IssuerChange(new_key="p256", keep_old_keys=False), make_key("p256"))
        self.plane._write_keys()

    def restart(self, node: Node) -> None:
        """Restart a node's kube-apiserver, and wait until it serves again."""
        server = self._servers[node.name]
        server.kill()
        server.wait()
        self._serve(node)
        self.until_ready(node)


@dataclass
class Kubelet:
    """Keeps a token fresh, as kubelet does: a new one when 80 % of its life is used."""

    audience: Audience
    life: timedelta
    issued: timedelta
    token: Secret[str]

    def sync(self, now: timedelta, server: KubeClient) -> None:
        if now - self.issued > 0.8 * self.life:
            self.token, self.issued = ask(server, self.audience, self.life), now

    @property
    def kid(self) -> str:
        return str(parse(self.token.reveal()).kid)


@dataclass
class Ward:
    """The pods of a cluster, an hour of theirs, and who was refused when."""

    cluster: SingleKeyCluster
    exchanger: Exchanger
    servers: list[KubeClient]
    pods: list[Kubelet]
    now: timedelta = timedelta(0)
    refused: list[tuple[timedelta, str, Audience, str]] = field(default_factory=list)

    def live(self, minutes: int) -> None:
        """Let time go on; each minute every pod is synced and uses its token everywhere."""
        for _ in range(minutes):
            self.now += MINUTE
            for number, pod in enumerate(self.pods):
                # A load balancer leads each of them to another server.
                pod.sync(self.now, self.servers[number % len(self.servers)])
                self.use(pod)

    def use(self, pod: Kubelet) -> None:
        if pod.audience == "google":
            try:
                self.exchanger.federated_token(pod.token)
            except ExchangeRefusedError:
                self.note("google", pod)
            return
        for node, server in zip(self.cluster.nodes, self.servers, strict=True):
            if not is_taken(server, pod.token):
                self.note(node.name, pod)

    def note(self, by: str, pod: Kubelet) -> None:
        self.refused.append((self.now, by, pod.audience, pod.kid))


def ask(server: KubeClient, audience: Audience, life: timedelta) -> Secret[str]:
    audiences = [PROVIDER.audience] if audience == "google" else []
    return request_token(server, WORKLOAD, audiences=audiences, expiration=life).value


def is_taken(client: KubeClient, token: Secret[str]) -> bool:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token.reveal()}}
    answer = client.call(Request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", "review", body=body))
    return answer["status"].get("authenticated") is True


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[SingleKeyCluster]:
    try:
        Binaries.find(cache_directory())
    except ConfigError as error:
        pytest.skip(str(error))
    with SingleKeyCluster(tmp_path, "1.13.9") as cluster:
        yield cluster


@pytest.fixture
def ward(cluster: SingleKeyCluster, logged_in: HostedSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ward]:
    """A federation that is applied, and pods with tokens of every age."""
    assert logged_in.environment()  # this process is logged in to it
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1,127.0.0.2,127.0.0.3")
    content = cluster.plane.admin_kubeconfig()
    content["clusters"][0]["cluster"]["server"] = cluster.url(cluster.nodes[0])
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(content))
    (tmp_path / "podpass.yaml").write_text(FEDERATION)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    monkeypatch.chdir(tmp_path)
    assert run("apply", "--yes").exit_code == 0
    with ExitStack() as stack:
        servers = [stack.enter_context(cluster.client(node)) for node in cluster.nodes]
        exchanger = Exchanger(PROVIDER, http=stack.enter_context(new_http()))
        # How much of its life each token has behind it. The third of each row is renewed by the last server just before that restarts, so
        # it is refused longest; the first by a server that has restarted already.
        rows: tuple[tuple[Audience, timedelta, tuple[float, ...]], ...] = (
            ("cluster", timedelta(seconds=3607), (0.733, 0.0, 0.67, 0.2, 0.4, 0.6)),
            ("google", LIFE, (0.733, 0.0, 0.55, 0.2, 0.4, 0.6)),
        )
        pods = [Kubelet(audience, life, -age * life, ask(servers[0], audience, life)) for audience, life, ages in rows for age in ages]
        yield Ward(cluster, exchanger, servers, pods)


def run(*words: str) -> Result:
    return CliRunner().invoke(podpass, list(words))


def said_before(ward: Ward) -> Report:
    """Let `podpass rotate` say what will be, and see that it has said so and changed nothing."""
    before = [parse(ask(server, "cluster", LIFE).reveal()).kid for server in ward.servers]
    answer = run("rotate", "--key", "--yes")
    assert isinstance(answer.exception, PlanError)
    assert answer.exception.full_code == "plan.single-key"
    assert "Talos 1.13.9" in answer.exception.why
    found = report(gather(ward.servers[0]), LIFE, ())
    assert found
    said = " ".join(answer.output.split())
    assert "another one 51 minutes after the last restart at the latest" in said  # of Kubernetes' own
    assert "another one 27 minutes after the last restart at the latest" in said  # of the workload's
    assert "Google: every token of the new key, from the first that is signed; until `podpass keys sync`." in said
    assert [parse(ask(server, "cluster", LIFE).reveal()).kid for server in ward.servers] == before
    return found


@pytest.mark.slow
def test_what_is_refused_is_what_was_said_and_for_as_long(ward: Ward) -> None:
    said = said_before(ward)
    cluster, (old,) = ward.cluster, {pod.kid for pod in ward.pods}
    ward.live(2)
    assert ward.refused == []

    cluster.new_key()
    first = ward.now
    restarted: dict[str, timedelta] = {}
    for node in cluster.nodes:
        cluster.restart(node)
        restarted[node.name] = ward.now
        ward.live(3)
    last = restarted[cluster.nodes[-1].name]
    ward.live(3)
    synced = ward.now
    assert run("keys", "sync", "--yes").exit_code == 0
    ward.live(60)
    (new,) = {pod.kid for pod in ward.pods}
    assert new != old

    at_servers = [(now, by, kid) for now, by, audience, kid in ward.refused if audience == "cluster"]
    at_google = [(now, kid) for now, by, audience, kid in ward.refused if audience == "google"]
    # Each server refuses the old key from its restart on, and the new one until then; nothing else.
    assert at_servers
    assert {kid == new for now, by, kid in at_servers if now <= restarted[by]} <= {True}
    assert {kid == old for now, by, kid in at_servers if now > restarted[by]} == {True}
    assert any(kid == new for _, _, kid in at_servers)
    assert min(now for now, _, _ in at_servers) > first
    # Google refuses the new key until it is told, and the old one from then on.
    assert {kid for now, kid in at_google if now <= synced} == {new}
    assert {kid for now, kid in at_google if now > synced} == {old}
    # For so long as was said, and hardly less; a round is a minute here.
    for refused, promised in ((max(now for now, _, _ in at_servers), said.own), (max(now for now, _ in at_google), said.google)):
        assert refused - last <= promised
        assert refused - last >= promised - 3 * MINUTE
    assert run("doctor").exit_code == 0
