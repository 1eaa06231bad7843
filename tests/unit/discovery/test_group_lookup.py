# SPDX-License-Identifier: Apache-2.0
"""Who is in a group: nobody waits in it, answers are short-lived, doubt is 503."""

from datetime import timedelta

import pytest

from key_hangar import Hangar
from podpass.discovery import group_lookup
from podpass.discovery.group_lookup import LIFE, GroupLookup
from podpass.errors import GroupsUnavailableError, UnreachableError
from podpass.guard import GroupResolver
from token_forge import NOW

ANN, TEAM, OTHERS = "ann@example.com", "team@example.com", "others@example.com"


class FakeDirectory:
    """A directory that tests bend."""

    def __init__(self, *members: tuple[str, str]) -> None:
        self.members = set(members)
        self.error: Exception | None = None
        self.asked: list[tuple[str, str]] = []

    def has_member(self, group: str, email: str) -> bool:
        self.asked.append((group, email))
        if self.error is not None:
            raise self.error
        return (group, email) in self.members

    def __str__(self) -> str:
        return "the directory"


class Desk:
    """A look-up with its directory and its flights."""

    def __init__(self, *members: tuple[str, str]) -> None:
        self.hangar, self.directory = Hangar(), FakeDirectory(*members)
        self.lookup = GroupLookup(self.directory, launch=self.hangar.launch)

    def ask(self, *groups: str, after_s: float = 0) -> bool:
        resolver: GroupResolver = self.lookup
        return resolver.is_member(ANN, groups or (TEAM,), now=NOW + timedelta(seconds=after_s))

    def learn(self, *groups: str, after_s: float = 0) -> bool:
        """Ask until it is known."""
        for _ in range(10):
            try:
                return self.ask(*groups, after_s=after_s)
            except GroupsUnavailableError:
                self.hangar.land()
        raise AssertionError


def test_an_answer_is_on_its_way_before_it_is_there() -> None:
    desk = Desk((TEAM, ANN))
    with pytest.raises(GroupsUnavailableError, match=r"has not said lately who is in the group 'team@example\.com'") as caught:
        desk.ask()
    assert caught.value.flight is not None
    assert (caught.value.full_code, caught.value.retry_after_s) == ("groups.unavailable", 1)
    with pytest.raises(GroupsUnavailableError) as again:
        desk.ask()
    assert again.value.flight is caught.value.flight, "one question for all"
    desk.hangar.land()
    assert desk.ask()


def test_who_is_in_one_of_the_groups_is_admitted_whatever_the_others_are() -> None:
    desk = Desk((OTHERS, ANN))
    assert desk.learn(TEAM, OTHERS)
    assert not desk.learn(TEAM)
    assert desk.ask("unknown@example.com", OTHERS)


def test_an_answer_that_is_half_over_is_renewed_while_it_is_used() -> None:
    desk = Desk((TEAM, ANN))
    desk.learn()
    assert desk.ask(after_s=29)
    assert desk.hangar.flights == 1
    desk.directory.members.clear()
    assert desk.ask(after_s=31)
    assert desk.ask(after_s=32)
    assert desk.hangar.flights == 2
    desk.hangar.land()
    assert not desk.ask(after_s=33)


def test_an_answer_that_is_over_is_not_used_even_if_nobody_answers() -> None:
    desk = Desk((TEAM, ANN))
    desk.learn()
    desk.directory.error = UnreachableError("Nobody answers.")
    life_s = LIFE.total_seconds()
    with pytest.raises(GroupsUnavailableError):
        desk.ask(after_s=life_s)
    desk.hangar.land()
    with pytest.raises(GroupsUnavailableError, match="Nobody answers") as caught:
        desk.ask(after_s=life_s + 0.5)
    assert caught.value.flight is None, "there is a pause after a failure"
    assert caught.value.retry_after_s == 1.5
    with pytest.raises(GroupsUnavailableError) as caught:
        desk.ask(after_s=life_s + 2)
    assert caught.value.flight is not None
    with pytest.raises(GroupsUnavailableError):
        desk.ask(after_s=-1)


def test_a_bug_in_a_directory_is_no_membership(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()
    desk.directory.error = ZeroDivisionError("x")
    with pytest.raises(GroupsUnavailableError):
        desk.ask()
    desk.hangar.land()
    with pytest.raises(GroupsUnavailableError, match="ended with ZeroDivisionError"):
        desk.ask()
    assert "could not be asked about the group" in caplog.text


def test_answers_and_questions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_lookup, "_ANSWERS", 3)
    monkeypatch.setattr(group_lookup, "_FLIGHTS", 2)
    desk = Desk()
    for number in range(5):
        assert not desk.learn(f"g{number}@example.com")
    assert len(desk.lookup._answers) == 3
    for number in range(5, 8):
        with pytest.raises(GroupsUnavailableError):
            desk.ask(f"g{number}@example.com")
    assert len(desk.lookup._flights) == 2
    desk.lookup.wake_in_child()
    assert not desk.lookup._flights


def test_at_the_end_of_the_interpreter_nobody_asks() -> None:
    def launch(_work: object) -> None:
        raise RuntimeError("cannot schedule new futures after shutdown")

    lookup = GroupLookup(FakeDirectory(), launch=launch)  # type: ignore[arg-type] # as above
    with pytest.raises(GroupsUnavailableError) as caught:
        lookup.is_member(ANN, (TEAM,), now=NOW)
    assert caught.value.flight is None
