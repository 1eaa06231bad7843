# SPDX-License-Identifier: Apache-2.0
"""Outputs that are closed, full, or of another encoding: a command says so where it can, and what was begun is brought to its end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PODPASS = f"{sys.executable} -m podpass.cli"
FULL = Path("/dev/full")
PROGRESS = """
import sys
from podpass.cli.plan_view import progress
from podpass.cli.streams import settle
from podpass.federate.model.change import Action, Change
from podpass.federate.execution.run import Event
from podpass.federate.execution.steps import Step, Verb
settle()
steps = [Step(one, Verb.MAKE, (Change(one, Action.CREATE, {}),), frozenset(), False) for one in ("pool/a", "pool/b")]
with progress() as notify:
    for step in steps:
        notify(Event(step, "started"))
        notify(Event(step, "done"))
print("done")
"""


def shell(command: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["bash", "-c", command], env=os.environ | environment, capture_output=True, text=True, check=False)


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
def test_a_full_disk_is_a_sentence() -> None:
    done = shell(f"{PODPASS} token inspect - <<< a >/dev/full 2>/dev/full; echo $?; {PODPASS} --help >/dev/full")
    assert done.stdout == "1\n"
    assert done.stderr == (
        "Error: The output cannot be written. [config.file]\nNo space left on device.\n"
        "Next: Make room, or send it elsewhere, and run it again.\n"
    )
    assert done.returncode == 1


@pytest.mark.parametrize("lost", ["2>/dev/full", "2>&-"])
def test_progress_that_nobody_can_read_stops_nothing(lost: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRESS)
    done = shell(f"{sys.executable} {tmp_path}/program.py {lost}")
    assert (done.returncode, done.stdout) == (0, "done\n")


def test_progress_whose_reader_has_gone_stops_nothing_and_the_result_is_told() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-c", PROGRESS], stdout=subprocess.PIPE, stderr=writer, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stdout) == (0, "done\n")


def test_a_command_without_any_standard_stream_runs_and_gives_its_exit_code(tmp_path: Path) -> None:
    done = shell(f"{PODPASS} plan -f {tmp_path}/none.yaml <&- >&- 2>&-; echo $?")
    assert done.stdout == "2\n"


def test_signs_that_the_encoding_lacks_are_written_otherwise() -> None:
    program = "from podpass.cli.streams import settle; settle(); print('✓ ✗ qKVb… ü \\u4e2d')"
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"PYTHONIOENCODING": "latin-1"}, capture_output=True, check=True
    )
    assert done.stdout.decode("latin-1") == "+ x qKVb... ü \\u4e2d\n"
