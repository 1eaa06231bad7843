# SPDX-License-Identifier: Apache-2.0
"""One server after the other, and nothing after one that does not come back: on machines made of values, with a clock that jumps."""

from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from podpass.errors import PartlyAppliedError, UnreachableError, UnsafePlanError
from podpass.federate.clusters.evidence import Node
from podpass.federate.clusters.flags import ServiceAccountFlags
from podpass.federate.clusters.move import Move, Stage
from podpass.federate.clusters.probe import Sight
from podpass.federate.clusters.roll import Changed, Roll, Times

OLD, NEW = "https://10.0.0.1:6443", "https://storage.googleapis.com/demo-oidc"
BEFORE = ServiceAccountFlags((OLD,), (OLD,))
NODES = tuple(Node(f"cp-{number}") for number in (1, 2, 3))


@dataclass
class World:
    """Machines, their servers, and the time. A server comes back some seconds after it was changed.

    Attributes:
        told: What each machine is told.
        serving: What each server runs with.
        down: Servers that give no answer.
        breaking: Servers that a change brings down for good.
        kids: The keys of each server.
        due: Machines whose file was written and whose server was not restarted.
        log: What was changed, and what came back, in order.
    """

    told: dict[str, ServiceAccountFlags] = field(default_factory=lambda: {node.name: BEFORE for node in NODES})
    serving: dict[str, ServiceAccountFlags] = field(default_factory=lambda: {node.name: BEFORE for node in NODES})
    started: dict[str, float] = field(default_factory=lambda: {node.name: 0.0 for node in NODES})
    kids: dict[str, frozenset[str]] = field(default_factory=lambda: {node.name: frozenset({"k"}) for node in NODES})
    down: set[str] = field(default_factory=set)
    breaking: set[str] = field(default_factory=set)
    log: list[str] = field(default_factory=list)
    now_s: float = 100.0
    due: set[str] = field(default_factory=set)
    due_s: dict[str, float] = field(default_factory=dict)

    def flags(self, node: Node) -> ServiceAccountFlags:
        return self.told[node.name]

    def preview(self, node: Node, flags: ServiceAccountFlags) -> str:
        return f"{node.name}: {flags.issuers}"

    def unfinished(self, node: Node) -> bool:
        return node.name in self.due

    def change(self, node: Node, flags: ServiceAccountFlags) -> Changed:
        assert not self.due_s, "one is on its way already"
        self.log.append(f"change {node.name}")
        self.told[node.name] = flags
        if node.name in self.breaking:
            self.down.add(node.name)
        self.due_s[node.name] = self.now_s + 7
        self.due.discard(node.name)
        return Changed(undo="cp there here")

    def look(self, node: Node, issuers: frozenset[str]) -> Sight:
        name = node.name
        if name in self.down:
            raise UnreachableError(f"{name} gave no answer.")
        serving = self.serving[name]
        return Sight(self.started[name], serving.issuers[0], self.kids[name], issuers & frozenset(serving.issuers))

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        for name in [name for name, due in self.due_s.items() if due <= self.now_s]:
            del self.due_s[name]
            self.serving[name], self.started[name] = self.told[name], self.now_s

    def roll(self) -> Roll:
        times = Times(timedelta(seconds=60), lambda: self.now_s, self.sleep)
        return Roll(self, self.look, notify=lambda node, happened: self.log.append(f"{happened} {node.name}"), times=times)


def stage(name: str) -> Stage:
    return next(one for one in Move(BEFORE, NEW).left(several=True) if one.name == name)


@pytest.fixture
def world() -> World:
    return World()


def test_each_comes_back_before_the_next_is_changed(world: World) -> None:
    world.roll().run(stage("accept"), NODES)
    assert world.log == [f"{what} {node.name}" for node in NODES for what in ("change", "changed", "came back")]
    assert set(world.serving.values()) == {stage("accept").flags}


def test_nothing_is_touched_after_one_that_stays_away(world: World) -> None:
    world.breaking.add("cp-2")
    with pytest.raises(PartlyAppliedError) as stopped:
        world.roll().run(stage("accept"), NODES)
    assert stopped.value.what == "The API server of cp-2 has not come back within 60 s."
    assert "cp-2 gave no answer" in stopped.value.why
    assert "on the node `cp there here`" in stopped.value.next_step
    assert world.told["cp-3"] == BEFORE


def test_servers_that_are_not_well_stop_it_before_anything_is_changed(world: World) -> None:
    world.down.add("cp-3")
    with pytest.raises(UnsafePlanError, match="cp-3 is not well"):
        world.roll().run(stage("accept"), NODES)
    assert world.log == []


def test_servers_with_different_keys_stop_it_too(world: World) -> None:
    world.kids["cp-2"] = frozenset({"another"})
    with pytest.raises(UnsafePlanError, match="do not verify with the same keys"):
        world.roll().run(stage("accept"), NODES)
    assert world.log == []


def test_a_server_that_was_changed_and_is_not_restarted_yet_is_waited_for(world: World) -> None:
    world.change(NODES[0], stage("accept").flags)
    world.log.clear()
    world.roll().run(stage("accept"), NODES)
    assert world.log[:2] == ["there already cp-1", "change cp-2"]
    assert world.serving["cp-1"] == stage("accept").flags


@pytest.mark.parametrize(
    ("serving", "kids", "why"),
    [
        (ServiceAccountFlags((NEW, OLD)), {"k"}, f"It signs as {NEW}; {OLD} is wanted."),
        (ServiceAccountFlags((OLD,)), {"k"}, f"It takes tokens of {OLD}; {OLD}, {NEW} are wanted."),
        (None, {"new"}, "It does not verify with every key that it had before."),
        (BEFORE, None, "It has not been restarted yet."),
    ],
)
def test_a_server_that_comes_back_otherwise_than_meant_stops_it(
    world: World, serving: ServiceAccountFlags | None, kids: set[str] | None, why: str
) -> None:
    normal = world.sleep

    def sleep(seconds: float) -> None:
        if kids is None:  # Talos renders nothing anew
            world.now_s += seconds
            return
        normal(seconds)
        if not world.due_s:
            world.serving["cp-1"] = serving or world.serving["cp-1"]
            world.kids["cp-1"] = frozenset(kids)

    world.sleep = sleep  # type: ignore[method-assign]
    with pytest.raises(PartlyAppliedError) as stopped:
        world.roll().run(stage("accept"), NODES)
    assert stopped.value.why == why
    assert world.told["cp-2"] == BEFORE


def test_a_server_for_which_another_answers_is_not_taken_for_restarted(world: World) -> None:
    """A node's record that names another node's address, and a restart that was none, look alike: nothing has begun anew."""
    honest = world.look
    asked: list[str] = []

    def look(node: Node, issuers: frozenset[str]) -> Sight:
        asked.append(node.name)
        return honest(NODES[0], issuers)

    world.look = look  # type: ignore[method-assign]
    with pytest.raises(PartlyAppliedError) as stopped:
        world.roll().run(stage("accept"), NODES)
    assert (stopped.value.what, stopped.value.why) == (
        "The API server of cp-2 has not come back within 60 s.",
        "It has not been restarted yet.",
    )
    assert asked[-1] == "cp-2"
    assert world.told["cp-3"] == BEFORE


def test_a_server_that_nobody_has_restarted_is_restarted_with_what_its_machine_is_told(world: World) -> None:
    world.told["cp-1"] = stage("accept").flags
    world.due.add("cp-1")
    world.roll().run(stage("accept"), NODES)
    assert world.log[:4] == ["change cp-1", "changed cp-1", "came back cp-1", "change cp-2"]
    assert set(world.serving.values()) == {stage("accept").flags}


def test_accepting_is_not_brought_to_those_who_have_switched(world: World) -> None:
    world.roll().run(stage("accept"), NODES)
    world.roll().run(stage("switch"), NODES[:1])
    world.log.clear()
    world.roll().run(stage("accept"), NODES)
    assert world.log == [f"there already {node.name}" for node in NODES]
    world.roll().run(stage("switch"), NODES)
    assert {flags.issuers for flags in world.serving.values()} == {(NEW, OLD)}


def test_what_was_changed_is_taken_back_from_the_last_to_the_first(world: World) -> None:
    world.roll().run(stage("accept"), NODES[:2])
    world.log.clear()
    world.roll().abort(BEFORE, NODES)
    assert [line for line in world.log if line.startswith("change ")] == ["change cp-2", "change cp-1"]
    assert set(world.serving.values()) == {BEFORE}
