# SPDX-License-Identifier: Apache-2.0
"""What has to start anew in a child after a fork: threads are gone there, what they were about never ends, and locks may stay locked."""

import os
import weakref
from typing import Final, Protocol


class Survivor(Protocol):
    """Something that is used on both sides of a fork."""

    def wake_in_child(self) -> None:
        """Let go of locks and of what is under way: both belong to threads of another process."""
        ...


def survive(survivor: Survivor) -> None:
    """See to it that `wake_in_child` is called in children, as long as the object lives."""
    _survivors.add(survivor)


def _wake() -> None:
    for survivor in list(_survivors):
        survivor.wake_in_child()


_survivors: Final = weakref.WeakSet[Survivor]()
os.register_at_fork(after_in_child=_wake)
