# SPDX-License-Identifier: Apache-2.0
"""What `sandbox run --state` leaves for `sandbox env` is nobody else's to read or to place."""

import os
import signal
import subprocess
import sys
from pathlib import Path


def test_the_environment_is_written_anew_and_privately(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("kept")
    state = tmp_path / "state"
    state.mkdir()
    (state / "environment.json").symlink_to(elsewhere)
    command = [str(Path(sys.executable).with_name("podpass")), "sandbox", "run", "--state", str(state)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    try:
        assert process.stdout is not None
        while "Ctrl-C" not in (line := process.stdout.readline()):
            assert line, "it ended"
        written = state / "environment.json"
        assert not written.is_symlink()
        assert written.stat().st_mode & 0o777 == 0o600
        assert elsewhere.read_text() == "kept"
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
