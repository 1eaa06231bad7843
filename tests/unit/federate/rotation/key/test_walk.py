# SPDX-License-Identifier: Apache-2.0
"""A walk over servers that disagree, relapse and lie about the time, in memory."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from podpass.clock import SteppedClock
from podpass.errors import PlanError, UnexpectedAnswerError, UnreachableError
from podpass.exchange.exchanger import Exchanger
from podpass.federate.rotation.instruction import Instruction
from podpass.federate.rotation.key import gates
from podpass.federate.rotation.key.ledger import KeyLedger
from podpass.federate.rotation.key.rotation import Phase, Rotation
from podpass.federate.rotation.key.walk import KeyWalk
from podpass.federate.rotation.servers import ControlPlane, Server
from podpass.names import Secret

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)
DAY = timedelta(hours=24)
SWITCHING = Rotation.begin({"old"}, "old", DAY).announced("new").stepped()
BOTH = frozenset({"old", "new"})


@dataclass
class World:
    """Two servers, Google, and whoever changes them."""

    phase: Phase
    signers: dict[str, str] = field(default_factory=lambda: {"s0": "new", "s1": "new"})
    kids: dict[str, frozenset[str]] = field(default_factory=lambda: {"s0": BOTH, "s1": BOTH})
    google: frozenset[str] = BOTH
    published_by: str = "s0"
    clock: SteppedClock = field(default_factory=lambda: SteppedClock(NOW))
    relapses_at: datetime | None = None
    told: list[str] = field(default_factory=list)
    kept: list[Rotation] = field(default_factory=list)
    listed: frozenset[str] = frozenset()
    servers: frozenset[str] = frozenset()

    def control_plane(self, *, thoroughly: bool = True) -> ControlPlane:
        del thoroughly
        now = self.clock.now()
        if self.relapses_at and now >= self.relapses_at:
            self.relapses_at, self.signers["s1"] = None, "old"
        token = Secret("x", "token")
        servers = tuple(Server(name, self.kids[name], self.signers[name], token, now) for name in self.kids)
        return ControlPlane(servers, is_complete=True, listed=self.listed)

    def publish(self, needed: Collection[str] = ()) -> list[str]:
        if unmet := gates.publishable(needed, self.kids[self.published_by]):
            return unmet
        self.google = self.kids[self.published_by]
        return []

    def known_kids(self) -> frozenset[str]:
        return self.google

    def exchanger(self) -> Exchanger:
        class Willing:
            def federated_token(self, _token: Secret[str]) -> None: ...

        return cast("Exchanger", Willing())

    def step(self, rotation: Rotation) -> None:
        self.phase = rotation.phase

    def do(self, work: Instruction) -> None:
        del work
        if self.phase is Phase.SWITCH:
            self.signers = dict.fromkeys(self.signers, "new")
        if self.phase is Phase.RETIRE and len(set(self.signers.values())) == 1:
            self.kids = dict.fromkeys(self.kids, frozenset(self.signers.values()))

    def waiting(self, unmet: list[str]) -> None:
        self.told += unmet

    def passed(self, rotation: Rotation, detail: str) -> None:
        self.told.append(f"{rotation.phase}: {detail}")

    def write(self, rotation: Rotation) -> None:
        self.kept.append(rotation)

    def met(self, servers: Collection[str]) -> None:
        self.servers |= set(servers)

    def remove(self) -> None:
        """Nothing is kept."""

    def walk(self, rotation: Rotation, patience: timedelta = 3 * DAY, **more: Any) -> Rotation:  # noqa: ANN401 - the walk's own
        def sleep(seconds: float) -> None:
            self.clock.step(timedelta(seconds=seconds))

        return KeyWalk(self, cast("KeyLedger", self), self, patience=patience, **{"clock": self.clock, "sleep": sleep, **more}).go(rotation)


@pytest.mark.parametrize("published_by", ["s0", "s1"])
def test_a_server_that_has_lost_the_old_key_since_does_not_have_google_lose_it(published_by: str) -> None:
    world = World(Phase.PUBLISH, published_by=published_by, google=frozenset({"old"}))
    world.kids["s1"] = frozenset({"new"})
    with pytest.raises(PlanError, match="S1 does not serve old"):
        world.walk(replace(SWITCHING, phase=Phase.PUBLISH), timedelta(minutes=1))
    assert world.google == {"old"}


def test_what_one_server_serves_does_not_become_all_that_google_has(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(Phase.PUBLISH, published_by="s1", google=frozenset({"old"}))
    world.kids["s1"] = frozenset({"new"})
    everybody = world.control_plane()
    monkeypatch.setattr(
        world, "control_plane", lambda **_: replace(everybody, servers=everybody.servers[:1])
    )  # the balancer hides the other
    with pytest.raises(PlanError, match="Google would forget it"):
        world.walk(replace(SWITCHING, phase=Phase.PUBLISH), timedelta(minutes=1))
    assert world.google == {"old"}


def test_google_does_not_forget_a_key_that_some_server_has_gone_back_to() -> None:
    world = World(Phase.FORGET, signers={"s0": "new", "s1": "old"})
    world.kids["s0"] = frozenset({"new"})
    with pytest.raises(PlanError, match="S1 still serves old"):
        world.walk(replace(SWITCHING, phase=Phase.FORGET, switched_at=NOW), timedelta(minutes=1))
    assert world.google == BOTH


def test_a_server_that_signs_with_the_old_key_during_the_wait_begins_it_again() -> None:
    world = World(Phase.SWITCH, relapses_at=NOW + timedelta(hours=12))
    assert world.walk(SWITCHING).phase is Phase.DONE
    assert [one.phase for one in world.kept[1:]] == ["wait", "switch", "wait", "retire", "forget", "done"]
    assert "wait: Signed with another key meanwhile: s1. The wait begins again." in world.told
    assert world.clock.now() == NOW + 2 * DAY
    assert world.google == {"new"}


@pytest.mark.parametrize("wrong", [-2 * DAY, 2 * DAY])
def test_the_wait_is_as_long_by_the_servers_clocks_whatever_this_machine_s_says(wrong: timedelta) -> None:
    world = World(Phase.WAIT)
    world.walk(SWITCHING.switched(NOW), clock=SteppedClock(NOW + wrong))
    assert world.clock.now() == NOW + DAY


def test_a_wait_that_is_too_long_for_this_run_is_left_to_the_next() -> None:
    world = World(Phase.WAIT)
    with pytest.raises(PlanError, match="2026-11-23 08:00:00 UTC"):
        world.walk(SWITCHING.switched(NOW), timedelta(minutes=10))
    assert world.clock.now() == NOW


def test_a_server_that_has_left_the_cluster_s_list_keeps_every_gate_closed_until_it_is_back_or_given_up() -> None:
    world = World(Phase.WAIT, listed=frozenset({"s0", "s1"}))
    waited = SWITCHING.switched(NOW)
    world.clock.step(DAY)
    world.walk(waited)
    assert world.servers == {"s0", "s1"}
    for phase in (Phase.PUBLISH, Phase.SWITCH, Phase.WAIT, Phase.RETIRE, Phase.FORGET):
        down = World(phase, listed=frozenset({"s0"}), servers=frozenset({"s0", "s1"}))
        down.kids.pop("s1")
        with pytest.raises(PlanError, match="S1 is not among the cluster's API servers now, and was before") as caught:
            down.walk(replace(waited, phase=phase), timedelta(minutes=1))
        assert "--removed-server s1" in caught.value.why
        assert down.google == BOTH


@pytest.mark.parametrize("phase", [Phase.RETIRE, Phase.FORGET])
def test_a_state_that_claims_to_be_past_the_wait_does_not_cut_it_short(phase: Phase) -> None:
    world = World(phase)
    world.kids = dict.fromkeys(world.kids, BOTH if phase is Phase.RETIRE else frozenset({"new"}))
    world.walk(replace(SWITCHING.switched(NOW), phase=phase))
    assert [one.phase for one in world.kept[1:]] == ["wait", "retire", "forget", "done"]
    assert world.clock.now() == NOW + DAY


def test_a_state_that_claims_a_switch_that_no_server_has_made_has_it_made() -> None:
    world = World(Phase.RETIRE, signers={"s0": "new", "s1": "old"})
    world.clock.step(2 * DAY)
    world.walk(replace(SWITCHING.switched(NOW), phase=Phase.RETIRE))
    assert [one.phase for one in world.kept[1:]] == ["switch", "wait", "retire", "forget", "done"]
    assert world.clock.now() == NOW + 3 * DAY


def test_a_switch_that_is_yet_to_come_was_seen_by_nobody_and_is_measured_again() -> None:
    world = World(Phase.WAIT)
    world.walk(SWITCHING.switched(NOW + 400 * DAY))
    assert [one.phase for one in world.kept[1:]] == ["switch", "wait", "retire", "forget", "done"]
    assert world.clock.now() == NOW + DAY


def test_the_way_back_takes_a_key_away_that_was_brought_in_and_never_seen() -> None:
    world = World(Phase.RETIRE, signers={"s0": "old", "s1": "old"})
    assert world.walk(Rotation.begin({"old"}, "old", DAY).turned_back()).phase is Phase.DONE
    assert set(world.kids.values()) == {frozenset({"old"})}
    assert world.google == {"old"}


def test_a_control_plane_that_restarts_when_the_state_is_written_is_waited_for() -> None:
    world = World(Phase.WAIT)
    written, lost = world.write, [UnreachableError("It is away."), UnreachableError("It is away.")]

    def write(rotation: Rotation) -> None:
        if rotation.phase is Phase.RETIRE and lost:
            raise lost.pop()
        written(rotation)

    world.write = write  # type: ignore[method-assign]
    assert world.walk(SWITCHING.switched(NOW)).phase is Phase.DONE
    assert lost == []
    assert world.told.count("It is away.") == 1
    lost.append(UnreachableError("gone"))
    with pytest.raises(UnreachableError):
        world.walk(replace(SWITCHING.switched(NOW - DAY), phase=Phase.RETIRE), timedelta(0))


def test_a_list_of_servers_that_nobody_can_have_keeps_the_gate_closed_and_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(Phase.RETIRE)

    def control_plane(**_: Any) -> ControlPlane:  # noqa: ANN401 - as it is called
        raise UnexpectedAnswerError("The cluster lists more than 100 API servers.", "Nobody has so many.", "Delete the list.")

    monkeypatch.setattr(world, "control_plane", control_plane)
    with pytest.raises(PlanError, match=r"more than 100 API servers\. Delete the list\.") as caught:
        world.walk(replace(SWITCHING.switched(NOW), phase=Phase.RETIRE), timedelta(minutes=1))
    assert caught.value.full_code == "plan.rotation-waits"
    assert world.google == BOTH
