# SPDX-License-Identifier: Apache-2.0
"""What has to start anew in a child after a fork: threads are gone there, what they were about never ends, and locks may stay locked."""

import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

# Longer than any such piece of work takes; a fork that waits for ever would be worse than one at a bad moment.
_FORK_WAITS_S: Final = 10.0


class Survivor(Protocol):
    """Something that is used on both sides of a fork."""

    def wake_in_child(self) -> None:
        """Let go of locks and of what is under way: both belong to threads of another process."""
        ...


def survive(survivor: Survivor) -> None:
    """See to it that `wake_in_child` is called in children, as long as the object lives."""
    _survivors.add(survivor)


@contextmanager
def unforked() -> Iterator[None]:
    """Keep the process from forking meanwhile, for work of some milliseconds on a thread that holds a lock of a C library.

    OpenSSL does so while it reads authorities; the lock would stay locked in the child, and whoever wants it would wait for ever.
    """
    with _gate:
        yield


def _close() -> None:
    global _is_closed  # noqa: PLW0603 - there is one process, and its hooks take no arguments
    _is_closed = _gate.acquire(timeout=_FORK_WAITS_S)


def _open() -> None:
    if _is_closed:
        _gate.release()


def _wake() -> None:
    global _gate  # noqa: PLW0603 - as above
    _gate = threading.Lock()
    for survivor in list(_survivors):
        survivor.wake_in_child()


_gate = threading.Lock()
_is_closed = False
_survivors: Final = weakref.WeakSet[Survivor]()
os.register_at_fork(before=_close, after_in_parent=_open, after_in_child=_wake)
