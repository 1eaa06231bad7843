# SPDX-License-Identifier: Apache-2.0
"""The Google tokens of one workload, kept fresh.

1. A token at hand never waits. Whoever asks for one starts a renewal that has become due; nobody waits for it.
2. Who finds none waits for one fetch, together with everybody else who asks for the same token.
3. While Google does not answer, tokens are served to the last half minute of their lives. Who finds none is told at once when to come
   back; one request at a time looks whether Google is there again (`outage`).
4. A refusal holds for some seconds, so that a workload that asks in a loop does not ask Google in a loop.
5. The number of tokens is bounded, and that of fetches under way: audiences and scopes come from callers (`shelf`). The access token of the
   exchanger's scopes does not count: it is always fetched.

See docs/reference/token-cache.md.
"""

import logging
import random
import threading
import time
import traceback
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar, final

from podpass.clock import Clock, SystemClock
from podpass.errors import ConfigError, ExchangeUnavailableError, PodpassError, UnexpectedAnswerError
from podpass.exchange.chain import Chain
from podpass.exchange.credential_config import CredentialConfig
from podpass.exchange.exchanger import Exchanger
from podpass.exchange.outage import LEAST_S
from podpass.exchange.schedule import CLOSED, EVER, NEVER, TokenSchedule
from podpass.exchange.shelf import Shelf
from podpass.exchange.slot import Perishable, Slot, again
from podpass.exchange.tokens import AccessToken, IdToken, Signature
from podpass.net.flights import Launch, Pool
from podpass.net.forks import survive
from podpass.net.tender import Tender
from podpass.sources.file import FileSource
from podpass.sources.source import SubjectTokenSource

P = TypeVar("P", bound=Perishable)

LOGGER: Final = logging.getLogger("podpass.exchange")

EXCHANGES: Final = Pool("podpass-exchange", 8)
PATIENCE_S: Final = 10.0
# In an outage who asks on behalf of all waits no longer than this; an exchange takes less.
_PATIENCE_IN_OUTAGE_S: Final = 2.0
_ENTRIES: Final = 64
# Of one workload: what waits in line for a thread any longer is given up by whoever asked.
_FLIGHTS: Final = 64
# Both go into a request, and stay in memory as long as the token.
_LIMIT_CHARS: Final = 2048
_LOOK_AGAIN: Final = timedelta(seconds=1)
_LOOK_ANYWAY: Final = timedelta(seconds=30)


@final
class WorkloadTokens:
    """Hands out the access tokens, ID tokens and signatures of one workload. Safe for threads, event loops and forks.

    Args:
        source: Where the subject token is read, anew for each exchange.
        exchanger: Trades it; is closed with this.
        clock: Tells the time.
        schedule: When to ask Google.
        background: Renew tokens also while nobody asks, with a thread for that. One that nobody has used since it came is left to end.
        patience_s: How long who finds no token waits for one at most.
        limit: How many ID tokens, and how many access tokens of other scopes, are kept.
        launch: Runs a fetch elsewhere.
        chance: Returns a number from 0 to 1.
        sleep: Waits on the thread of a fetch.
    """

    def __init__(  # noqa: PLR0913 - two are what it is made of, the others what tests and servers turn
        self,
        source: SubjectTokenSource,
        exchanger: Exchanger,
        *,
        clock: Clock | None = None,
        schedule: TokenSchedule | None = None,
        background: bool = False,
        patience_s: float = PATIENCE_S,
        limit: int = _ENTRIES,
        launch: Launch = EXCHANGES.launch,
        chance: Callable[[], float] = random.random,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.source = source
        self.exchanger = exchanger
        self._clock = clock or SystemClock()
        self._schedule = schedule or TokenSchedule()
        self._patience_s = patience_s
        self._launch = launch
        self._flights = 0
        self._chance = chance
        self._lock = threading.Lock()
        self._chain = Chain(source, exchanger, self._clock, self._schedule, chance, sleep)
        self._default = Slot("access token", self._chain.access_token)
        self._access: Shelf[tuple[str, ...], AccessToken] = Shelf(limit)
        self._id: Shelf[str, IdToken] = Shelf(limit)
        self._tender = Tender(lambda: (self,)) if background else None
        survive(self)

    @classmethod
    def from_config(cls, config: CredentialConfig, *, background: bool = False) -> Self:
        """Return the tokens of the workload that a credential configuration describes."""
        source = FileSource(Path(config.token_path), config.token_field, config.provider.audience)
        return cls(source, Exchanger.from_config(config), background=background)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<WorkloadTokens of {self.source}, {self.exchanger!r}>"

    def close(self) -> None:
        """Stop to renew tokens while nobody asks, and close every connection."""
        if self._tender is not None:
            self._tender.stop()
        self.exchanger.close()

    def access_token(self, scopes: tuple[str, ...] | None = None) -> AccessToken:
        """Return a token for Google's APIs; without scopes, one with the exchanger's.

        Raises:
            SourceUnavailableError: There is no subject token.
            ExchangeRefusedError, ImpersonationRefusedError: Google refused.
            ExchangeUnavailableError: There is none, and none can be had now; `retry_after_s` says when to ask again.
        """
        slot = self._access_slot(scopes)
        return slot.at_hand(self._clock.now()) or self._wait(slot)

    async def access_token_async(self, scopes: tuple[str, ...] | None = None) -> AccessToken:
        """Do as `access_token`, without keeping the event loop waiting."""
        slot = self._access_slot(scopes)
        return slot.at_hand(self._clock.now()) or await self._wait_async(slot)

    def renew(self, refused: AccessToken, scopes: tuple[str, ...] | None = None) -> AccessToken:
        """Return another access token, since Google has refused this one; the same where it came a moment ago or no other can be had.

        Raises:
            PodpassError: As for `access_token`.
        """
        from concurrent.futures import wait  # noqa: PLC0415 - whoever has a flight has imported it

        slot, now = self._access_slot(scopes), self._clock.now()
        with self._lock:
            if slot.held is not None and slot.held.value == refused.value and slot.age(now) >= self._schedule.refused:
                slot.fresh = CLOSED
            self._look_after(slot, now)
            flight = slot.flight
        if flight is not None:
            wait([flight], timeout=self._patience_now())
        return self.access_token(scopes)

    def id_token(self, audience: str) -> IdToken:
        """Return a token that tells `audience` which account is calling.

        Raises:
            ConfigError: There is no account to be, or the audience is empty or too long.
            PodpassError: As for `access_token`.
        """
        slot = self._id_slot(audience)
        return slot.at_hand(self._clock.now()) or self._wait(slot)

    async def id_token_async(self, audience: str) -> IdToken:
        """Do as `id_token`, without keeping the event loop waiting."""
        slot = self._id_slot(audience)
        return slot.at_hand(self._clock.now()) or await self._wait_async(slot)

    def sign(self, payload: bytes) -> Signature:
        """Return a signature by a key of the account, which Google keeps; each call asks Google, on the caller's thread.

        Raises:
            ConfigError: There is no account whose key it could be.
            PodpassError: As for `access_token`.
        """
        self.exchanger.account_for("A signature")
        try:
            return self._chain.sign(payload)
        except PodpassError as error:
            refusal = again(error)
        # Without the frames of the exchange: tools that show their variables would show the tokens in them.
        raise refusal

    async def sign_async(self, payload: bytes) -> Signature:
        """Do as `sign`, without keeping the event loop waiting."""
        import asyncio  # noqa: PLC0415 - who has no event loop does not need it

        return await asyncio.to_thread(self.sign, payload)

    def warm(self) -> None:
        """Begin to fetch the access token of the exchanger's scopes, unless it is at hand; wait for nobody, raise nothing."""
        with self._lock:
            self._look_after(self._default, self._clock.now())

    @property
    def is_warm(self) -> bool:
        """Whether that token is at hand."""
        return self._default.living(self._clock.now()) is not None

    def tend(self) -> timedelta:
        """Start the renewals that are due, of tokens that somebody uses, and return how long there is nothing to do."""
        now = self._clock.now()
        with self._lock:
            others = (slot for slot in (*self._access, *self._id) if slot.is_used and slot.living(now))
            slots = [self._default, *others]
            for slot in slots:
                self._look_after(slot, now)
            idle_until = min(NEVER if slot.flight else max(slot.quiet.until, slot.refused.until) for slot in slots)
        return max(min(idle_until, now + _LOOK_ANYWAY) - now, _LOOK_AGAIN)

    def wake_in_child(self) -> None:
        """Start anew after a fork; see `forks`. The tokens stay."""
        self._lock = threading.Lock()
        self._flights = 0
        self._chain.wake_in_child()
        for slot in (self._default, *self._access, *self._id):
            slot.flight, slot.quiet = None, CLOSED  # its plan counted on the parent's fetch

    def _access_slot(self, scopes: tuple[str, ...] | None) -> Slot[AccessToken]:
        if not scopes or scopes == self.exchanger.scopes:
            return self._default
        slot = self._access.get(scopes)
        if slot is None:
            _check_length("The scopes", " ".join(scopes))
            with self._lock:
                slot = self._access.add(scopes, Slot("access token", partial(self._chain.access_token, scopes)), self._clock.now())
        return slot

    def _id_slot(self, audience: str) -> Slot[IdToken]:
        slot = self._id.get(audience)
        if slot is None:
            self.exchanger.account_for("An ID token")
            _check_length("The audience", audience)
            with self._lock:
                slot = self._id.add(audience, Slot("ID token", partial(self._chain.id_token, audience)), self._clock.now())
        return slot

    def _wait(self, slot: Slot[P]) -> P:
        from concurrent.futures import wait  # noqa: PLC0415 - whoever has a flight has imported it

        try:
            return self._ask(slot)
        except ExchangeUnavailableError as error:
            if error.flight is None:
                raise
            flight = error.flight
        wait([flight], timeout=self._patience_now())
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

    def _patience_now(self) -> float:
        return min(self._patience_s, _PATIENCE_IN_OUTAGE_S) if self._chain.is_away(self._clock.now()) else self._patience_s

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
            outage = self._chain.trouble(now)
            error = outage.error(slot.name, now) if outage else _not_yet(slot)
            error.flight = slot.flight
            raise error

    def _look_after(self, slot: Slot[P], now: datetime) -> None:
        """Begin a fetch if one is due and may succeed."""
        outage = self._chain.blocking(now)
        if slot.flight is None and outage is None and slot.is_due(now):
            self._begin(slot, now)
        slot.plan(now, outage.pause.until if outage else EVER)

    def _begin(self, slot: Slot[P], now: datetime) -> None:
        if self._flights >= _FLIGHTS and slot is not self._default:
            return
        if self._tender is not None:
            self._tender.ensure()
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
            LOGGER.error("The exchange for the %s ended with %s at\n%s", slot.name, type(error).__name__, where)  # noqa: TRY400 - see above
            outcome = UnexpectedAnswerError(f"The exchange for the {slot.name} ended with {type(error).__name__}.")
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
        outage = self._chain.blocking(now)
        slot.plan(now, outage.pause.until if outage else EVER)


def _not_yet(slot: Slot[P]) -> ExchangeUnavailableError:
    why = "It is being fetched." if slot.flight else "Too many others are being fetched."
    return ExchangeUnavailableError(f"There is no {slot.name} at hand yet.", why, f"Ask again in {LEAST_S:.0f} s.", retry_after_s=LEAST_S)


def _check_length(what: str, text: str) -> None:
    if not 0 < len(text) <= _LIMIT_CHARS:
        raise ConfigError(
            f"{what} of a token cannot have {len(text)} characters.",
            "",
            f"Name 1 to {_LIMIT_CHARS} characters.",
            code="config.token-request",
        )
