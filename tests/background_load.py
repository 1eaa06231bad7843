# SPDX-License-Identifier: Apache-2.0
"""What pods and callers do again and again while a test does something to their cluster, and who of them was refused."""

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from podpass.errors import NeighbourError, UnavailableError

Task = tuple[Callable[[], object], float]
"""What is done, and the pause before each time, in seconds."""


@dataclass
class Load:
    """What was done, and who was refused."""

    done: "itertools.count[int]" = field(default_factory=itertools.count)
    refused: list[str] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    so_far: int = 0

    def go_on(self, times: int) -> None:
        """Wait until something was done so many times more: a busy machine may give the load less than its share."""
        wanted, deadline = self.so_far + times, time.monotonic() + 60
        while self.so_far < wanted:
            assert time.monotonic() < deadline, self.refused
            time.sleep(0.02)

    def again_and_again(self, once: Callable[[], object], pause_s: float) -> None:
        while not self.ended.wait(pause_s):
            try:
                once()
            except UnavailableError as error:
                self.refused.append(f"unavailable: {error}")
            except NeighbourError:
                continue  # an API server that restarts; a load balancer leads to another one
            except Exception as error:  # noqa: BLE001 - all of it is told
                self.refused.append(f"{type(error).__name__}: {error}")
            else:
                next(self.done)
                self.so_far += 1


@contextmanager
def running(tasks: Iterable[Task]) -> Iterator[Load]:
    """Have each task done by a thread of its own while the block runs."""
    load = Load()
    threads = [threading.Thread(target=load.again_and_again, args=task) for task in tasks]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        load.ended.set()
        for thread in threads:
            thread.join()
