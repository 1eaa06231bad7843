# SPDX-License-Identifier: Apache-2.0
"""The threads that wait for the network."""

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable

from podpass.net.flights import Pool


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait for other threads, not for time."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.005)


def test_a_program_that_ends_does_not_wait_for_work_under_way() -> None:
    """It hung for as long as whoever was asked kept silent, up to 8 s."""
    program = (
        "import threading, time\n"
        "from podpass.net.flights import Pool\n"
        "begun = threading.Event()\n"
        "Pool('test', 1).launch(lambda: (begun.set(), time.sleep(3600)))\n"
        "begun.wait()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_a_pool_does_as_many_things_at_a_time_as_it_has_threads_and_then_has_none() -> None:
    pool, doors, count = Pool("podpass-test", 2), threading.Semaphore(0), Counter[str]()

    def work() -> str:
        count["begun"] += 1
        doors.acquire()
        return threading.current_thread().name

    flights = [pool.launch(work) for _ in range(5)]
    wait_for(lambda: count["begun"] == 2)
    doors.release(5)
    assert {flight.result(60) for flight in flights} == {"podpass-test"}
    wait_for(lambda: pool._running == 0)
    assert pool.launch(lambda: "again").result(60) == "again"


def test_work_that_raises_ends_its_flight_and_not_its_thread() -> None:
    pool = Pool("podpass-test", 1)
    broken, next_one = pool.launch(lambda: 1 // 0), pool.launch(lambda: 2)
    assert isinstance(broken.exception(60), ZeroDivisionError)
    assert next_one.result(60) == 2
