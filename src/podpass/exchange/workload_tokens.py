# SPDX-License-Identifier: Apache-2.0
"""The Google tokens of one workload, kept fresh (`keeper`).

The number of tokens is bounded: audiences and scopes come from callers (`shelf`). The access token of the exchanger's scopes does not
count: it is always fetched.

See docs/reference/token-cache.md.
"""

import random
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, final

from podpass.clock import Clock, SystemClock
from podpass.errors import ConfigError, PodpassError
from podpass.exchange.chain import Chain
from podpass.exchange.credential_config import CredentialConfig
from podpass.exchange.exchanger import Exchanger
from podpass.exchange.keeper import PATIENCE_S, Keeper
from podpass.exchange.schedule import NEVER, TokenSchedule
from podpass.exchange.shelf import Shelf
from podpass.exchange.slot import Slot, again
from podpass.exchange.tokens import AccessToken, IdToken, Signature
from podpass.net.flights import Launch, Pool
from podpass.net.forks import survive
from podpass.net.tender import Tender
from podpass.sources.file import FileSource
from podpass.sources.source import SubjectTokenSource

EXCHANGES: Final = Pool("podpass-exchange", 8)
_ENTRIES: Final = 64
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
        schedule = schedule or TokenSchedule()
        self._lock = threading.Lock()  # of the shelves
        self._tender = Tender(lambda: (self,)) if background else None
        self._chain = Chain(source, exchanger, self._clock, schedule, chance, sleep)
        self._keeper = Keeper(
            self._chain.neighbours,
            self._clock,
            schedule,
            launch,
            chance=chance,
            patience_s=patience_s,
            on_fetch=self._tender.ensure if self._tender else lambda: None,
        )
        self._default = Slot("access token", self._chain.access_token, is_essential=True)
        self._access: Shelf[tuple[str, ...], AccessToken] = Shelf(limit)
        self._id: Shelf[str, IdToken] = Shelf(limit)
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
        return self._keeper.get(self._access_slot(scopes))

    async def access_token_async(self, scopes: tuple[str, ...] | None = None) -> AccessToken:
        """Do as `access_token`, without keeping the event loop waiting."""
        return await self._keeper.get_async(self._access_slot(scopes))

    def renew(self, refused: AccessToken, scopes: tuple[str, ...] | None = None) -> AccessToken:
        """Return another access token, since Google has refused this one; the same where it came a moment ago or no other can be had.

        Raises:
            PodpassError: As for `access_token`.
        """
        return self._keeper.renew(self._access_slot(scopes), refused.value)

    def id_token(self, audience: str) -> IdToken:
        """Return a token that tells `audience` which account is calling.

        Raises:
            ConfigError: There is no account to be, or the audience is empty or too long.
            PodpassError: As for `access_token`.
        """
        return self._keeper.get(self._id_slot(audience))

    async def id_token_async(self, audience: str) -> IdToken:
        """Do as `id_token`, without keeping the event loop waiting."""
        return await self._keeper.get_async(self._id_slot(audience))

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
        self._keeper.look_after(self._default)

    @property
    def is_warm(self) -> bool:
        """Whether that token is at hand."""
        return self._default.living(self._clock.now()) is not None

    def tend(self) -> timedelta:
        """Start the renewals that are due, of tokens that somebody uses, and return how long there is nothing to do."""
        now = self._clock.now()
        used = [slot for slot in (*self._access, *self._id) if slot.is_used and slot.living(now)]
        slots: list[Slot[Any]] = [self._default, *used]
        for slot in slots:
            self._keeper.look_after(slot)
        idle_until = min(NEVER if slot.flight else max(slot.quiet.until, slot.refused.until) for slot in slots)
        return max(min(idle_until, now + _LOOK_ANYWAY) - now, _LOOK_AGAIN)

    def wake_in_child(self) -> None:
        """Start anew after a fork; see `forks`. The tokens stay."""
        self._lock = threading.Lock()
        self._chain.wake_in_child()
        for slot in (self._default, *self._access, *self._id):
            slot.let_go()

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


def _check_length(what: str, text: str) -> None:
    if not 0 < len(text) <= _LIMIT_CHARS:
        raise ConfigError(
            f"{what} of a token cannot have {len(text)} characters.",
            "",
            f"Name 1 to {_LIMIT_CHARS} characters.",
            code="config.token-request",
        )
