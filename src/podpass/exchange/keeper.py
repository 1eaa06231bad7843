# SPDX-License-Identifier: Apache-2.0
"""Keeps tokens fresh, whatever they are and wherever they come from.

1. A token at hand never waits. Whoever asks for one starts a renewal that has become due; nobody waits for it.
2. Who finds none waits for one fetch, together with everybody else who asks for the same token.
3. While a neighbour does not answer, tokens are served to the last half minute of their lives. Who finds none is told at once when to come
   back; one request at a time looks whether the neighbour is there again (`neighbour`).
4. A refusal holds for some seconds, so that a workload that asks in a loop does not ask the neighbour in a loop.
5. The number of fetches under way is bounded.
"""

import logging
import random
import threading
import traceback
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, TypeVar, final

from podpass.clock import Clock
from podpass.errors import ExchangeUnavailableError, PodpassError, UnexpectedAnswerError
from podpass.exchange.neighbour import LEAST_S, Neighbour
from podpass.exchange.schedule import CLOSED, EVER, TokenSchedule
from podpass.exchange.slot import Perishable, Slot
from podpass.net.flights import Launch
from podpass.net.forks import survive

if TYPE_CHECKING:
    from concurrent.futures import Future

P = TypeVar("P", bound=Perishable)

LOGGER: Final = logging.getLogger("podpass.exchange")

PATIENCE_S: Final = 10.0
# In an outage who asks on behalf of all waits no longer than this; an exchange takes less.
_PATIENCE_IN_OUTAGE_S: Final = 2.0
# What waits in line for a thread any longer is given up by whoever asked.
_FLIGHTS: Final = 64


@final
class Keeper:
    """Looks after slots, which are its callers'. Safe for threads, event loops and forks.

    Args:
        neighbours: Returns those who are needed for a fetch at a moment.
        clock: Tells the time.
        schedule: When to ask.
        launch: Runs a fetch elsewhere.
        chance: Returns a number from 0 to 1.
        patience_s: How long who finds no token waits for one at most.
        on_fetch: Called before each fetch begins.
    """

    def __init__(
        self,
        neighbours: Callable[[datetime], Sequence[Neighbour]],
        clock: Clock,
        schedule: TokenSchedule,
        launch: Launch,
        *,
        chance: Callable[[], float] = random.random,
        patience_s: float = PATIENCE_S,
        on_fetch: Callable[[], None] = lambda: None,
    ) -> None:
        self._neighbours = neighbours
        self._clock = clock
        self._schedule = schedule
        self._launch = launch
        self._chance = chance
        self._patience_s = patience_s
        self._on_fetch = on_fetch
        self._lock = threading.Lock()
        self._flights = 0
        survive(self)

    def get(self, slot: Slot[P]) -> P:
        """Return the token; waits where there is none.

        Raises:
            PodpassError: Why there is none: the last refusal, or an `ExchangeUnavailableError` that says when to ask again.
        """
        return slot.at_hand(self._clock.now()) or self._wait(slot)

    async def get_async(self, slot: Slot[P]) -> P:
        """Do as `get`, without keeping the event loop waiting."""
        return slot.at_hand(self._clock.now()) or await self._wait_async(slot)

    def renew(self, slot: Slot[P], refused: object) -> P:
        """Return another token, since somebody has refused this value; the same where it came a moment ago or no other can be had."""
        now = self._clock.now()
        with self._lock:
            if slot.held is not None and slot.held.value == refused and slot.age(now) >= self._schedule.refused:
                slot.fresh = CLOSED
            self._look_after(slot, now)
            flight = slot.flight
        if flight is not None:
            self._await(flight)
        return self.get(slot)

    def look_after(self, slot: Slot[P]) -> None:
        """Begin a fetch if one is due and may succeed; wait for nobody, raise nothing."""
        with self._lock:
            self._look_after(slot, self._clock.now())

    def wake_in_child(self) -> None:
        """Start anew after a fork; see `forks`. The slots' owner has to let go of their flights."""
        self._lock, self._flights = threading.Lock(), 0

    def _wait(self, slot: Slot[P]) -> P:
        try:
            return self._ask(slot)
        except ExchangeUnavailableError as error:
            if error.flight is None:
                raise
            flight = error.flight
        self._await(flight)
        return self._ask(slot, may_begin=False)

    async def _wait_async(self, slot: Slot[P]) -> P:
        import asyncio  # noqa: PLC0415 - who has no event loop does not need it

        try:
            return self._ask(slot)
        except ExchangeUnavailableError as error:
            if error.flight is None:
                raise
            flight = error.flight
        # A task that is cancelled here leaves the flight to the others.
        await asyncio.wait([asyncio.shield(asyncio.wrap_future(flight))], timeout=self._patience_now())
        return self._ask(slot, may_begin=False)

    def _await(self, flight: "Future[object]") -> None:
        from concurrent.futures import wait  # noqa: PLC0415 - whoever has a flight has imported it

        wait([flight], timeout=self._patience_now())

    def _patience_now(self) -> float:
        is_away = any(neighbour.is_known for neighbour in self._neighbours(self._clock.now()))
        return min(self._patience_s, _PATIENCE_IN_OUTAGE_S) if is_away else self._patience_s

    def _ask(self, slot: Slot[P], *, may_begin: bool = True) -> P:
        """Return the token, or tell why there is none; the error's flight, if it has one, is the fetch that may bring it.

        Who has waited for a fetch takes what it brought, and begins no other.
        """
        now = self._clock.now()
        with self._lock:
            if may_begin:
                self._look_after(slot, now)
            if (token := slot.living(now)) is not None:
                return token
            if slot.flight is None and (refusal := slot.refusal()) is not None:
                raise refusal
            troubled = next((neighbour for neighbour in self._neighbours(now) if neighbour.is_troubled), None)
            error = troubled.error(slot.name, now) if troubled else _not_yet(slot)
            error.flight = slot.flight
            raise error

    def _look_after(self, slot: Slot[P], now: datetime) -> None:
        blocked_until = self._blocked_until(now)
        if slot.flight is None and blocked_until == EVER and slot.is_due(now):
            self._begin(slot, now)
        slot.plan(now, blocked_until)

    def _blocked_until(self, now: datetime) -> datetime:
        """Return until when every fetch is useless."""
        return next((neighbour.pause.until for neighbour in self._neighbours(now) if neighbour.blocks(now)), EVER)

    def _begin(self, slot: Slot[P], now: datetime) -> None:
        if self._flights >= _FLIGHTS and not slot.is_essential:
            return
        self._on_fetch()
        try:
            slot.flight = self._launch(lambda: self._fly(slot))
            self._flights += 1
            slot.refused, slot.refused_with = CLOSED, None
        except RuntimeError:  # the interpreter ends
            slot.refuse(UnexpectedAnswerError("No thread can be started any more."), now, self._schedule)

    def _fly(self, slot: Slot[P]) -> None:
        """Fetch a token and put it into its place; runs elsewhere, and never raises."""
        outcome: P | PodpassError
        try:
            outcome = slot.fetch()
        except PodpassError as error:
            outcome = error
        except BaseException as error:  # noqa: BLE001 - whatever it is, a cancelled task or an exit too, callers must not wait for ever
            # Where, but not with which words: they may hold what could not be understood.
            where = "".join(traceback.format_tb(error.__traceback__))
            LOGGER.error("The fetch of the %s ended with %s at\n%s", slot.name, type(error).__name__, where)  # noqa: TRY400 - see above
            outcome = UnexpectedAnswerError(f"The fetch of the {slot.name} ended with {type(error).__name__}.")
        with self._lock:
            slot.flight = None
            self._flights -= 1
            self._settle(slot, outcome, self._clock.now())

    def _settle(self, slot: Slot[P], outcome: P | PodpassError, now: datetime) -> None:
        if not isinstance(outcome, PodpassError):
            try:
                slot.take(outcome, now, self._schedule, self._chance())
            except UnexpectedAnswerError as error:
                outcome = error
        # An outage has told already, and says itself how long it holds.
        if isinstance(outcome, PodpassError) and not isinstance(outcome, ExchangeUnavailableError):
            LOGGER.warning("There is no new %s: %s", slot.name, outcome)
            slot.refuse(outcome, now, self._schedule)
        slot.plan(now, self._blocked_until(now))


def _not_yet(slot: Slot[P]) -> ExchangeUnavailableError:
    why = "It is being fetched." if slot.flight else "Too many others are being fetched."
    return ExchangeUnavailableError(f"There is no {slot.name} at hand yet.", why, f"Ask again in {LEAST_S:.0f} s.", retry_after_s=LEAST_S)
