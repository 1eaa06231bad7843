# SPDX-License-Identifier: Apache-2.0
"""Starts threads where the caller may hold a lock."""

import _thread
import threading
from collections.abc import Callable


def start(work: Callable[[], object], name: str) -> None:
    """Run work on a thread that no program waits for when it ends.

    `Thread.start` waits until the thread runs, and so lets another greenlet run where gevent has patched the process. That one may want the
    caller's lock, which keeps greenlets apart only if it was made after the patches: not in a server that forks before.

    Raises:
        RuntimeError: The machine gives no more threads, or the interpreter is about to end.
    """
    thread = threading.Thread(target=work, name=name, daemon=True)

    def begin() -> None:
        try:
            thread.start()
        except RuntimeError:  # no second one: this one will do
            work()

    _thread.start_new_thread(begin, ())
