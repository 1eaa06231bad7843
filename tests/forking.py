# SPDX-License-Identifier: Apache-2.0
"""Forks: what a worker of a pre-forking server goes through."""

import os
import signal
from collections.abc import Callable

import pytest

# From Python 3.12 on, forking with threads warns: that it works all the same is the point.
forks = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def in_child(work: Callable[[], object]) -> None:
    """Fork, work in the child for a minute at most, and expect it to succeed."""
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        try:
            work()
        except BaseException:  # noqa: BLE001 - the child must not run the tests' own endings
            import traceback  # noqa: PLC0415

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
