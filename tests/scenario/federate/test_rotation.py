# SPDX-License-Identifier: Apache-2.0
"""A signing key is rotated while workloads exchange tokens: no token is refused, by the cluster or by Google."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
import yaml

from podpass.config.reading import load
from podpass.errors import CredentialError, NeighbourError, PlanError
from podpass.exchange.exchanger import Exchanger
from podpass.federate.planning.prepared import prepare
from podpass.federate.records.receipt import NAMESPACE
from podpass.federate.rotation import servers
from podpass.federate.rotation.instruction import Instruction
from podpass.federate.rotation.key.ledger import KeyLedger
from podpass.federate.rotation.key.rotation import Phase, Rotation
from podpass.federate.rotation.key.sides import KeySides
from podpass.federate.rotation.key.walk import KeyWalk
from podpass.google.connections import new_http
from podpass.kube.config_maps import get_config_map
from podpass.kube.fault import KubeRefusedError
from podpass.kube.tokens import request_token
from podpass.names import Secret, ServiceAccountRef
from podpass.sandbox.cluster import IssuerChange
from scenario.federate.conftest import Story

SHORT_LIFE = timedelta(seconds=1)


@pytest.fixture(autouse=True)
def _one_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no load balancer to see through."""
    monkeypatch.setattr(servers, "_TIMES", 2)


@dataclass
class Administrator:
    """Does to the control plane what is asked for, and keeps what was said."""

    story: Story
    phase: Phase = Phase.ANNOUNCE
    is_back: bool = False
    said: list[str] = field(default_factory=list)
    stops_at: Phase | None = None
    exchanged: list[int] | None = None

    def step(self, rotation: Rotation) -> None:
        self.phase, self.is_back = rotation.phase, rotation.is_back

    def do(self, work: Instruction) -> None:
        self.said.append(work.purpose)
        if self.phase is self.stops_at:
            return
        if self.exchanged is not None:  # workloads go on between the steps, however busy the machine is
            wanted, deadline = len(self.exchanged) + 4, time.monotonic() + 60
            while len(self.exchanged) < wanted:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        change = {
            Phase.ANNOUNCE: IssuerChange(announce_key="p256"),
            Phase.SWITCH: IssuerChange(sign_with_announced=True),
            Phase.RETIRE: IssuerChange(keep_old_keys=False),
        }[self.phase]
        cluster = self.story.sandbox.cluster
        assert cluster is not None
        self.story.sandbox.run(cluster.restart(change))

    def waiting(self, unmet: list[str]) -> None:
        self.said += unmet

    def passed(self, rotation: Rotation, detail: str) -> None:
        self.said.append(f"{rotation.phase}: {detail}")


@contextmanager
def live(story: Story) -> Iterator[KeySides]:
    federation = load(story.file)
    facts = prepare(federation, story.google, story.kube).facts
    assert facts is not None
    with new_http() as http:
        yield KeySides(federation, story.google, story.kube, http, facts)


def begun(sides: KeySides) -> Rotation:
    (server, *_) = sides.control_plane().servers
    return Rotation.begin(server.kids, server.signer, SHORT_LIFE)


@contextmanager
def load_on(sides: KeySides, exchanged: list[int]) -> Iterator[list[str]]:
    """Exchange a fresh token and one of before again and again, and count it; yields what was refused."""
    refused: list[str] = []
    ended = threading.Event()
    account = ServiceAccountRef("default", sides.federation.name)
    exchanger: Exchanger = sides.exchanger()
    audience = sides._audience

    def exchange(token: Secret[str], asked_s: float) -> None:
        try:
            exchanger.federated_token(token)
            exchanged.append(1)
        except CredentialError as error:
            # On a busy machine its life may end on the way, after which it may be refused.
            if time.monotonic() - asked_s < SHORT_LIFE.total_seconds():
                refused.append(str(error))

    def work() -> None:
        held: tuple[Secret[str], float] | None = None
        while not ended.wait(0.02):
            try:
                asked_s = time.monotonic()
                fresh = request_token(sides.cluster, account, audiences=[audience]).value, asked_s
                if held is None or asked_s - held[1] > SHORT_LIFE.total_seconds() / 2:
                    held = fresh
                exchange(*fresh)
                exchange(*held)
            except KubeRefusedError as error:
                refused.append(str(error))
            except NeighbourError:
                continue  # the one API server of this cluster restarts

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield refused
    finally:
        ended.set()
        thread.join()
    assert len(exchanged) > 10


def walk(sides: KeySides, who: Administrator, *, patience_s: float = 30) -> KeyWalk:
    ledger = KeyLedger(sides.cluster, sides.federation.name)
    ledger.read()
    return KeyWalk(sides, ledger, who, patience=timedelta(seconds=patience_s), sleep=lambda seconds: time.sleep(min(seconds, 0.1)))


def test_a_key_is_rotated_under_load_and_no_token_is_refused(story: Story) -> None:
    story.done("apply", "--yes")
    who = Administrator(story, exchanged=[])
    assert who.exchanged is not None
    with live(story) as sides, load_on(sides, who.exchanged) as refused:
        rotation = begun(sides)
        done = walk(sides, who).go(rotation)
        assert {server.signer for server in sides.control_plane().servers} == {done.new} == set(sides.known_kids())
    assert refused == []
    assert done.new not in rotation.old
    assert get_config_map(story.kube, NAMESPACE, f"rotation-{story.name}") is None
    assert story.run("doctor").code == 0
    assert "Nothing to change" in story.done("plan")


def test_while_a_server_accepts_the_old_key_the_rotation_is_not_done_and_a_later_run_ends_it(story: Story) -> None:
    story.done("apply", "--yes")
    who = Administrator(story, stops_at=Phase.RETIRE)
    with live(story) as sides:
        rotation = begun(sides)
        with pytest.raises(PlanError, match="still serves"):
            walk(sides, who, patience_s=1.5).go(rotation)
        switched = KeyLedger(sides.cluster, story.name).read()
        assert switched is not None
        assert switched.phase is Phase.RETIRE
        with pytest.raises(PlanError, match="cannot go back any more"):
            switched.turned_back()
        done = walk(sides, Administrator(story)).go(switched)
        assert set(sides.known_kids()) == {done.new}


def test_a_gate_that_does_not_open_stops_the_run_and_the_next_one_goes_on(story: Story) -> None:
    story.done("apply", "--yes")
    with live(story) as sides:
        rotation = begun(sides)
        assert "Google would forget it" in sides.publish({"a-key-of-another-server"})[0]
        with pytest.raises(PlanError) as caught:
            walk(sides, Administrator(story, stops_at=Phase.ANNOUNCE), patience_s=0.3).go(rotation)
        assert caught.value.full_code == "plan.rotation-waits"
        assert "serves no new key yet" in caught.value.why
        kept = KeyLedger(sides.cluster, story.name).read()
        assert kept == rotation
        back = walk(sides, Administrator(story)).go(kept.turned_back())
        assert back.phase is Phase.DONE
        assert frozenset(sides.known_kids()) == rotation.old


def test_keys_sync_brings_google_the_keys_and_nothing_else(story: Story) -> None:
    story.done("apply", "--yes")
    assert "Nothing to change" in story.run_bare("keys", "sync", "--yes", "-f", str(story.file)).out
    assert story.sandbox.cluster
    story.sandbox.run(story.sandbox.cluster.restart(IssuerChange(new_key="p256", keep_old_keys=False)))
    story.content["spec"]["google"]["provider"]["displayName"] = "Later"
    story.content["spec"]["workloads"][0]["roles"] = []
    story.file.write_text(yaml.safe_dump(story.content))
    assert story.run("doctor").code == 1
    assert "Google has the cluster's keys" in story.run_bare("keys", "sync", "--yes", "-f", str(story.file)).out
    plan = story.done("plan")
    assert "displayName" in plan
    assert "jwksJson" not in plan
    assert f"- grant/default/{story.name}:storage.admin" in plan  # what podpass made is not forgotten on the way


def test_the_command_says_what_is_to_be_done_and_resumes(story: Story) -> None:
    story.done("apply", "--yes")
    for arguments, reason in ((("--resume",), "no rotation to go on with"), (("--abort",), "no rotation to go on with")):
        assert reason in str(story.run("rotate", "--key", "--yes", *arguments).error)
    first = story.run("rotate", "--key", "--yes", "--wait", "0s")
    assert isinstance(first.error, PlanError)
    assert "--service-account-key-file=sa-new.pub" in first.out
    assert "A rotation is under way" in str(story.run("rotate", "--key", "--yes").error)
    never_met = story.run("rotate", "--key", "--yes", "--resume", "--removed-server", "https://10.0.0.9:6443")
    assert "This rotation has met no API server https://10.0.0.9:6443" in str(never_met.error)
    for said, hours in (("1h", 1), ("", 24)):  # the state's word for a shorter life does not count when nobody repeats it
        again = story.run("rotate", "--key", "--yes", "--resume", "--wait", "0s", *(("--longest-token", said) if said else ()))
        assert f"A token lives {hours} h at most" in " ".join(again.out.split())
        assert ("24 h counts, unless you say --longest-token again" in " ".join(again.out.split())) is (hours == 24)
        kept = KeyLedger(story.kube, story.name).read()
        assert kept is not None
        assert kept.longest_token == timedelta(hours=hours)
    end = " ".join(story.done("rotate", "--key", "--yes", "--abort").split())
    assert kept is not None
    (kid,) = kept.old
    assert (
        f"The rotation was taken back: {kid[:12]}… signs, as before, and the cluster and Google accept {kid[:12]}… and no other key." in end
    )
    assert "is done" not in end


def test_keys_that_google_lacks_stop_a_rotation_before_it_begins(story: Story) -> None:
    story.done("apply", "--yes")
    assert story.sandbox.cluster
    story.sandbox.run(story.sandbox.cluster.restart(IssuerChange(announce_key="p256")))
    assert "Run `podpass keys sync` first" in str(story.run("rotate", "--key", "--yes").error)
    story.sandbox.run(story.sandbox.cluster.restart(IssuerChange(sign_with_announced=True, keep_old_keys=False)))
