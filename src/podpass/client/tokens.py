# SPDX-License-Identifier: Apache-2.0
"""The token of the moment, from a file that kubelet swaps or from a source that has to be asked.

`at_hand` never waits for the network; where it has nothing, `fetch` does, and waits. `renew` is for a token that a service has refused.
"""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from podpass.clock import Clock, seconds_by
from podpass.errors import MalformedTokenError, NeighbourError, SourceUnavailableError
from podpass.exchange.keeper import Keeper
from podpass.exchange.neighbour import Neighbour
from podpass.exchange.schedule import NEVER, TokenSchedule
from podpass.exchange.slot import Slot
from podpass.names import Secret
from podpass.net.flights import Pool
from podpass.net.forks import survive
from podpass.sources.file import FileSource
from podpass.sources.source import SubjectTokenSource
from podpass.verify import parse
from podpass.verify.audience import api_server_of

# kubelet swaps a file hours before its token ends; looking costs 2 us, and nobody needs it sooner than this.
_LOOK_AGAIN_S: Final = 1.0
_NEVER_S: Final = float("inf")
_RENEWALS: Final = Pool("podpass-tokens", 2)

_Fingerprint = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class _Held:
    """A token and its end, in seconds since 1970; one without `exp` (a legacy one) never ends."""

    token: Secret[str]
    ends_s: float


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


def tokens_of(source: SubjectTokenSource, clock: Clock, *, for_api_server: bool = False) -> "FileTokens | AskedTokens":
    """Return what keeps the tokens of a source."""
    return FileTokens(source, clock, for_api_server=for_api_server) if isinstance(source, FileSource) else AskedTokens(source, clock)


class FileTokens:
    """The token in a file: looked at once a second, read when it is another file.

    One that an API server takes as well is for nobody else: the pod's default token, named by mistake, would be a service's to use there.
    """

    def __init__(self, source: FileSource, clock: Clock, *, for_api_server: bool = False) -> None:
        self._source = source
        self._for_api_server = for_api_server
        self._seconds = seconds_by(clock)
        self._held: _Held | None = None
        self._seen: _Fingerprint | None = None
        self._looked_s = -_NEVER_S

    def at_hand(self) -> Secret[str]:
        """Return the token; see `Tokens`. A file never keeps anybody waiting."""
        now_s = self._seconds()
        held = self._held
        if held is None or now_s >= held.ends_s or not 0 <= now_s - self._looked_s < _LOOK_AGAIN_S:
            held = self._look(now_s)
        return held.token

    fetch = at_hand

    def renew(self, refused: Secret[str]) -> Secret[str] | None:
        """Read again; see `Tokens`."""
        held = self._look(self._seconds())
        return None if held.token == refused else held.token

    def _look(self, now_s: float) -> _Held:
        # Before the reading, so that a swap in between is seen the next time.
        seen = self._fingerprint()
        held = self._held
        if held is None or seen is None or seen != self._seen:
            held = _held(self._source.read(), f"{self._source.path} holds no token that can be read.", self._source.volume())
            if not self._for_api_server:
                _keep_from_services(held.token, self._source)
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


@dataclass(frozen=True, slots=True)
class _Fresh:
    """A token as `exchange.keeper` keeps it."""

    value: Secret[str]
    expires_at: datetime


class AskedTokens:
    """The token of a source that has to be asked, such as TokenRequest or the metadata server: kept as Google's tokens are, by `keeper`."""

    def __init__(self, source: SubjectTokenSource, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        # Such sources repeat their questions themselves, and kubelet's own measure is 80 %.
        schedule = TokenSchedule(renew_at=0.8, spread=0.0, trying=timedelta())
        self._neighbour = Neighbour(str(source), clock, schedule, random.random)
        self._keeper = Keeper(lambda _: (self._neighbour,), clock, schedule, _RENEWALS.launch)
        self._slot = Slot(f"token of {source}", self._read)
        survive(self)

    def at_hand(self) -> Secret[str] | None:
        """Return the token; see `Tokens`."""
        token = self._slot.at_hand(self._clock.now())
        return None if token is None else token.value

    def fetch(self) -> Secret[str]:
        """Return the token; see `Tokens`."""
        return self._keeper.get(self._slot).value

    def renew(self, refused: Secret[str]) -> Secret[str] | None:
        """Ask again; see `Tokens`."""
        try:
            token = self._keeper.renew(self._slot, refused).value
        except NeighbourError:
            return None
        return None if token == refused else token  # a metadata server keeps tokens, too

    def wake_in_child(self) -> None:
        """Start anew after a fork: what was under way is another process's."""
        self._neighbour.wake_in_child()
        self._slot.let_go()

    def _read(self) -> _Fresh:
        token = self._neighbour.ask(self._slot.name, self._source.read)
        held = _held(token, f"{self._source} gave no token that can be read.", "")
        return _Fresh(token, NEVER if held.ends_s == _NEVER_S else datetime.fromtimestamp(held.ends_s, UTC))


def _held(token: Secret[str], what: str, next_step: str) -> _Held:
    """Read when a token ends. Nothing else in it matters here: judging is the service's business."""
    try:
        ends = parse(token.reveal()).payload.get("exp")
    except MalformedTokenError as error:
        # Without a cause, and with the reason alone: nothing of the token may be seen.
        raise SourceUnavailableError(what, error.why, next_step, code="credential.no-token") from None
    return _Held(token, float(ends) if isinstance(ends, int | float) and not isinstance(ends, bool) else _NEVER_S)


def _keep_from_services(token: Secret[str], source: FileSource) -> None:
    claims = parse(token.reveal()).payload
    found = claims.get("aud")
    for audience in [found] if isinstance(found, str) else found if isinstance(found, list) else []:
        if why := api_server_of(str(audience), issuer=str(claims.get("iss"))):
            raise SourceUnavailableError(
                f"The token in {source.path} is not sent: it is good for an API server, too.",
                f"Its audience {audience!r} is {why}; whoever receives it could act there in this pod's name.",
                source.volume(),
                code="credential.api-audience",
            )
