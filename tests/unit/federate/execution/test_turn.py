# SPDX-License-Identifier: Apache-2.0
"""Whose turn it is."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from podpass.clock import SteppedClock
from podpass.errors import DriftSincePlanError
from podpass.federate.execution import turn as turns
from podpass.federate.execution.turn import sweep, turn
from podpass.kube.fault import KubeRefusedError
from unit.kube.api_server import Recorded, cluster, status

NOW = datetime(2026, 11, 22, 7, 30, tzinfo=UTC)
TAKEN = status(409, "AlreadyExists", 'leases.coordination.k8s.io "federation-shop" already exists')
MISSING = status(404, "NotFound", 'namespaces "podpass-system" not found')
GOING = status(403, "Forbidden", "unable to create new content in namespace podpass-system because it is being terminated")
FORBIDDEN = status(403, "Forbidden", "leases is forbidden")
CONFLICT = status(409, "Conflict", "the object has been modified")
PATH = "/apis/coordination.k8s.io/v1/namespaces/podpass-system/leases"


def lease(renewed: datetime = NOW, *, process: str = "elsewhere") -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "podpass-system",
            "name": "federation-shop",
            "uid": "u-1",
            "resourceVersion": "7",
            "annotations": {"podpass.dev/process": process},
        },
        "spec": {
            "holderIdentity": "ada@laptop (podpass apply, process 4711)",
            "acquireTime": "2026-11-22T07:28:30.000000Z",
            "renewTime": f"{renewed:%Y-%m-%dT%H:%M:%S.%fZ}",
            "leaseDurationSeconds": 60,
        },
    }


def walk(there: Recorded) -> list[str]:
    with turn(there.client(), "shop", "apply", clock=SteppedClock(NOW)):
        there.asked.append(httpx2.Request("GET", "https://demo.example/the-block"))
    return there.lines


def test_a_turn_is_taken_for_the_block_and_given_back() -> None:
    there = cluster(lease())
    assert walk(there) == [f"POST {PATH}", "GET /the-block", f"DELETE {PATH}/federation-shop"]
    spec, metadata = there.bodies[0]["spec"], there.bodies[0]["metadata"]
    assert spec["holderIdentity"].endswith(f"(podpass apply, process {os.getpid()})")
    assert spec["acquireTime"] == spec["renewTime"] == "2026-11-22T07:30:00.000000Z"
    assert str(os.getpid()) in metadata["annotations"]["podpass.dev/process"]
    assert there.bodies[2]["preconditions"] == {"uid": "u-1", "resourceVersion": "7"}


def test_the_namespace_is_made_for_it() -> None:
    lines = walk(cluster(MISSING, {"metadata": {"uid": "n"}}, lease()))
    assert lines[:3] == [f"POST {PATH}", "POST /api/v1/namespaces", f"POST {PATH}"]


def test_the_second_is_told_who_is_at_it_and_since_when() -> None:
    with pytest.raises(DriftSincePlanError) as caught:
        walk(cluster(TAKEN, lease(NOW - timedelta(seconds=59))))
    assert caught.value.full_code == "plan.concurrent"
    assert "ada@laptop (podpass apply, process 4711) is changing the federation shop" in caught.value.what
    assert caught.value.why == "Since 2026-11-22 07:28:30 UTC; last seen at 07:29:01."


def test_a_lease_that_nobody_renews_is_taken_over() -> None:
    there = cluster(TAKEN, lease(NOW - timedelta(seconds=61)), lease())
    assert walk(there)[2] == f"PUT {PATH}/federation-shop"
    assert there.bodies[2]["metadata"] | {"annotations": {}} == {
        "namespace": "podpass-system",
        "name": "federation-shop",
        "annotations": {},
        "resourceVersion": "7",
        "uid": "u-1",
    }


def test_of_two_who_take_it_over_one_is_told() -> None:
    old = lease(NOW - timedelta(seconds=61))
    with pytest.raises(DriftSincePlanError, match="is changing the federation shop"):
        walk(cluster(TAKEN, old, CONFLICT, TAKEN, lease()))


def test_one_that_is_given_back_at_this_moment_is_taken() -> None:
    assert walk(cluster(TAKEN, MISSING, lease()))[2] == f"POST {PATH}"


def test_who_is_always_too_late_is_told_so() -> None:
    with pytest.raises(DriftSincePlanError, match="were quicker"):
        walk(cluster(*[TAKEN, MISSING] * 3))


def test_a_run_of_this_machine_that_was_killed_does_not_keep_the_next_one_waiting() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        process = turns._process(other.pid)
        with pytest.raises(DriftSincePlanError):
            walk(cluster(TAKEN, lease(process=process)))
        other.kill()
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has taken note yet
        assert walk(cluster(TAKEN, lease(process=process), lease()))[2] == f"PUT {PATH}/federation-shop"
    assert walk(cluster(TAKEN, lease(process=process), lease()))[2] == f"PUT {PATH}/federation-shop"


@pytest.mark.parametrize("process", ["", "elsewhere", "boot/1/4711/5", "///", "x/y/z/w"])
def test_a_process_that_cannot_be_seen_from_here_counts_as_living(process: str) -> None:
    with pytest.raises(DriftSincePlanError):
        walk(cluster(TAKEN, lease(process=process)))


@pytest.mark.parametrize("pid", ["\u00b2", "9" * 5000, "9" * 10, "0", "-1", "../self"])
def test_a_process_id_that_is_none_counts_as_living(pid: str) -> None:
    boot_and_space = turns._process(os.getpid()).rsplit("/", 2)[0]
    with pytest.raises(DriftSincePlanError):
        walk(cluster(TAKEN, lease(process=f"{boot_and_space}/{pid}/5")))


def test_a_process_that_the_system_hides_counts_as_living(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = turns._process(os.getpid()).rsplit("/", 2)[0] + "/4194305/5"  # beyond the largest id that Linux gives

    def kill(_pid: int, _signal: int) -> None:  # as another user's process answers on a machine with hidepid=2
        raise PermissionError

    monkeypatch.setattr(os, "kill", kill)
    with pytest.raises(DriftSincePlanError):
        walk(cluster(TAKEN, lease(process=hidden)))


@pytest.mark.parametrize(
    ("renewed", "seconds"),
    [
        (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), 60),
        (NOW + timedelta(days=1), 60),
        (NOW - timedelta(seconds=61), 2**31 - 1),
    ],
)
def test_no_lease_locks_everybody_out_whatever_stands_in_it(renewed: datetime, seconds: int) -> None:
    other = lease(renewed)
    other["spec"]["leaseDurationSeconds"] = seconds
    assert walk(cluster(TAKEN, other, lease()))[2] == f"PUT {PATH}/federation-shop"


def test_a_clock_that_is_minutes_ahead_is_believed() -> None:
    with pytest.raises(DriftSincePlanError):
        walk(cluster(TAKEN, lease(NOW + timedelta(minutes=9))))


def test_a_holder_s_name_cannot_speak_to_the_terminal() -> None:
    other = lease()
    other["spec"]["holderIdentity"] = "\x1b[2Jada\nAll is well." + "x" * 9999
    with pytest.raises(DriftSincePlanError) as caught:
        walk(cluster(TAKEN, other))
    assert "\x1b" not in caught.value.what
    assert "\n" not in caught.value.what
    assert len(caught.value.what) < 400


def test_who_may_not_take_leases_changes_nothing() -> None:
    there = cluster(FORBIDDEN)
    with pytest.raises(KubeRefusedError, match="take the lease podpass-system/federation-shop"):
        walk(there)
    assert there.lines == [f"POST {PATH}"]


def test_a_turn_that_cannot_be_given_back_ends_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    walk(cluster(lease(), CONFLICT))
    assert "it ends by itself after 60 s" in caplog.text


def test_a_long_run_says_again_and_again_that_it_is_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_RENEWED_EVERY_S", 0.001)
    there = cluster(lease())
    clock = SteppedClock(NOW)
    with turn(there.client(), "shop", "apply", clock=clock):
        clock.step(timedelta(seconds=20))
        while not any(line.startswith("PUT") and "07:30:20" in str(body) for line, body in zip(there.lines, there.bodies, strict=False)):
            pass
    assert there.lines[-1] == f"DELETE {PATH}/federation-shop"


def test_a_renewal_whose_answer_was_lost_costs_nobody_the_turn(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(turns, "_RENEWED_EVERY_S", 0.001)
    renewed, again = lease(), lease()
    renewed["metadata"]["resourceVersion"], again["metadata"]["resourceVersion"] = "8", "9"
    there = cluster(lease(), httpx2.ReadError("lost after the write"), CONFLICT, renewed, again)
    with turn(there.client(), "shop", "apply", clock=SteppedClock(NOW)):
        while len(there.asked) < 6:
            pass
    writes = [body["metadata"]["resourceVersion"] for body in there.bodies[1:] if body and "metadata" in body]
    assert writes[:4] == ["7", "7", "8", "9"]
    assert caplog.text.count("could not be") == 1


def test_a_turn_that_somebody_has_taken_over_is_not_taken_back(caplog: pytest.LogCaptureFixture) -> None:
    other = lease()
    other["spec"]["acquireTime"] = "2026-11-22T07:29:30.000000Z"
    there = cluster(lease(), CONFLICT, other)
    assert walk(there)[2:] == [f"DELETE {PATH}/federation-shop", f"GET {PATH}/federation-shop"]
    assert "could not be given back" in caplog.text


def test_what_a_killed_run_left_is_swept_away_and_what_a_living_one_holds_is_not() -> None:
    old, held, none = cluster(lease(NOW - timedelta(seconds=61))), cluster(lease()), cluster(MISSING)
    for there in (old, held, none):
        sweep(there.client(), "shop", clock=SteppedClock(NOW))
    path = f"{PATH}/federation-shop"
    assert old.lines == [f"GET {path}", f"DELETE {path}"]
    assert held.lines == none.lines == [f"GET {path}"]


def test_what_this_process_could_not_give_back_is_swept_away_once_its_turn_is_over() -> None:
    own = lease(process=turns._process(os.getpid()))
    kept, swept = cluster(own), cluster(own)
    sweep(kept.client(), "shop", clock=SteppedClock(NOW))
    sweep(swept.client(), "shop", own=True, clock=SteppedClock(NOW))
    path = f"{PATH}/federation-shop"
    assert kept.lines == [f"GET {path}"]
    assert swept.lines == [f"GET {path}", f"DELETE {path}"]


@pytest.mark.parametrize(
    "answers", [[FORBIDDEN], [lease(NOW - timedelta(seconds=61)), FORBIDDEN], [lease(NOW - timedelta(days=1)), CONFLICT]]
)
def test_who_may_not_sweep_leaves_it(answers: list[Any]) -> None:
    there = cluster(*answers)
    sweep(there.client(), "shop", clock=SteppedClock(NOW))
    assert len(there.lines) == len(answers)
