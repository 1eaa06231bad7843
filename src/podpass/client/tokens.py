# SPDX-License-Identifier: Apache-2.0
"""The token of the moment, from a file that kubelet swaps or from a source that has to be asked.

`at_hand` never waits for the network; where it has nothing, `fetch` does, and waits. `renew` is for a token that a service has refused.
"""

import logging
import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final, Protocol

from podpass.clock import Clock
from podpass.errors import MalformedTokenError, NeighbourError, PodpassError, SourceUnavailableError
from podpass.names import Secret
from podpass.net.flights import Pool
from podpass.net.forks import survive
from podpass.sources.file import FileSource
from podpass.sources.source import SubjectTokenSource
from podpass.verify import parse

LOGGER: Final = logging.getLogger("podpass.client")

# kubelet swaps a file hours before its token ends; looking costs 2 us, and nobody needs it sooner than this.
_LOOK_AGAIN_S: Final = 1.0
# A service that refuses every token must not make each call another TokenRequest, nor a source that fails be asked at each call.
_PAUSE_S: Final = 10.0
# kubelet's own measure.
_RENEW_AT: Final = 0.8
# A request that is on its way must not outlive its token.
_LAST_S: Final = 30.0
_NEVER_S: Final = float("inf")
_RENEWALS: Final = Pool("podpass-tokens", 2)

_Fingerprint = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class _Held:
    """A token and its times, in seconds since 1970; one without `exp` (a legacy one) never ends."""

    token: Secret[str]
    taken_s: float
    ends_s: float

    @property
    def renewable_s(self) -> float:
        """When most of its life is over."""
        return self.taken_s + _RENEW_AT * (self.ends_s - self.taken_s)


class Tokens(Protocol):
    """Where a client finds its token. Safe for threads."""

    def at_hand(self) -> Secret[str] | None:
        """Return the token without waiting; None where it has to be fetched.

        Raises:
            SourceUnavailableError: There is none.
        """
        ...

    def fetch(self) -> Secret[str]:
        """Return the token; waits where there is none at hand.

        Raises:
            SourceUnavailableError: There is none.
            NeighbourError: It cannot be had now.
        """
        ...

    def renew(self, refused: Secret[str]) -> Secret[str] | None:
        """Read again, since a service has refused this one; None where there is no other. May wait.

        Raises:
            SourceUnavailableError: There is none any more.
        """
        ...


def tokens_of(source: SubjectTokenSource, clock: Clock) -> "FileTokens | AskedTokens":
    """Return what keeps the tokens of a source."""
    return FileTokens(source, clock) if isinstance(source, FileSource) else AskedTokens(source, clock)


class FileTokens:
    """The token in a file: looked at once a second, read when it is another file."""

    def __init__(self, source: FileSource, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._held: _Held | None = None
        self._seen: _Fingerprint | None = None
        self._looked_s = -_NEVER_S

    def at_hand(self) -> Secret[str]:
        """Return the token; see `Tokens`. A file never keeps anybody waiting."""
        now_s = self._clock.now().timestamp()
        held = self._held
        if held is None or now_s >= held.ends_s or not 0 <= now_s - self._looked_s < _LOOK_AGAIN_S:
            held = self._look(now_s)
        return held.token

    fetch = at_hand

    def renew(self, refused: Secret[str]) -> Secret[str] | None:
        """Read again; see `Tokens`."""
        held = self._look(self._clock.now().timestamp())
        return None if held.token == refused else held.token

    def _look(self, now_s: float) -> _Held:
        # Before the reading, so that a swap in between is seen the next time.
        seen = self._fingerprint()
        held = self._held
        if held is None or seen is None or seen != self._seen:
            held = _held(self._source.read(), now_s, f"{self._source.path} holds no token that can be read.", self._source.volume())
            self._held, self._seen = held, seen
        self._looked_s = now_s
        if now_s >= held.ends_s:
            raise self._expired(held, now_s)
        return held

    def _fingerprint(self) -> _Fingerprint | None:
        """Return what changes when kubelet points the link to another folder; None where reading will say what is wrong."""
        try:
            found = self._source.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size

    def _expired(self, held: _Held, now_s: float) -> SourceUnavailableError:
        ended = f"{datetime.fromtimestamp(held.ends_s, UTC):%Y-%m-%d %H:%M:%S} UTC, {now_s - held.ends_s:.0f} s ago"
        return SourceUnavailableError(
            f"There is no subject token: the one in {self._source.path} ended at {ended}.",
            "kubelet renews a projected token at 80 % of its life, but neither a copy of it nor a file that is mounted with subPath.",
            self._source.volume(),
            code="credential.token-expired",
        )


class AskedTokens:
    """The token of a source that has to be asked, such as TokenRequest or the metadata server.

    Kept until it ends. At 80 % of its life a thread asks for the next one, while requests go on with this one. Only the first token, and
    one that is wanted when the last is about to end, keep requests waiting, and then one of them asks for all.
    """

    def __init__(self, source: SubjectTokenSource, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._held: _Held | None = None
        self._tried_s = -_NEVER_S
        self._failure: NeighbourError | None = None
        self._failures = 0
        self._asking = threading.Lock()
        survive(self)

    def at_hand(self) -> Secret[str] | None:
        """Return the token; see `Tokens`."""
        held = self._held
        now_s = self._now_s()
        if held is None or not held.taken_s <= now_s < held.ends_s:
            return None
        if now_s < held.renewable_s or self._was_tried(now_s):
            return held.token
        if now_s >= held.ends_s - _LAST_S:
            return None
        self._tried_s = now_s
        with suppress(RuntimeError):  # the interpreter is about to end
            _RENEWALS.launch(partial(self._replace, held))
        return held.token

    def fetch(self) -> Secret[str]:
        """Return the token; see `Tokens`. One that has not ended yet is better than none."""
        failures = self._failures
        with self._asking:
            if (token := self.at_hand()) is not None:
                return token
            if self._failure is not None and self._failures > failures:
                raise self._failure.with_traceback(None)  # of somebody who asked while this thread waited
            held, now_s = self._held, self._now_s()
            try:
                return self._ask(now_s)
            except NeighbourError as error:
                self._failure, self._failures = error, self._failures + 1
                if held is None or now_s >= held.ends_s:
                    raise
                LOGGER.warning("The token of %s could not be renewed: %s", self._source, error)
                return held.token

    def renew(self, refused: Secret[str]) -> Secret[str] | None:
        """Ask again; see `Tokens`."""
        with self._asking:
            held, now_s = self._held, self._now_s()
            if held is not None and held.token != refused:
                return held.token
            if held is not None and 0 <= now_s - held.taken_s < _PAUSE_S:
                return None
            try:
                token = self._ask(now_s)
            except NeighbourError as error:
                LOGGER.warning("The token of %s could not be renewed: %s", self._source, error)
                return None
            return None if token == refused else token  # a metadata server keeps tokens, too

    def wake_in_child(self) -> None:
        """Start anew after a fork: whoever held the lock is a thread of another process."""
        self._asking = threading.Lock()

    def _replace(self, held: _Held) -> None:
        with self._asking:
            if self._held is not held:
                return
            try:
                self._ask(self._now_s())
            except PodpassError as error:
                LOGGER.warning("The token of %s could not be renewed: %s", self._source, error)

    def _ask(self, now_s: float) -> Secret[str]:
        self._tried_s = now_s
        held = _held(self._source.read(), now_s, f"{self._source} gave no token that can be read.", "")
        if now_s >= held.ends_s:
            raise SourceUnavailableError(f"{self._source} gave a token that has ended.", "", "Compare the clocks of here and there.")
        self._held = held
        return held.token

    def _was_tried(self, now_s: float) -> bool:
        return 0 <= now_s - self._tried_s < _PAUSE_S

    def _now_s(self) -> float:
        return self._clock.now().timestamp()


def _held(token: Secret[str], now_s: float, what: str, next_step: str) -> _Held:
    """Read when a token ends. Nothing else in it matters here: judging is the service's business."""
    try:
        ends = parse(token.reveal()).payload.get("exp")
    except MalformedTokenError as error:
        # Without a cause, and with the reason alone: nothing of the token may be seen.
        raise SourceUnavailableError(what, error.why, next_step, code="credential.no-token") from None
    return _Held(token, now_s, float(ends) if isinstance(ends, int | float) and not isinstance(ends, bool) else _NEVER_S)
