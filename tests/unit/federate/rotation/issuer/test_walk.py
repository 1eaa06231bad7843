# SPDX-License-Identifier: Apache-2.0
"""A move to another issuer over servers that disagree, relapse and lie about the time, in memory."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from podpass.clock import SteppedClock
from podpass.errors import ExchangeRefusedError, PlanError
from podpass.exchange.exchanger import Exchanger
from podpass.federate.records.issuer_move import IssuerMove, MovePhase, Standing
from podpass.federate.rotation.instruction import Instruction
from podpass.federate.rotation.issuer import gates as issuer_gates
from podpass.federate.rotation.issuer.ledger import MoveLedger
from podpass.federate.rotation.issuer.walk import BROUGHT, MoveWalk
from podpass.federate.rotation.servers import ControlPlane, Server
from podpass.names import Secret

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)
DAY = timedelta(hours=24)
OLD, NEW = "https://old.example", "https://new.example"
FORMER, COMING = Standing("cluster", OLD, "inline"), Standing("cluster-2", NEW, "inline")
BEGUN = IssuerMove.begin("pool", FORMER, COMING, DAY)
ALL = list(MovePhase)


class StoppedError(Exception):
    """Somebody has pressed Ctrl-C."""


@dataclass
class World:
    """Two servers, Google with its providers, the config maps, and whoever changes the servers."""

    move: IssuerMove = BEGUN
    signs: dict[str, str] = field(default_factory=lambda: {"s0": OLD, "s1": OLD})
    takes: dict[str, frozenset[str]] = field(default_factory=lambda: {"s0": frozenset({OLD}), "s1": frozenset({OLD})})
    providers: frozenset[str] = frozenset({OLD})
    listed: bool = False
    default: str = OLD
    pods: list[str] | None = field(default_factory=list)
    clock: SteppedClock = field(default_factory=lambda: SteppedClock(NOW))
    relapses_at: datetime | None = None
    idle: frozenset[MovePhase] = frozenset()
    stops_before: MovePhase | None = None
    told: list[str] = field(default_factory=list)
    kept: list[IssuerMove] = field(default_factory=list)
    switched_at: datetime | None = None
    servers: frozenset[str] = frozenset()

    def control_plane(self, *, thoroughly: bool = True) -> ControlPlane:
        del thoroughly
        now = self.clock.now()
        if self.relapses_at and now >= self.relapses_at:
            self.relapses_at, self.signs["s1"] = None, OLD
        found = (
            Server(name, frozenset({"kid"}), "kid", Secret(issuer, "token"), now, issuer, self.takes[name])
            for name, issuer in self.signs.items()
        )
        self._check_nobody_is_refused()
        return ControlPlane(tuple(found), is_complete=True)

    def _check_nobody_is_refused(self) -> None:
        """Whatever any server signs has a provider, and every server takes it."""
        for issuer in self.signs.values():
            assert issuer in self.providers
            assert all(issuer in taken for taken in self.takes.values())

    def act(self, move: IssuerMove) -> tuple[str, ...]:
        assert move == self.kept[-1], "what is done follows from what was written down"
        self.providers = frozenset(one.issuer for one in move.standings)
        self.listed, self.default = move.is_listed, move.default.issuer
        return ()

    def known_kids(self, move: IssuerMove, standing: Standing) -> frozenset[str]:
        del move
        return frozenset({"kid"} if standing.issuer in self.providers else ())

    def exchanger(self, standing: Standing) -> Exchanger:
        class OfOneIssuer:
            def federated_token(self, token: Secret[str]) -> None:
                if token.reveal() != standing.issuer:
                    raise ExchangeRefusedError(f"{standing.provider} refuses {token.reveal()}.")

        return cast("Exchanger", OfOneIssuer())

    def asking(self, standing: Standing) -> list[str] | None:
        del standing
        return self.pods

    def older(self, moment: datetime) -> list[str] | None:
        del moment
        return self.pods

    def step(self, move: IssuerMove) -> None:
        self.move = move
        if move.phase is self.stops_before:
            self.stops_before = None
            raise StoppedError

    def do(self, work: Instruction) -> None:
        phase = self.move.phase
        if phase in self.idle or not any(line.startswith("kube-apiserver") for line in work.lines):
            return
        stays, leaves = self.move.stays.issuer, self.move.leaves.issuer
        if phase is MovePhase.SWITCH:
            assert self.listed
            self.switched_at = self.clock.now()
        for name in self.signs:
            self.takes[name] = frozenset({stays} if phase is MovePhase.DROP else {stays, leaves})
            self.signs[name] = self.signs[name] if phase is MovePhase.ACCEPT else stays

    def waiting(self, unmet: list[str]) -> None:
        self.told += unmet

    def passed(self, move: IssuerMove, detail: str) -> None:
        self.told.append(f"{move.phase}: {detail}")

    def write(self, move: IssuerMove) -> None:
        self.kept.append(move)

    def met(self, servers: Collection[str]) -> None:
        self.servers |= set(servers)

    def remove(self) -> None:
        """Nothing is kept."""

    def walk(self, move: IssuerMove, patience: timedelta = 3 * DAY) -> IssuerMove:
        def sleep(seconds: float) -> None:
            self.clock.step(timedelta(seconds=seconds))

        return MoveWalk(self, cast("MoveLedger", self), self, patience=patience, clock=self.clock, sleep=sleep).go(move)

    def until(self, phase: MovePhase) -> IssuerMove:
        """Walk until a step is about to begin, and return the state of then."""
        self.stops_before = phase
        with pytest.raises(StoppedError):
            self.walk(self.kept[-1] if self.kept else BEGUN)
        return self.kept[-1]


def test_a_whole_move_ends_with_the_coming_issuer_alone() -> None:
    world = World()
    assert world.walk(BEGUN).phase is MovePhase.DONE
    assert [one.phase for one in world.kept] == ALL
    assert (world.providers, world.listed, world.default) == (frozenset({NEW}), False, NEW)
    assert set(world.signs.values()) == {NEW}
    assert set(world.takes.values()) == {frozenset({NEW})}


@pytest.mark.parametrize("phase", ALL[1:-1])
def test_a_move_that_is_stopped_before_a_step_goes_on_from_there(phase: MovePhase) -> None:
    world = World()
    world.until(phase)
    world.walk(world.kept[-1])
    assert (world.providers, world.default, set(world.signs.values())) == (frozenset({NEW}), NEW, {NEW})


@pytest.mark.parametrize("phase", ALL[:6])
def test_a_move_that_goes_back_before_a_step_ends_with_the_former_issuer_alone(phase: MovePhase) -> None:
    world = World()
    if phase is not MovePhase.PUBLISH:
        world.until(phase)
    before = world.clock.now()
    world.walk((world.kept[-1] if world.kept else BEGUN).turned_back())
    assert (world.providers, world.listed, world.default) == (frozenset({OLD}), False, OLD)
    assert set(world.signs.values()) == {OLD}
    assert set(world.takes.values()) == {frozenset({OLD})}
    # Tokens of the coming issuer that may be in use are waited for, and none where there can be none.
    assert (world.clock.now() - before >= DAY) is (phase in {MovePhase.SWITCH, MovePhase.CONFIGURE, MovePhase.WAIT})


@pytest.mark.parametrize("phase", ALL[6:8])
def test_a_move_does_not_go_back_from_where_tokens_may_be_refused(phase: MovePhase) -> None:
    world = World()
    kept = world.until(phase)
    with pytest.raises(PlanError, match="cannot go back"):
        kept.turned_back()


def test_nobody_is_told_to_switch_before_kubelets_have_brought_the_list() -> None:
    world = World()
    world.walk(BEGUN)
    assert world.switched_at is not None
    assert world.switched_at >= NOW + BROUGHT


@pytest.mark.parametrize("wrong", [-2 * DAY, 2 * DAY])
def test_the_wait_is_as_long_by_the_servers_clocks_whatever_this_machine_s_says(wrong: timedelta) -> None:
    world = World()
    waiting = world.until(MovePhase.WAIT)
    assert waiting.wait_ends is not None
    MoveWalk(
        world,
        cast("MoveLedger", world),
        world,
        patience=3 * DAY,
        clock=SteppedClock(NOW + wrong),
        sleep=lambda seconds: world.clock.step(timedelta(seconds=seconds)),
    ).go(waiting)
    assert world.clock.now() == waiting.wait_ends


def test_a_server_that_signs_as_before_during_the_wait_begins_it_again() -> None:
    world = World(relapses_at=NOW + timedelta(hours=12))
    world.walk(BEGUN)
    phases = [one.phase for one in world.kept]
    assert phases[5:9] == [MovePhase.WAIT, MovePhase.SWITCH, MovePhase.CONFIGURE, MovePhase.WAIT]
    assert "wait: Signed with another issuer meanwhile: s1. The wait begins again." in world.told
    assert world.clock.now() >= NOW + timedelta(hours=36)


@pytest.mark.parametrize(
    ("phase", "reason"),
    [
        (MovePhase.ACCEPT, "S0 does not take tokens of https://new.example yet"),
        (MovePhase.SWITCH, "S0 signs with https://old.example, not yet with https://new.example"),
        (MovePhase.DROP, "S0 still takes tokens of https://old.example"),
    ],
)
def test_what_a_person_has_not_done_is_waited_for_and_named(phase: MovePhase, reason: str) -> None:
    world = World(idle=frozenset({phase}))
    world.until(phase)
    with pytest.raises(PlanError, match=reason) as caught:
        world.walk(world.kept[-1], timedelta(minutes=5))
    assert caught.value.full_code == "plan.rotation-waits"
    assert "rotate --issuer --resume" in caught.value.next_step


@pytest.mark.parametrize("phase", [MovePhase.DROP, MovePhase.FORGET])
def test_a_state_that_claims_to_be_past_the_wait_does_not_cut_it_short(phase: MovePhase) -> None:
    world = World()
    waiting = world.until(MovePhase.WAIT)
    if phase is MovePhase.FORGET:
        world.takes = dict.fromkeys(world.takes, frozenset({NEW}))
    kept = len(world.kept)
    world.walk(replace(waiting, phase=phase))
    assert [one.phase for one in world.kept[kept:]] == [phase, MovePhase.WAIT, MovePhase.DROP, MovePhase.FORGET, MovePhase.DONE]
    assert waiting.wait_ends is not None
    assert world.clock.now() >= waiting.wait_ends


def test_a_state_that_claims_a_switch_that_no_server_has_made_has_it_made() -> None:
    world = World()
    waiting = world.until(MovePhase.WAIT)
    world.signs = dict.fromkeys(world.signs, OLD)
    world.clock.step(2 * DAY)
    kept = len(world.kept)
    world.walk(replace(waiting, phase=MovePhase.DROP))
    assert [one.phase for one in world.kept[kept : kept + 3]] == [MovePhase.DROP, MovePhase.SWITCH, MovePhase.CONFIGURE]
    assert world.clock.now() >= NOW + 3 * DAY


def test_a_server_that_took_the_old_issuer_back_keeps_its_provider() -> None:
    world = World()
    forgetting = world.until(MovePhase.FORGET)
    world.takes["s1"] = frozenset({OLD, NEW})
    with pytest.raises(PlanError, match=r"S1 still takes tokens of https://old\.example"):
        world.walk(forgetting, timedelta(minutes=1))
    assert OLD in world.providers


@pytest.mark.parametrize(("pods", "reason"), [(["shop/a"], "Pods still ask for tokens for cluster: shop/a"), (None, "may not list pods")])
def test_while_pods_ask_for_the_leaving_audience_or_nobody_can_tell_its_provider_stays(pods: list[str] | None, reason: str) -> None:
    world = World(pods=pods)
    forgetting = world.until(MovePhase.FORGET)
    with pytest.raises(PlanError, match=reason) as caught:
        world.walk(forgetting, timedelta(minutes=1))
    assert "formerIds: [cluster]" in caught.value.why
    assert OLD in world.providers


def test_a_server_that_refuses_tokens_that_are_in_use_keeps_the_switch_from_passing() -> None:
    switching = BEGUN.published().told(NOW).stepped()
    plane = ControlPlane((Server("s0", frozenset(), "kid", Secret("x", "t"), NOW, NEW, frozenset({NEW})),), is_complete=True)
    assert any("does not take tokens of https://old.example" in reason for reason in issuer_gates.switched(switching, plane))
    silent = ControlPlane((), is_complete=True, silent=("s1: gone",))
    gates: tuple[Callable[[IssuerMove, ControlPlane], list[str]], ...] = (
        issuer_gates.accepted,
        issuer_gates.switched,
        issuer_gates.dropped,
    )
    for gate in gates:
        assert gate(switching, silent) == ["No answer: s1: gone"]


def test_on_the_way_back_the_file_that_keeps_an_audience_is_one_that_fits_the_move() -> None:
    (reason,) = issuer_gates.unasked(BEGUN.turned_back(), None)
    assert "google.provider: {id: cluster, formerIds: [cluster-2]} and the former issuer" in reason
