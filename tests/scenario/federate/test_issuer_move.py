# SPDX-License-Identifier: Apache-2.0
"""A cluster moves to another issuer while workloads exchange tokens and call a guarded service: nobody is refused."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from background_load import Load
from moving_load import Reader, Workload, caller, loaded
from podpass.cli import rotate_issuer
from podpass.cli.rotate_screen import Screen
from podpass.config.reading import load
from podpass.errors import ExchangeRefusedError, PlanError, PodpassError
from podpass.exchange.credential_config import read_credential_config
from podpass.federate.planning.prepared import prepare
from podpass.federate.records import under_way
from podpass.federate.records.issuer_move import IssuerMove, MovePhase
from podpass.federate.records.receipt import NAMESPACE
from podpass.federate.rotation import servers
from podpass.federate.rotation import walk as any_walk
from podpass.federate.rotation.instruction import Instruction
from podpass.federate.rotation.issuer import walk as move_walk
from podpass.federate.rotation.issuer.beginning import begin, check_servers
from podpass.federate.rotation.issuer.ledger import MoveLedger
from podpass.federate.rotation.issuer.sides import MoveSides
from podpass.federate.rotation.issuer.walk import MoveWalk
from podpass.google.connections import new_http
from podpass.kube.config_maps import get_config_map
from podpass.kube.tokens import request_token
from podpass.names import ServiceAccountRef
from podpass.sandbox.cluster import IssuerChange
from scenario.federate.conftest import Story

SHORT_LIFE = timedelta(seconds=1)


@pytest.fixture(autouse=True)
def _one_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no load balancer to see through."""
    monkeypatch.setattr(servers, "_TIMES", 2)


def new_issuer(story: Story) -> str:
    return f"https://storage.googleapis.com/{story.name}-oidc"


def edit(story: Story, provider: str = "cluster-2", **more: object) -> None:
    """Write the issuer and the provider to come into the file."""
    spec = story.content["spec"]
    spec["issuer"] = {"url": new_issuer(story), "keys": "bucket", "bucket": {"name": f"{story.name}-oidc"}}
    spec["google"]["provider"] = {"id": provider, **more}
    story.file.write_text(yaml.safe_dump(story.content))


def edit_back(story: Story) -> None:
    """Write the file as it was."""
    spec = story.content["spec"]
    spec.pop("issuer", None)
    spec["google"]["provider"] = {"id": "cluster"}
    story.file.write_text(yaml.safe_dump(story.content))


@dataclass
class Administrator:
    """Does to the control plane what is asked for, and keeps what was said."""

    story: Story
    reader: Reader | None = None
    move: IssuerMove | None = None
    said: list[str] = field(default_factory=list)
    stops_at: MovePhase | None = None
    load: Load | None = None

    def step(self, move: IssuerMove) -> None:
        self.move = move

    def do(self, work: Instruction) -> None:
        assert self.move is not None
        self.said.append(work.purpose)
        if self.load:
            self.load.go_on(6)
        if self.reader:
            self.reader.heed(work)
        if self.move.phase is self.stops_at or not any(line.startswith("kube-apiserver") for line in work.lines):
            return
        restart(self.story, change_for(self.move))

    def waiting(self, unmet: list[str]) -> None:
        self.said += unmet

    def passed(self, move: IssuerMove, detail: str) -> None:
        self.said.append(f"{move.phase}: {detail}")


def change_for(move: IssuerMove) -> IssuerChange:
    """Return what a step asks of the control plane."""
    return {
        MovePhase.ACCEPT: IssuerChange(accepted_issuers=(move.former.issuer, move.coming.issuer)),
        MovePhase.SWITCH: IssuerChange(issuer=move.stays.issuer),
        MovePhase.DROP: IssuerChange(issuer=move.stays.issuer, accepted_issuers=()),
    }[move.phase]


def acting(story: Story, do: Callable[[Screen[IssuerMove], Instruction], None]) -> Callable[[Screen[IssuerMove], Instruction], None]:
    """Have what a screen shows done, too."""

    def both(screen: Screen[IssuerMove], work: Instruction) -> None:
        do(screen, work)
        if any(line.startswith("kube-apiserver") for line in work.lines):
            begun = under_way.read(story.kube, story.name)
            assert begun is not None
            assert begun.move is not None
            restart(story, change_for(begun.move))

    return both


def restart(story: Story, change: IssuerChange) -> None:
    assert story.sandbox.cluster
    story.sandbox.run(story.sandbox.cluster.restart(change))


@contextmanager
def begun(story: Story, longest: timedelta = SHORT_LIFE) -> Iterator[tuple[MoveSides, IssuerMove]]:
    """The sides of a move, and where it stands."""
    file = load(story.file)
    prepared = prepare(file, story.google, story.kube)
    kept = MoveLedger(story.kube, story.name).read()
    move = kept or begin(prepared, longest, is_abrupt=False)
    with new_http() as http:
        yield MoveSides.of(file, prepared, move, http), move


def walk(sides: MoveSides, who: Administrator, ledger: MoveLedger | None = None) -> MoveWalk:
    if ledger is None:
        ledger = MoveLedger(sides.cluster, sides.federation.name)
        ledger.read()
    return MoveWalk(
        sides,
        ledger,
        who,
        patience=timedelta(seconds=30),
        sleep=lambda seconds: time.sleep(min(seconds, 0.1)),
        workloads=sides.workloads,
        brought=timedelta(seconds=1),
    )


@pytest.fixture
def back_to_the_first_issuer(story: Story) -> Iterator[None]:
    """The module's cluster is everybody's: give it back as it was."""
    assert story.sandbox.cluster
    (before, *_) = story.sandbox.cluster.issuers
    yield
    restart(story, IssuerChange(issuer=before, accepted_issuers=()))


pytestmark = pytest.mark.usefixtures("back_to_the_first_issuer")


class StoppedError(Exception):
    """The machine has lost its power."""


class ForgetfulLedger(MoveLedger):
    """Dies once in each phase, when everything is done and nothing is written down yet."""

    def __init__(self, story: Story, died: set[MovePhase]) -> None:
        super().__init__(story.kube, story.name)
        self.died = died

    def write(self, state: IssuerMove) -> None:
        if self._kept.known is not None and state.phase not in self.died:
            self.died.add(state.phase)
            raise StoppedError
        super().write(state)


def test_the_issuer_moves_under_load_and_no_token_is_refused_though_each_step_is_stopped_once(story: Story, tmp_path: Path) -> None:
    story.content["spec"]["workloads"][0]["credentials"]["tokenPath"] = str(tmp_path / "token")
    story.file.write_text(yaml.safe_dump(story.content))
    story.done("apply", "--yes")
    edit(story, formerIds=["cluster"])  # the pods' manifests name its audience to the end
    died: set[MovePhase] = set()
    with begun(story) as (sides, move), new_http() as http:
        account = ServiceAccountRef("default", story.name)
        workload = Workload([story.kube], account, sides.audience, f"{story.name}-sts", tmp_path, http, SHORT_LIFE)
        call = caller([story.kube], account, [move.former.issuer, move.coming.issuer], tmp_path)
        check_servers(move, sides.control_plane())
        reader = Reader(workload, tmp_path / "token")
        reader.restart()
        with loaded(workload, [(call, 0.1), (reader.once, 0.1)], pods=3, pause_s=0.05) as load:
            done = move
            while done.phase is not MovePhase.DONE:
                ledger = ForgetfulLedger(story, died)
                done = ledger.read() or move
                try:
                    done = walk(sides, Administrator(story, reader, load=load), ledger).go(done)
                except StoppedError:
                    continue
        assert load.refused == []
        assert next(load.done) > 40
        assert reader.restarts == 1 + 1 + 2  # not before the switch when it has begun; each step was done twice
        assert {server.accepted for server in sides.control_plane().servers} == {frozenset({new_issuer(story)})}
    assert died == set(MovePhase)
    assert get_config_map(story.kube, NAMESPACE, f"rotation-{story.name}") is None
    left = get_config_map(story.kube, "default", f"{story.name}-sts")
    assert left is not None
    assert set(left.data) == {"config"}
    assert read_credential_config(left.data["config"]).provider.provider == "cluster-2"
    assert story.run("doctor").code == 0
    assert "Nothing to change" in story.done("plan")


@pytest.mark.slow
def test_a_move_goes_back_under_load_after_tokens_of_both_issuers_were_in_use(story: Story, tmp_path: Path) -> None:
    story.done("apply", "--yes")
    edit(story)
    with begun(story) as (sides, move), new_http() as http:
        account = ServiceAccountRef("default", story.name)
        workload = Workload([story.kube], account, sides.audience, f"{story.name}-sts", tmp_path, http, SHORT_LIFE)
        call = caller([story.kube], account, [move.former.issuer, move.coming.issuer], tmp_path)
        old = request_token(story.kube, account, audiences=[sides.audience]).value
        with loaded(workload, [(call, 0.1)], pods=3, pause_s=0.05) as load:
            with pytest.raises(PlanError, match="ends at"):
                walk(sides, Administrator(story)).go(replace(move, longest_token=timedelta(hours=1)))
            # What a program that has read its configuration once asks, before and after kubelet has renewed its token.
            once = sides.exchanger(move.former)
            once.federated_token(old)
            with pytest.raises(ExchangeRefusedError):
                once.federated_token(request_token(story.kube, account, audiences=[sides.audience]).value)
            assert story.run("doctor").code == 0
            waiting = MoveLedger(story.kube, story.name).read()
            assert waiting is not None
            back = walk(sides, Administrator(story)).go(replace(waiting.turned_back(), longest_token=SHORT_LIFE))
        assert load.refused == []
        assert {server.issuer for server in sides.control_plane().servers} == {move.former.issuer}
    assert back.phase is MovePhase.DONE
    edit_back(story)
    assert "provider/cluster-2" not in story.done("plan")
    assert story.run("doctor").code == 0


def test_the_command_tells_what_to_do_and_everybody_else_what_is_under_way(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    story.done("apply", "--yes")
    assert story.sandbox.cluster
    (begun_with,) = story.sandbox.cluster.issuers
    edit(story)
    plan = story.done("plan")
    assert "`podpass rotate --issuer` makes this change without a refused token" in " ".join(plan.split())
    assert "- provider/cluster " in plan
    refused = story.run("apply", "--yes").error
    assert refused is not None
    assert "--allow-delete provider/cluster" in str(refused)
    monkeypatch.setattr(move_walk, "BROUGHT", timedelta(seconds=1))
    # Long enough for everybody to be let into the new bucket; the control plane does not change, however long it is.
    first = story.run("rotate", "--issuer", "--yes", "--wait", "1s")
    assert first.error is not None
    assert first.error.full_code == "plan.rotation-waits"
    assert f"--service-account-issuer={new_issuer(story)}" in first.out
    assert "does not take tokens of" in first.out
    # Nobody takes a provider away meanwhile, or begins another rotation.
    plan = " ".join(story.done("plan").split())
    assert "its next step is `accept`" in plan
    assert "Nothing to change" in plan
    story.done("apply", "--yes")
    assert "A move of the issuer is under way" in " ".join(story.done("doctor").split())
    story.run_bare("keys", "sync", "--yes", "-f", str(story.file))
    refusals: tuple[tuple[tuple[str, ...], str], ...] = (
        (("destroy", "--yes"), "plan.rotation-under-way"),
        (("rotate", "--key", "--yes"), "plan.rotation-other"),
        (("rotate", "--issuer", "--yes"), "config.rotation-under-way"),
        (("roll", "switch", "--yes"), "plan.rotation-stage"),
    )
    for words, code in refusals:
        answer = story.run(*words)
        assert answer.error is not None
        assert answer.error.full_code == code
    edit(story, provider="cluster-3")
    for again in (("plan",), ("rotate", "--issuer", "--resume", "--yes")):
        answer = story.run(*again)
        assert answer.error is not None
        assert answer.error.full_code == "plan.rotation-file"
        assert f"or provider cluster and issuer {begun_with} to go back with --abort" in answer.error.next_step
    edit(story)
    end = " ".join(story.done("rotate", "--issuer", "--abort", "--yes").split())
    assert f"The move was taken back: the cluster signs with {begun_with}, as before, and takes no token of {new_issuer(story)};" in end
    assert "Google has the provider cluster for its tokens, and none for the others." in end
    assert "The file still names cluster-2: write cluster and" in end
    assert "is done" not in end
    assert story.run("rotate", "--issuer", "--resume", "--yes").error is not None
    # The bucket of the coming issuer is named, and podpass's own; the provider's id is taken for 30 days.
    answer = story.run("rotate", "--issuer", "--yes")
    assert answer.error is not None
    assert answer.error.full_code == "config.provider-id"
    assert "another id, such as cluster-3" in answer.error.next_step


@pytest.mark.parametrize("edited_back", [True, False])
def test_a_move_that_has_published_nothing_is_taken_back_whatever_the_file_names(story: Story, edited_back: bool) -> None:  # noqa: FBT001 - a case
    story.done("apply", "--yes")
    edit(story)
    with begun(story) as (_, move):
        ledger = MoveLedger(story.kube, story.name)
        ledger.write(move)
    if edited_back:
        edit_back(story)
        refused = story.run("rotate", "--issuer", "--resume", "--yes").error
        assert refused is not None
        assert refused.full_code == "plan.rotation-unwitnessed"
        assert "take it back with `podpass rotate --issuer --abort`" in refused.next_step
    else:  # a way back that was stopped when it had begun
        ledger.write(move.turned_back())
        assert "Nothing to change" in story.done("plan")
    ends: list[str] = []
    assert story.written(lambda: ends.append(story.done("rotate", "--issuer", "--abort", "--yes"))) == []
    end = " ".join(ends[0].split())
    assert "There is no provider cluster-2." in end
    assert "The move was taken back" in end
    assert "The bucket" not in end
    assert ("The file still names cluster-2" in end) is not edited_back
    edit_back(story)
    assert "Nothing to change" in story.done("plan")


@pytest.mark.slow
def test_a_whole_move_by_the_command(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    story.done("apply", "--yes")
    edit(story)
    monkeypatch.setattr(move_walk, "BROUGHT", timedelta(seconds=1))
    monkeypatch.setattr(any_walk, "POLL_S", 0.1)
    monkeypatch.setattr(Screen, "do", acting(story, Screen.do))
    out = story.done("rotate", "--issuer", "--yes", "--longest-token", "1s", "--wait", "60s")
    if shown := os.environ.get("PODPASS_SHOW"):
        Path(shown).write_text(out)
    titles = [line for line in out.splitlines() if line and not line.startswith(" ")]
    assert titles[2:-1] == list(rotate_issuer._TITLES.values())
    assert "kubelet renews its tokens every 48 minutes" in out
    assert story.run("doctor").code == 0


def test_files_that_ask_for_no_move_or_for_an_impossible_one_are_refused_with_what_to_write(story: Story) -> None:
    def refusal(*more: str) -> PodpassError:
        error = story.run("rotate", "--issuer", "--yes", *more).error
        assert error is not None
        return error

    assert refusal().full_code == "config.issuer-kept"
    edit(story)
    assert refusal().full_code == "plan.no-provider"
    edit_back(story)
    story.done("apply", "--yes")
    edit(story, provider="cluster")
    assert refusal().full_code == "config.provider-id"
    assert "another id, such as cluster-2" in refusal().next_step
    edit(story)
    story.content["spec"]["cluster"] = {"distribution": "k0s"}
    story.file.write_text(yaml.safe_dump(story.content))
    assert refusal().full_code == "plan.rotation-one-issuer"
    story.content["spec"]["cluster"] = {"distribution": "eks"}
    story.file.write_text(yaml.safe_dump(story.content))
    assert refusal().full_code == "config.distribution"
    del story.content["spec"]["cluster"]
    story.content["spec"]["google"]["attributeMapping"] = {"google.subject": "assertion.sub", "attribute.a": "assertion.sub"}
    story.file.write_text(yaml.safe_dump(story.content))
    assert "attributeMapping" in refusal().what
