# SPDX-License-Identifier: Apache-2.0
import pytest

from podpass.demo import federation, services
from podpass.demo.story import NotHereError, Story
from unit.cli.conftest import Type


def test_each_story_has_a_title_before_its_steps(typed: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    def tell(*, control_plane: object) -> Story:
        assert control_plane is None
        story = Story("services")
        with story.step("Server and client"):
            pass
        return story

    monkeypatch.setattr(services, "tell", tell)
    ended = typed("demo", "services")
    assert ended.err.startswith("\nservices: a client calls a guarded server, and others try\n\n 1. Server and client\n")


def test_without_a_name_all_that_this_machine_can_tell_is_told(typed: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*, control_plane: object) -> Story:
        raise NotHereError("Not here.", "", str(control_plane or ""))

    for module in (federation, services):
        monkeypatch.setattr(module, "tell", lambda module=module, **_: Story(module.__name__.rpartition(".")[2]))
    monkeypatch.setattr("podpass.demo.google.tell", missing)
    ended = typed("demo")
    assert (ended.code, ended.out) == (0, "\nfederation\n\nservices\n")
    assert "\ngoogle: a pod gets" in ended.err
    assert "\nNot here." in ended.err
