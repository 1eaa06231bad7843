# SPDX-License-Identifier: Apache-2.0
"""The processes of services: when they start, what they get, and that each of them ends."""

import os
import signal
from pathlib import Path
from time import monotonic, sleep

import httpx2
import pytest

from podpass.sandbox.hosting import HostedSandbox
from podpass.sandbox.settings import SandboxSettings
from unit.sandbox.google.run.running import IMAGE, IMAGES, Running


def processes() -> set[int]:
    """Return the echo servers that are this process's grandchildren: each under a shim of its own."""
    mine = set()
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"echo_server.py" in status.read_bytes() and _descends(int(status.parent.name)):
                mine.add(int(status.parent.name))
        except OSError:
            continue
    return mine


def _descends(process: int) -> bool:
    while process > 1:
        if process == os.getpid():
            return True
        text = Path(f"/proc/{process}/stat").read_text()
        process = int(text.rpartition(")")[2].split()[1])
    return False


def until(condition: object, what: str) -> None:
    assert callable(condition)
    deadline = monotonic() + 60
    while not condition():
        assert monotonic() < deadline, what
        sleep(0.02)


def test_a_container_gets_its_names_its_variables_and_the_way_through_the_proxy(run: Running) -> None:
    run.deploy("named", COLOR="green")
    run.until_ready("named")
    run.let("named", "allUsers")
    env = run.echo("named")["env"]
    assert (env["K_SERVICE"], env["K_CONFIGURATION"], env["COLOR"]) == ("named", "named", "green")
    assert env["K_REVISION"] == run.status("named")["latestReadyRevisionName"]
    assert env["HTTPS_PROXY"] == run.side.pod_environment()["HTTPS_PROXY"]
    assert Path(env["SSL_CERT_FILE"]).read_bytes().startswith(b"-----BEGIN CERTIFICATE-----")
    run.delete("named")


def test_a_new_revision_replaces_the_old_one_without_a_gap(run: Running) -> None:
    run.deploy("turning", COLOR="1")
    run.until_ready("turning")
    run.let("turning", "allUsers")
    before, colours = run.status("turning")["latestReadyRevisionName"], set()
    run.deploy("turning", COLOR="2")
    deadline = monotonic() + 60
    while "2" not in colours:
        colours.add(run.echo("turning")["env"]["COLOR"])
        assert monotonic() < deadline
    status = run.status("turning")
    assert status["latestReadyRevisionName"] == status["latestCreatedRevisionName"] != before
    assert status["traffic"] == [{"revisionName": status["latestReadyRevisionName"], "percent": 100, "latestRevision": True}]
    assert colours <= {"1", "2"}
    run.delete("turning")


def test_a_request_that_is_being_answered_outlives_the_revision_that_answers_it(run: Running) -> None:
    others = processes()
    run.deploy("draining", COLOR="1")
    run.until_ready("draining")
    run.let("draining", "allUsers")
    before = processes()
    (old,) = before - others
    with run.client.stream("GET", run.url("draining") + "/stream") as answer:
        lines = answer.iter_lines()
        assert next(lines) == "one"
        run.deploy("draining", COLOR="2")
        until(lambda: run.echo("draining")["env"]["COLOR"] == "2", "the new revision")
        os.kill(old, signal.SIGUSR1)
        assert next(lines) == "two"
    until(lambda: old not in processes(), "the old revision to end")
    run.delete("draining")


def test_a_revision_that_never_listens_fails_with_its_log_and_the_one_before_serves_on(run: Running) -> None:
    run.deploy("breaking", COLOR="good")
    run.until_ready("breaking")
    run.let("breaking", "allUsers")
    run.deploy("breaking", BROKEN="1")
    message = run.until_ready("breaking", "False")
    assert "is not ready and cannot serve traffic. The user-provided container failed to start and listen on the port" in message
    assert message.endswith("It ended with code 4.\ncannot go on")
    assert run.echo("breaking")["env"]["COLOR"] == "good"
    run.deploy("breaking", image="test/unknown")
    while "unknown" not in (message := run.until_ready("breaking", "False")):
        sleep(0.02)
    assert message.endswith("Image 'test/unknown' not found: the sandbox maps no command to this name.")
    run.delete("breaking")


def test_a_service_that_was_never_ready_answers_503(run: Running) -> None:
    run.deploy("never", image="test/unknown")
    run.until_ready("never", "False")
    run.let("never", "allUsers")
    answer = run.client.get(run.url("never"))
    assert (answer.status_code, "The service you requested is not available yet." in answer.text) == (503, True)
    run.delete("never")


def test_a_crash_shows_and_the_container_is_started_again(run: Running) -> None:
    run.deploy("crashing")
    run.until_ready("crashing")
    run.let("crashing", "allUsers")
    assert run.client.get(run.url("crashing") + "/crash").status_code == 503
    assert "ended with code 3 and is being restarted" in run.until_ready("crashing", "False")
    run.until_ready("crashing")
    assert run.echo("crashing")["env"]["K_SERVICE"] == "crashing"
    run.delete("crashing")


def test_an_answer_that_breaks_off_is_not_taken_for_a_whole_one(run: Running, caplog: pytest.LogCaptureFixture) -> None:
    run.deploy("halving")
    run.until_ready("halving")
    run.let("halving", "allUsers")
    with pytest.raises(httpx2.TransportError):
        run.client.get(run.url("halving") + "/half")
    assert "Exception in ASGI application" not in caplog.text
    run.delete("halving")


def test_what_a_container_writes_is_kept(run: Running) -> None:
    run.echo("echo", "/for-the-log")
    until(lambda: '"GET /for-the-log HTTP/1.1" 200' in run.log("echo"), "the log")


def test_a_deleted_service_has_no_process_and_no_address(run: Running) -> None:
    others = processes()
    run.deploy("gone")
    run.until_ready("gone")
    url, mine = run.url("gone"), processes() - others
    assert len(mine) == 1
    run.delete("gone")
    until(lambda: not processes() & mine, "the process to end")
    assert run.client.get(url).status_code == 404


def test_a_service_under_the_name_of_one_that_is_just_ending_is_one_of_its_own(run: Running) -> None:
    run.deploy("again", COLOR="1")
    run.until_ready("again")
    run.delete("again")
    run.deploy("again", COLOR="2")
    run.until_ready("again")
    run.let("again", "allUsers")
    until(lambda: run.ready("again")[0] == "True", "the status to stay")
    assert run.echo("again")["env"]["COLOR"] == "2"
    run.delete("again")


def test_services_live_through_a_restart_of_the_sandbox_and_their_processes_do_not(tmp_path: Path) -> None:
    known = processes()
    settings = SandboxSettings(state_dir=tmp_path)
    for _ in range(2):
        with HostedSandbox(settings, images=IMAGES, with_cluster=False) as side, Running(side) as run:
            if (
                run.client.get("https://run.googleapis.com/v1/projects/demo-project/locations/-/services", headers=run.owner).json()[
                    "items"
                ]
                == []
            ):
                run.deploy("kept", IMAGE)
            run.until_ready("kept")
            assert len(processes() - known) == 1
        assert processes() <= known


@pytest.mark.slow
def test_a_container_that_will_not_end_is_killed(run: Running) -> None:
    others = processes()
    run.deploy("stubborn", STUBBORN="1")
    run.until_ready("stubborn")
    mine = processes() - others
    assert len(mine) == 1
    run.delete("stubborn")
    until(lambda: not processes() & mine, "the process to be killed")
