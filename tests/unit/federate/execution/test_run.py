# SPDX-License-Identifier: Apache-2.0
import os
import signal
import threading
import time
from collections.abc import Mapping
from datetime import timedelta

import pytest

from podpass.errors import PodpassError, RefusedError
from podpass.federate.execution.run import Event, run
from podpass.federate.execution.steps import Step, Verb

NO_TIME = timedelta(0)


def step(key: str, *after: str, is_patient: bool = False) -> Step:
    return Step(key, Verb.MAKE, (), frozenset(after), is_patient)


def graph(*steps: Step) -> dict[str, Step]:
    return {one.key: one for one in steps}


def never(_: PodpassError) -> bool:
    return False


def always(_: PodpassError) -> bool:
    return True


def test_steps_run_after_those_that_come_first() -> None:
    made: list[str] = []

    def act(one: Step) -> Mapping[str, str]:
        assert one.after <= set(made)
        made.append(one.key)
        return {one.key: f"uid of {one.key}"}

    outcome = run(graph(step("c", "a", "b"), step("a"), step("b", "a")), act, is_teething=never)
    assert made == ["a", "b", "c"]
    assert outcome.done == {"a", "b", "c"}
    assert outcome.uids["c"] == "uid of c"
    assert outcome.failure is None


def test_steps_that_need_nothing_of_each_other_run_side_by_side() -> None:
    meeting = threading.Barrier(4, timeout=60)

    def act(_: Step) -> Mapping[str, str]:
        meeting.wait()
        return {}

    assert len(run(graph(*(step(key) for key in "abcd")), act, is_teething=never).done) == 4


def test_a_failure_stops_what_has_not_begun_and_is_told() -> None:
    events: list[Event] = []

    def act(one: Step) -> Mapping[str, str]:
        if one.key == "b":
            raise RefusedError("No.")
        return {}

    outcome = run(graph(step("a"), step("b", "a"), step("c", "b")), act, is_teething=never, notify=events.append)
    assert outcome.done == {"a"}
    assert str(outcome.failure) == "No."
    assert [(event.step.key, event.happened) for event in events] == [
        ("a", "started"),
        ("a", "done"),
        ("b", "started"),
        ("b", "failed"),
    ]


def test_what_is_new_is_tried_again_until_google_knows_it() -> None:
    tries: list[str] = []
    events: list[Event] = []

    def act(_: Step) -> Mapping[str, str]:
        tries.append("")
        if len(tries) < 3:
            raise RefusedError("Service account a does not exist.")
        return {}

    outcome = run(graph(step("a", is_patient=True)), act, is_teething=always, notify=events.append)
    assert outcome.done == {"a"}
    assert [event.happened for event in events] == ["started", "waiting", "waiting", "done"]


def test_patience_ends_at_its_bound() -> None:
    outcome = run(graph(step("a", is_patient=True)), _refused, is_teething=always, patience=NO_TIME)
    assert str(outcome.failure) == "No."


def test_a_step_that_rests_on_nothing_new_is_not_tried_again() -> None:
    outcome = run(graph(step("a")), _refused, is_teething=always)
    assert outcome.failure is not None


def test_only_teething_errors_are_waited_out() -> None:
    assert run(graph(step("a", is_patient=True)), _refused, is_teething=never).failure is not None


def _refused(_: Step) -> Mapping[str, str]:
    raise RefusedError("No.")


def test_ctrl_c_lets_what_has_been_sent_finish_and_begins_nothing_new() -> None:
    def act(_: Step) -> Mapping[str, str]:
        os.kill(os.getpid(), signal.SIGINT)
        return {}

    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        outcome = run(graph(step("a"), step("b", "a")), act, is_teething=never)
    finally:
        signal.signal(signal.SIGINT, previous)
    assert outcome.is_interrupted
    assert "b" not in outcome.done


def test_ctrl_c_during_a_wait_is_no_failure_of_the_step_that_waited() -> None:
    events: list[Event] = []

    def notify(event: Event) -> None:
        events.append(event)
        if event.happened == "waiting":
            time.sleep(0.1)  # until the run itself waits, too
            os.kill(os.getpid(), signal.SIGINT)

    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        outcome = run(graph(step("a", is_patient=True)), _refused, is_teething=always, notify=notify)
    finally:
        signal.signal(signal.SIGINT, previous)
    assert outcome.is_interrupted
    assert outcome.failure is None
    assert outcome.done == set()
    assert [event.happened for event in events] == ["started", "waiting", "given up"]


def void(_: object) -> None:
    """Drop a value."""


@pytest.mark.parametrize("wakes", [True, False])
def test_ctrl_c_does_not_wait_for_ever_for_what_has_been_sent(monkeypatch: pytest.MonkeyPatch, *, wakes: bool) -> None:
    """Nor where the signal ends no wait, as one that comes just before it begins does not."""
    end = threading.Event()

    def act(_: Step) -> Mapping[str, str]:
        if wakes:
            os.kill(os.getpid(), signal.SIGINT)
        else:
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        end.wait(60)
        return {}

    monkeypatch.setattr("podpass.federate.execution.run.GRACE", NO_TIME)
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        outcome = run(graph(step("a")), act, is_teething=never)
        outcome.close(lambda: void(end.wait()))
    finally:
        signal.signal(signal.SIGINT, previous)
        end.set()
    assert (outcome.is_interrupted, outcome.is_cut_short, outcome.done) == (True, True, set())
