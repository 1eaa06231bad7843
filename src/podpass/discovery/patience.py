# SPDX-License-Identifier: Apache-2.0
"""Waiting, for those who can: ask, and where the answer is on its way, wait for it once and ask again."""

from collections.abc import Callable
from typing import Final, TypeVar

from podpass.errors import UnavailableError

T = TypeVar("T")

# Longer than the deadline of whoever fetches (`web.DEADLINE_S`).
LIMIT_S: Final = 5.0


def patiently(ask: Callable[[], T], limit_s: float = LIMIT_S) -> T:
    """Call `ask`, which raises an `UnavailableError` with a flight where it could answer later; wait for that at most `limit_s`.

    Raises:
        UnavailableError: There is nothing to wait for, or the second answer is no better.
    """
    from concurrent.futures import wait  # noqa: PLC0415 - whoever has a flight has imported it

    try:
        return ask()
    except UnavailableError as error:
        if error.flight is None:
            raise
        flight = error.flight
    wait([flight], timeout=limit_s)
    return ask()


async def patiently_async(ask: Callable[[], T], limit_s: float = LIMIT_S) -> T:
    """Do as `patiently`, on an event loop; a task that is cancelled while it waits leaves the flight to the others."""
    import asyncio  # noqa: PLC0415 - who has no event loop does not need it

    try:
        return ask()
    except UnavailableError as error:
        if error.flight is None:
            raise
        flight = error.flight
    try:
        async with asyncio.timeout(limit_s):
            await asyncio.shield(asyncio.wrap_future(flight))
    except TimeoutError:
        pass  # the second answer says what is missing
    return ask()
