# SPDX-License-Identifier: Apache-2.0
"""`podpass` on a clock that is ahead of the machine's by the seconds in a file: an hour of a token's life costs a test no time."""

import os
from datetime import datetime, timedelta
from pathlib import Path

from podpass.cli import main
from podpass.clock import SystemClock

_AHEAD = Path(os.environ["PODPASS_TEST_AHEAD"])
_machine = SystemClock.now


def _later(clock: SystemClock) -> datetime:
    return _machine(clock) + timedelta(seconds=float(_AHEAD.read_text()))


setattr(SystemClock, "now", _later)  # noqa: B010 - a method, to mypy
main()
