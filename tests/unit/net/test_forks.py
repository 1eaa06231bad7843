# SPDX-License-Identifier: Apache-2.0
"""What a fork waits for."""

import os
import threading

from forking import forks
from podpass.net.forks import unforked


@forks
def test_a_fork_waits_for_a_thread_that_holds_locks_of_a_library() -> None:
    entered, may_leave, left = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        with unforked():
            entered.set()
            may_leave.wait(60)
            left.set()

    thread = threading.Thread(target=work)
    thread.start()
    entered.wait(60)
    threading.Timer(0.05, may_leave.set).start()
    child = os.fork()
    if child == 0:
        with unforked():  # and the child may do the same
            os._exit(0 if left.is_set() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    thread.join()
