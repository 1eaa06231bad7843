# SPDX-License-Identifier: Apache-2.0
"""Who is in which group: asked of a directory, and remembered for a minute.

Like keys and reviews, answers are never waited for here: whoever lacks one gets the flight that brings it. One that is used while it is
half over is renewed in the background, so that callers who come often do not wait at all. An answer that is over is used no more.
"""

import logging
import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, final

import msgspec

from podpass.errors import GroupsUnavailableError, PodpassError
from podpass.names.quoting import quoted
from podpass.net.flights import Launch, Pool
from podpass.net.forks import survive

if TYPE_CHECKING:
    from concurrent.futures import Future

LOGGER: Final = logging.getLogger("podpass.discovery")

_GROUPS: Final = Pool("podpass-groups", 4)

# Who leaves a group is out within it.
LIFE: Final = timedelta(seconds=60)
_ANSWERS: Final = 4096
_FLIGHTS: Final = 64
# After a question that brought no answer, for all groups.
_PAUSE: Final = timedelta(seconds=2)
_SOON: Final = timedelta(seconds=1)

_Key = tuple[str, str]


class Directory(Protocol):
    """Knows groups; `str` names it for people."""

    def has_member(self, group: str, email: str) -> bool:
        """Tell whether an account is in a group, directly or by way of other groups; both by email.

        Raises:
            PodpassError: It cannot be found out.
        """
        ...


@final
class _Answer(msgspec.Struct, frozen=True):
    asked_at: datetime
    is_member: bool


@final
class GroupLookup:
    """Asks one directory. Safe for threads, and after a fork.

    Args:
        directory: Asks.
        launch: Runs a question elsewhere.
    """

    def __init__(self, directory: Directory, *, launch: Launch = _GROUPS.launch) -> None:
        self._directory = directory
        self._launch = launch
        self._lock = threading.Lock()
        self._answers: dict[_Key, _Answer] = {}
        self._flights: dict[_Key, Future[object]] = {}
        self._failed_at: datetime | None = None
        self._trouble = ""
        survive(self)

    def is_member(self, email: str, groups: Sequence[str], *, now: datetime) -> bool:
        """Tell whether an account is in one of the groups. Does not wait.

        Raises:
            GroupsUnavailableError: It is in none of those that are known, and not all are. The flight, if there is one, brings an answer.
        """
        unknown = None
        for group in groups:
            answer = self._known(group, email, now)
            if answer is None:
                unknown = unknown or group
            elif answer.is_member:
                return True
        if unknown is None:
            return False
        with self._lock:
            flight = self._ask((unknown, email), now)
            after = _SOON if flight else max(self._paused(now), _SOON)
        raise GroupsUnavailableError(
            f"{self._directory} has not said lately who is in the group {quoted(unknown)}.",
            self._trouble,
            retry_after_s=after.total_seconds(),
            flight=flight,
        )

    def _known(self, group: str, email: str, now: datetime) -> _Answer | None:
        answer = self._answers.get((group, email))
        age = LIFE if answer is None else now - answer.asked_at
        if not timedelta() <= age < LIFE:
            return None
        if age > LIFE / 2:
            with self._lock:
                self._ask((group, email), now)
        return answer

    def _paused(self, now: datetime) -> timedelta:
        return timedelta() if self._failed_at is None or now < self._failed_at else self._failed_at + _PAUSE - now

    def _ask(self, key: _Key, now: datetime) -> "Future[object] | None":
        """Return the flight that brings an answer, a new one where there is none yet; None where nobody may ask now."""
        flight = self._flights.get(key)
        if flight is not None or self._paused(now) > timedelta() or len(self._flights) >= _FLIGHTS:
            return flight
        try:
            flight = self._launch(partial(self._fly, key, now))
        except RuntimeError:  # the interpreter ends
            return None
        self._flights[key] = flight
        return flight

    def _fly(self, key: _Key, now: datetime) -> None:
        """Ask; runs elsewhere, and never raises."""
        answer, trouble = None, ""
        try:
            answer = _Answer(now, self._directory.has_member(*key))
        except PodpassError as error:
            trouble = str(error)
            LOGGER.warning("%s could not be asked about the group %s: %s", self._directory, key[0], trouble)
        except Exception as error:
            LOGGER.exception("%s could not be asked about the group %s", self._directory, key[0])
            trouble = f"The question ended with {type(error).__name__}."
        with self._lock:
            self._flights.pop(key, None)
            self._trouble, self._failed_at = trouble, None if answer else now
            if answer:
                self._keep(key, answer, now)

    def _keep(self, key: _Key, answer: _Answer, now: datetime) -> None:
        """Remember an answer; where there are too many, first those that are over, then the oldest, go."""
        self._answers.pop(key, None)
        if len(self._answers) >= _ANSWERS:
            self._answers = {other: kept for other, kept in self._answers.items() if now - kept.asked_at < LIFE}
        if len(self._answers) >= _ANSWERS:
            del self._answers[next(iter(self._answers))]
        self._answers[key] = answer

    def wake_in_child(self) -> None:
        """Start anew after a fork; see `forks`."""
        self._lock = threading.Lock()
        self._flights = {}
