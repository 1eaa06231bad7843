# SPDX-License-Identifier: Apache-2.0
"""The keys of one issuer, kept fresh.

1. A known key never waits. Whoever asks for one starts a fetch that has become due; nobody waits for it.
2. An unknown key id starts one fetch for everybody, at most one in each cooldown. It is refused (401) only when a fetch that began after
   it was first asked for came back without it. Until then nobody can tell (503, with the time to come back).
3. A fetch that fails changes nothing but the time of the next one. A set that cannot be used is such a failure.
4. Keys that were not confirmed for the stale limit are dropped: from then on nobody can tell (503).

Each use is the heartbeat; a thread of its own is not needed (`tender` is for services that idle). What callers read is one frozen value,
exchanged as a whole, so that reading takes no lock.
"""

import logging
import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from math import inf
from typing import TYPE_CHECKING, Final, final

import msgspec.structs

from podpass.clock import Clock, SystemClock, seconds_by
from podpass.discovery.origin import KeyOrigin, Published
from podpass.discovery.schedule import Schedule
from podpass.discovery.wanted import WantedKids
from podpass.errors import KeysUnavailableError, PodpassError, UnknownKeyError
from podpass.names.quoting import quoted
from podpass.net.flights import Launch, Pool
from podpass.net.forks import survive
from podpass.verify import KeySet, VerificationKey

if TYPE_CHECKING:
    from concurrent.futures import Future

LOGGER: Final = logging.getLogger("podpass.discovery")

_KEYS: Final = Pool("podpass-keys", 4)

_generations: Final = count(1)
_EVER: Final = datetime.min.replace(tzinfo=UTC)
_NEVER: Final = datetime.max.replace(tzinfo=UTC)
# A clock that is this much behind was set back; less is two threads overtaking each other.
_SET_BACK: Final = timedelta(seconds=60)
_ON_ITS_WAY_S: Final = 1.0
_LOOK_AGAIN: Final = timedelta(seconds=_ON_ITS_WAY_S)


@final
class _State(msgspec.Struct, frozen=True):
    """What is known of the issuer.

    Attributes:
        keys: None before the first fetch, and after the stale limit.
        fetch: Number of the fetch that brought them.
        confirmed_at: When that fetch began.
        generation: Differs from that of every other set of keys in this process.
    """

    keys: KeySet | None
    fetch: int
    confirmed_at: datetime
    generation: int


@final
class KeyCache:
    """The keys of one issuer; see above. Safe for threads, and after a fork.

    Args:
        origin: Fetches them.
        clock: Tells the time.
        schedule: When to fetch.
        launch: Runs a fetch elsewhere.
        chance: Returns a number from 0 to 1.
        on_beat: Called now and then by whoever uses the cache: a few times an hour, and after a fork.
    """

    def __init__(
        self,
        origin: KeyOrigin,
        *,
        clock: Clock | None = None,
        schedule: Schedule | None = None,
        launch: Launch = _KEYS.launch,
        chance: Callable[[], float] = random.random,
        on_beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._origin = origin
        self._clock = clock or SystemClock()
        self._schedule = schedule or Schedule()
        self._launch = launch
        self._chance = chance
        self._on_beat = on_beat
        self._state = _State(None, 0, _EVER, next(_generations))
        self._lock = threading.Lock()
        self._flight: Future[object] | None = None
        self._wanted = WantedKids()
        self._begun = 0  # fetches
        self._failures = 0  # in a row
        self._trouble = ""
        self._due_at = _EVER
        self._searched_at = _EVER  # when a fetch began for a key id that nobody knew
        # Between these two moments there is nothing to do but to answer.
        self._quiet_from, self._quiet_until = _NEVER, _EVER
        # The same in seconds, for who asks on each request; a moment of quiet that is not known as one only costs a look.
        self._seconds = seconds_by(self._clock)
        self._calm_from_s, self._calm_until_s = inf, -inf
        survive(self)

    @property
    def generation(self) -> int:
        """A number that changes whenever keys are added, removed or dropped. Reading it is a heartbeat."""
        if not self._calm_from_s <= self._seconds() < self._calm_until_s:
            self._beat()
        return self._state.generation

    def known(self) -> KeySet | None:
        """Return the keys at hand; None where there are none, or none young enough. Then, and only then, it is a heartbeat."""
        state = self._state
        if state.keys is None:
            self._beat()
        elif self._clock.now() - state.confirmed_at < self._schedule.stale_limit:
            return state.keys
        return None

    def find(self, kid: str | None) -> VerificationKey:
        """Return the key that a token names, without waiting.

        Raises:
            UnknownKeyError: The issuer has no such key, as far as it was asked lately; or the token names none, and there are several.
            KeysUnavailableError: Nobody can tell now. Its flight, if it has one, is the fetch that may tell.
        """
        now = self._beat()
        state = self._state
        if state.keys is None:
            with self._lock:
                raise self._unavailable(now)
        if kid is None:
            return state.keys.find(None)
        key = state.keys.keys.get(kid)
        return self._search(kid, now) if key is None else key

    def tend(self) -> timedelta:
        """Start a fetch if one is due, and return how long there is nothing to do, as far as it is known now."""
        now = self._beat()
        quiet = max(self._quiet_until - now, timedelta())
        return quiet if self._flight is None else min(quiet, _LOOK_AGAIN)

    def __repr__(self) -> str:
        return f"<KeyCache {self._origin}>"

    def _beat(self) -> datetime:
        """Do what is due, if anything is; return the moment."""
        now = self._clock.now()
        if not self._quiet_from <= now < self._quiet_until:
            self._on_beat()
            with self._lock:
                self._look_after(now)
        return now

    def _look_after(self, now: datetime) -> None:
        state = self._state
        if state.keys is not None and now - state.confirmed_at >= self._schedule.stale_limit:
            LOGGER.error(
                "The keys of issuer %s were not confirmed for %s and are not used any more", self._origin, self._schedule.stale_limit
            )
            self._state = _State(None, state.fetch, state.confirmed_at, next(_generations))
        if now < self._quiet_from and self._quiet_from != _NEVER:  # set back: what was planned lies too far ahead
            self._due_at = self._searched_at = _EVER
            # So does the moment of the last confirmation, and with it the stale limit. It is as old as it has to be to accuse nobody.
            confirmed_at = min(self._state.confirmed_at, now - self._schedule.cooldown)
            self._state = msgspec.structs.replace(self._state, confirmed_at=confirmed_at)
        if self._flight is None and now >= self._due_at:
            self._begin(now)
        self._plan(now)

    def _plan(self, now: datetime) -> None:
        """Tell when there is something to do next."""
        state = self._state
        dropped_at = _NEVER if state.keys is None else state.confirmed_at + self._schedule.stale_limit
        self._quiet_until = min(dropped_at, _NEVER if self._flight else self._due_at)
        self._quiet_from = now - _SET_BACK
        self._calm_from_s, self._calm_until_s = self._quiet_from.timestamp(), self._quiet_until.timestamp()

    def _search(self, kid: str, now: datetime) -> VerificationKey:
        """Find a key that was not there a moment ago."""
        with self._lock:
            state = self._state
            if state.keys is None:
                raise self._unavailable(now)
            if (key := state.keys.keys.get(kid)) is not None:
                return key
            if self._is_absent(kid, now):
                raise self._unknown(kid, state.keys, now - state.confirmed_at)
            if self._flight is None and now >= self._search_from(now):
                self._searched_at = now
                self._begin(now)
                self._plan(now)
            raise self._unavailable(
                now, f"No key with kid {quoted(kid)} is known of it, and it was not asked since that kid was first seen."
            )

    def _is_absent(self, kid: str, now: datetime) -> bool:
        """Tell whether a recent fetch, begun after `kid` was first asked for, came without it; if not, note that it is wanted."""
        since = self._wanted.since(kid)
        is_newer = since is not None and self._state.fetch > since
        if is_newer and timedelta() <= now - self._state.confirmed_at < self._schedule.cooldown:
            return True
        if since is None or is_newer:
            self._wanted.note(kid, self._begun)
        return False

    def _search_from(self, now: datetime) -> datetime:
        """Return from when a search may begin: after the cooldown, and after the pause that failures cost."""
        cool_at = self._searched_at + self._schedule.cooldown if self._searched_at <= now else now
        return max(cool_at, self._due_at) if self._failures else cool_at

    def _unavailable(self, now: datetime, why: str = "") -> KeysUnavailableError:
        if self._flight is not None:
            after_s = _ON_ITS_WAY_S
        else:
            begin_at = self._due_at if self._state.keys is None else self._search_from(now)
            after_s = max((begin_at - now).total_seconds(), _ON_ITS_WAY_S)
        return KeysUnavailableError(
            f"The keys of issuer {self._origin} cannot be had now.",
            " ".join(sentence for sentence in (why, self._trouble) if sentence),
            f"Ask again in {after_s:.0f} s.",
            retry_after_s=after_s,
            flight=self._flight,
        )

    def _unknown(self, kid: str, keys: KeySet, age: timedelta) -> UnknownKeyError:
        number = f"{len(keys.keys)} key{'' if len(keys.keys) == 1 else 's'}, fetched {age.total_seconds():.0f} s ago"
        return UnknownKeyError(
            f"No key with kid {quoted(kid)} is published by issuer {self._origin} ({number}).",
            "The token comes from another cluster, or the cluster has a new signing key and the published JWKS is older.",
            "Publish the cluster's present keys; run `podpass doctor` to compare the two.",
        )

    def _begin(self, now: datetime) -> None:
        self._begun += 1
        number = self._begun
        try:
            self._flight = self._launch(lambda: self._fly(number, now))
        except RuntimeError:  # the interpreter ends
            self._fail(now, "No thread can be started any more.")

    def _fly(self, number: int, begun_at: datetime) -> None:
        """Fetch; runs elsewhere, and never raises."""
        published, trouble = None, ""
        try:
            published = self._origin.fetch(begun_at)
        except PodpassError as error:
            trouble = str(error)
        except Exception as error:
            LOGGER.exception("The keys of issuer %s could not be fetched", self._origin)
            trouble = f"The fetch ended with {type(error).__name__}."
        with self._lock:
            self._flight = None
            if published is None:
                self._fail(begun_at, trouble)
            else:
                self._take(published, number, begun_at)
            self._plan(begun_at)

    def _take(self, published: Published, number: int, begun_at: datetime) -> None:
        old = self._state
        is_same = old.keys is not None and old.keys.keys == published.keys.keys
        if not is_same:
            LOGGER.info("Issuer %s publishes the keys %s", self._origin, ", ".join(map(quoted, published.keys.keys)))
        self._state = _State(published.keys, number, begun_at, old.generation if is_same else next(_generations))
        self._due_at = begun_at + self._schedule.refresh_after(published.max_age, self._chance())
        self._failures, self._trouble = 0, ""

    def _fail(self, begun_at: datetime, trouble: str) -> None:
        self._failures += 1
        self._trouble = trouble
        # Not from `begun_at`: a fetch may take longer than the pause.
        self._due_at = max(begun_at, self._clock.now()) + self._schedule.pause_after(self._failures, self._chance())
        LOGGER.warning("The keys of issuer %s could not be fetched (%d in a row): %s", self._origin, self._failures, trouble)

    def wake_in_child(self) -> None:
        """Start anew after a fork; see `forks`. The keys stay."""
        self._lock = threading.Lock()
        self._flight = None
        self._quiet_until, self._calm_until_s = _EVER, -inf
