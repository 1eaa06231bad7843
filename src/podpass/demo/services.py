# SPDX-License-Identifier: Apache-2.0
"""The second article's first half, walked: a client calls a guarded server with its cluster identity, and others try with tokens of theirs.

Every answer is one of the server, a pod of the sandbox, to a real request. The client's own is read in its pod's log. The other tokens are
real ones too: the cluster's TokenRequest signs them, and another cluster's with the same issuer URL. Tokens last ten minutes at least, so
to see an expired one refused, the server is started again with a clock a quarter of an hour ahead.

On a real control plane everything is asked a second time after a restart with a new signing key, which the server has to learn.
"""

import json
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Final

import httpx2

from podpass.demo import answers, cluster, manifests
from podpass.demo.answers import Answer, Table, ask
from podpass.demo.other_cluster import other_cluster
from podpass.demo.stage import Stage, staged
from podpass.demo.story import Step, Story, expect
from podpass.kube.client import KubeClient
from podpass.kube.tokens import request_token
from podpass.names import Secret, ServiceAccountRef
from podpass.sandbox.cluster import IssuerChange
from podpass.sandbox.settings import SandboxSettings

FILES: Final = Path(__file__).parent / "second_article"
_EXAMPLE: Final = "examples/second-article"
NAMESPACE: Final = "id-namespace"
CLIENT: Final = "auth-client"
SERVER: Final = "auth-server"
_PORT: Final = "8391"
AUDIENCE: Final = "https://auth-server.example"
ACCOUNT: Final = ServiceAccountRef(NAMESPACE, "gke-sa")
_OTHER_ACCOUNT: Final = ServiceAccountRef(NAMESPACE, "default")
_LIFE: Final = timedelta(minutes=10)
_AHEAD: Final = timedelta(minutes=15)
_SAID = re.compile(r"GET /private (\d{3}) (.*)")
# A guard asks for keys that it does not know once in ten seconds.
_LEARNING_S = 30.0


def tell(*, control_plane: Path | None = None, rotate: bool | None = None) -> Story:
    """Walk the story in a sandbox of its own.

    Args:
        control_plane: The directory of a real control plane; None: the built-in API server.
        rotate: Whether to go on after a restart with a new signing key; None: on a real control plane.

    Raises:
        StoryError: It did not go as it should have.
    """
    story = Story("services")
    settings = SandboxSettings(control_plane=control_plane)
    with staged(settings) as stage, files() as folder, other_cluster(stage.sandbox, ACCOUNT) as other:
        _Walk(story, stage, folder, other).walk(rotate=control_plane is not None if rotate is None else rotate)
    return story


@contextmanager
def files() -> Iterator[Path]:
    """Copy the manifests, with a port that is free now."""
    with TemporaryDirectory(prefix="podpass-demo-") as directory, socket.socket() as probe:
        folder = Path(directory) / FILES.name
        shutil.copytree(FILES, folder)
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        for name in ("endpoint.env", "server.yaml"):
            (folder / name).write_text((folder / name).read_text().replace(_PORT, str(port)))
        yield folder


@dataclass(slots=True)
class _Walk:
    """The steps of the story, in order."""

    story: Story
    stage: Stage
    folder: Path
    other: KubeClient
    expiring: list[tuple[Table, Secret[str]]] = field(default_factory=list)

    @property
    def kube(self) -> KubeClient:
        return self.stage.kube

    @property
    def endpoint(self) -> str:
        return (self.folder / "endpoint.env").read_text().rpartition("=")[2].strip()

    def walk(self, *, rotate: bool) -> None:
        before = self.stage.sandbox.dump()
        tables = [Table("first", "What the server answered")]
        self._deploy("Server and client")
        self._question(tables[0])
        if rotate:
            self._rotate()
            tables.append(Table("new", "What it answered after the control plane's restart with a new signing key"))
            self._question(tables[1])
        self._wait_for_expiry()
        for table in tables:
            self._conclude(table)
        with self.story.step("Everything is taken away", f"kubectl delete -k {_EXAMPLE}") as step:
            step.say(*manifests.delete(self.kube, self.folder))
        self.stage.compare(self.story, before)

    def _rotate(self) -> None:
        with self.story.step("The control plane restarts and signs with a new key; the old one is still accepted") as step:
            self.stage.restart(IssuerChange(new_key="rsa2048"))
            answer = ask(f"{self.endpoint}/private", self.expiring[0][1])
            step.say(f"GET /private, token: signed before -> {answer}")
            expect(holds=answer == answers.GOOD.wanted, what="a token that was signed before is not accepted any more")
        self._deploy("The client's pod comes back; the server runs on")

    def _conclude(self, table: Table) -> None:
        self.story.results.setdefault("tables", []).append({"signing_key": table.signing_key, "answers": table.as_json()})
        self.story.conclude(f"{table.title}:", *table.lines())
        self.story.faults += table.faults()

    def _deploy(self, title: str) -> None:
        with self.story.step(title, f"kubectl apply -k {_EXAMPLE}") as step:
            step.say(*manifests.apply(self.kube, self.folder))
            cluster.until(self.kube, self._serves, "the server to listen")

    def _serves(self) -> bool:
        try:
            ask(self.endpoint)
        except httpx2.TransportError:
            return False
        return True

    def _question(self, table: Table) -> None:
        """Ask everything but what takes time."""
        with self.story.step("Without a token", f"curl {self.endpoint}/private") as step:
            self._ask(step, table, answers.NONE_EXPOSED, None)
            self._ask(step, table, answers.NONE, None)
        with self.story.step("The client, with its own token", f"kubectl logs {CLIENT} --namespace {NAMESPACE}") as step:
            self._listen(step, table)
        with self.story.step("Other tokens that the cluster signs", f"kubectl create token … --namespace {NAMESPACE} --audience …") as step:
            self._ask(step, table, answers.OTHER_AUDIENCE, self._token(ACCOUNT, "https://another.example"))
            self._ask(step, table, answers.OTHER_ACCOUNT, self._token(_OTHER_ACCOUNT))
            self.expiring.append((table, self._token(ACCOUNT)))
        with self.story.step("Another cluster has the same issuer URL and the same account, but not the key") as step:
            token = request_token(self.other, ACCOUNT, audiences=[AUDIENCE], expiration=_LIFE).value
            self._ask(step, table, answers.OTHER_CLUSTER, token)
        with self.story.step("The client's pod is deleted", f"kubectl delete pod {CLIENT} --namespace {NAMESPACE}") as step:
            token = cluster.token_of_pod(self.kube, NAMESPACE, CLIENT, AUDIENCE)
            cluster.delete_pod(self.kube, NAMESPACE, CLIENT)
            self._ask(step, table, answers.DELETED_POD, token)

    def _ask(self, step: Step, table: Table, question: answers.Question, token: Secret[str] | None) -> None:
        step.say(table.note(question, ask(self.endpoint + question.path, token)))

    def _token(self, account: ServiceAccountRef, audience: str = AUDIENCE) -> Secret[str]:
        return request_token(self.kube, account, audiences=[audience], expiration=_LIFE).value

    def _listen(self, step: Step, table: Table) -> None:
        """Read what the client's pod writes until it is content, or for as long as a new key may take."""
        deadline = monotonic() + _LEARNING_S
        while True:
            said = cluster.log_of(self.kube, NAMESPACE, CLIENT)
            heard = [found for line in said if (found := _SAID.fullmatch(line))]
            if (heard and int(heard[-1][1]) == answers.GOOD.wanted.status) or monotonic() > deadline:
                break
            sleep(0.1)
        step.say(*said[-2:])
        if len(heard) > 1:
            before = ", ".join(sorted({each[1] for each in heard[:-1]}))
            step.say(f"Before that {before}, {len(heard) - 1} times: a guard asks for keys that it does not know once in 10 s.")
        if heard:
            table.note(answers.GOOD, Answer(int(heard[-1][1]), _code(heard[-1][2])))

    def _wait_for_expiry(self) -> None:
        """Do as if a quarter of an hour went by: the same server is started again, with its clock ahead."""
        minutes = _AHEAD.seconds // 60
        with self.story.step(
            f"The server is started again with its clock {minutes} minutes ahead; tokens last {_LIFE.seconds // 60}"
        ) as step:
            cluster.delete_pod(self.kube, NAMESPACE, SERVER)
            (pod,) = (each for each in manifests.read(self.folder) if (each["kind"], each["metadata"]["name"]) == ("Pod", SERVER))
            pod["spec"]["containers"][0]["env"].append({"name": "CLOCK_AHEAD_S", "value": str(_AHEAD.seconds)})
            manifests.make(self.kube, pod)
            cluster.until(self.kube, self._serves, "the server to listen again")
            for table, token in self.expiring:
                self._ask(step, table, answers.EXPIRED, token)


def _code(text: str) -> str:
    """Return the code in a refusal's body; nothing in another one."""
    try:
        return str(json.loads(text)["code"])
    except (ValueError, KeyError, TypeError):
        return ""
