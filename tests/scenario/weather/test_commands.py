# SPDX-License-Identifier: Apache-2.0
"""podpass's own commands in bad weather: the same end as in fair weather, or a message that says what to do, and then the same end."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from scenario.federate.conftest import Answer, Story
from scenario.weather.conftest import struck, weather

GOOGLE, CLUSTER = {"host": "*.googleapis.com"}, {"host": "kubernetes", "caller": "kubernetes-admin"}
TROUBLES: tuple[dict[str, Any], ...] = (
    {"error": 503},
    {"connection": "reset"},
    {"connection": "answer-lost"},
    {"connection": "body-truncated"},
)


def patiently(run: Callable[[], Answer]) -> Answer:
    """Run a command until it is done, as its messages say, a few times at most."""
    for _ in range(4):
        answer = run()
        if answer.code == 0:
            break
        assert answer.error
        assert re.search(r"run (the command|`podpass \w+`) again|kubectl cluster-info", answer.error.next_step), answer.error
    return answer


def test_a_storm_at_google_changes_nothing_but_the_time(story: Story) -> None:
    """One request in three fails, in any way; no command has to be run twice."""
    before = story.sandbox.dump()
    storm = [{"match": GOOGLE, "when": {"every": every}, "then": trouble} for every, trouble in enumerate(TROUBLES, 9)]
    for command in ("apply", "destroy"):
        weather(story, *storm)
        story.done(command, "--yes")
        assert struck(story) > 0
        story.sandbox.clear_faults()
        if command == "apply":
            assert story.run("plan", "--exit-code").code == 0
    after = story.sandbox.dump()
    assert after["kubernetes"] == before["kubernetes"]
    assert {**after["google"], "tombstones": []} == {**before["google"], "tombstones": []}


@pytest.mark.parametrize("trouble", TROUBLES, ids=str)
def test_what_a_failing_api_server_leaves_is_finished_by_the_next_run(story: Story, trouble: dict[str, Any]) -> None:
    """The first writing of each kind fails; of the cluster's, only deletions are repeated by themselves."""
    before = story.sandbox.dump()["kubernetes"]
    for command in ("apply", "destroy"):
        verbs = ("create", "update", "delete")
        weather(
            story,
            *({"match": CLUSTER | {"method": f"kubernetes.configmaps.{verb}"}, "when": {"nth": 1}, "then": trouble} for verb in verbs),
        )
        assert patiently(lambda: story.run(command, "--yes")).code == 0  # noqa: B023 - called in this turn of the loop
        assert struck(story) >= (2 if command == "apply" else 1)  # destroy only deletes
        story.sandbox.clear_faults()
    assert story.sandbox.dump()["kubernetes"] == before
