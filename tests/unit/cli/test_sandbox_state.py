# SPDX-License-Identifier: Apache-2.0
"""What `sandbox run --state` leaves for `sandbox env` is nobody else's to read or to place."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from podpass.cli.sandbox import _PROMPT, _PROMPT_OF_SHELL, _end_of, _signals_for_the_child
from podpass.sandbox.node.lease import LOCK, sweep


def test_the_environment_is_written_anew_and_privately(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("kept")
    state = tmp_path / "state"
    state.mkdir()
    (state / "environment.json").symlink_to(elsewhere)
    command = [str(Path(sys.executable).with_name("podpass")), "sandbox", "run", "--state", state.name]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    try:
        assert process.stdout is not None
        said = ""
        while "Ctrl-C" not in (line := process.stdout.readline()):
            assert line, "it ended"
            said += line
        assert f'eval "$(podpass sandbox env --state {state})"' in said, "whatever folder the other terminal is in"
        written = state / "environment.json"
        assert not written.is_symlink()
        assert written.stat().st_mode & 0o777 == 0o600
        assert elsewhere.read_text() == "kept"
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def test_a_state_directory_has_one_sandbox_at_a_time_and_no_ghosts(tmp_path: Path) -> None:
    program = str(Path(sys.executable).with_name("podpass"))
    state = ["--state", str(tmp_path)]
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "TMPDIR": str(tmp_path)}

    def ask(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([program, "sandbox", *arguments, *state], capture_output=True, text=True, check=False, timeout=60)

    process = subprocess.Popen([program, "sandbox", "run", *state], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    while "Ctrl-C" not in (line := process.stdout.readline()):
        assert line, "it ended"
    second = ask("run")
    assert "belongs to a running sandbox" in second.stderr
    assert second.returncode == 1
    assert "export KUBECONFIG=" in ask("env").stdout, "the second one has not spoilt the first"
    process.kill()
    process.communicate(timeout=60)
    assert (tmp_path / "environment.json").exists(), "nobody could tidy up"
    ghost = ask("env")
    assert f"No sandbox runs in {tmp_path}." in ghost.stderr
    assert ghost.returncode == 2
    entering = ["bash", "-c", 'eval "$("$@" 2>/dev/null)" || echo "still outside"', "bash", program, "sandbox", "env", *state]
    assert subprocess.run(entering, capture_output=True, text=True, check=True, timeout=60).stdout == "still outside\n"
    left = list(tmp_path.glob("podpass-sandbox-*"))
    for each in left:
        os.utime(each / LOCK, (0, 0))
    sweep(tmp_path, "podpass-sandbox-")
    assert left
    assert not any(each.exists() for each in left), "the next start takes away what a killed one has left"


def test_a_signal_that_ends_no_wait_reaches_the_command_all_the_same() -> None:
    """As one does not that comes just before the wait begins, or that another thread takes."""
    with _signals_for_the_child() as adopt, subprocess.Popen(["sleep", "60"]) as child:
        adopt(child)
        teller = threading.Timer(0.2, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGTERM))
        teller.start()
        assert _end_of(child) == -signal.SIGTERM
        teller.join()


@pytest.mark.parametrize("how", ["exec", "env"])
def test_the_prompt_of_a_shell_in_the_sandbox_says_so(how: str) -> None:
    environment = {**os.environ, "PS1": "$ "}
    if how == "exec":
        environment["PROMPT_COMMAND"] = _PROMPT
    lines = f"{_PROMPT_OF_SHELL}\n" * 2 if how == "env" else ""
    done = subprocess.run(
        ["bash", "--norc", "-i"], input=f"{lines}echo $PS1\n", env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "(sandbox) $\n"
