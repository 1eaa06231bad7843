# SPDX-License-Identifier: Apache-2.0
"""The place of one token: the token while it lives, or why there is none."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar, final

from podpass.errors import PodpassError, SourceUnavailableError, UnexpectedAnswerError
from podpass.exchange.schedule import CLOSED, EVER, NEVER, TokenSchedule, Window
from podpass.names import Secret

if TYPE_CHECKING:
    from concurrent.futures import Future

# A missing file costs nothing to look for; kubelet may be about to bring it.
_SOURCE_PAUSE: Final = timedelta(seconds=1)


class Perishable(Protocol):
    """A token, whose end is known."""

    @property
    def value(self) -> Secret[str]:
        """The token."""
        ...

    @property
    def expires_at(self) -> datetime:
        """The moment."""
        ...


T = TypeVar("T", bound=Perishable)


@final
class Slot(Generic[T]):
    """A token and its times. Not safe for threads: its owner has a lock; only `at_hand` needs none.

    Attributes:
        name: What it holds, for people: `access token`.
        fetch: Gets a new one; waits for the network.
        is_essential: Whether it is fetched however many others are being fetched.
        held: The token; may have ended.
        ends_at: When it is not handed out any more.
        fresh: While no new one is due.
        refused: While the last refusal holds; who asks then is told `refused_with`.
        refused_with: The last refusal, until the next fetch.
        quiet: While there is nothing to do but to hand it out.
        flight: The fetch that is under way.
        used_at: When it was last asked for.
    """

    __slots__ = (
        "_fetched_at",
        "ends_at",
        "fetch",
        "flight",
        "fresh",
        "held",
        "is_essential",
        "name",
        "quiet",
        "refused",
        "refused_with",
        "used_at",
    )

    def __init__(self, name: str, fetch: Callable[[], T], *, is_essential: bool = False) -> None:
        self.name = name
        self.fetch = fetch
        self.is_essential = is_essential
        self.held: T | None = None
        self.ends_at = self.used_at = self._fetched_at = EVER
        self.fresh = self.refused = self.quiet = CLOSED
        self.flight: Future[object] | None = None
        self.refused_with: PodpassError | None = None

    def at_hand(self, now: datetime) -> T | None:
        """Return the token if there is nothing to do but to hand it out."""
        self.used_at = now
        since, until = self.quiet
        return self.held if since <= now < until else None

    def living(self, now: datetime) -> T | None:
        """Return the token if it may still be handed out, whatever there is to do."""
        return self.held if now < self.ends_at else None

    def age(self, now: datetime) -> timedelta:
        """Return how long the token is here."""
        return now - self._fetched_at

    @property
    def is_used(self) -> bool:
        """Whether anybody has asked since it came."""
        return self.used_at >= self._fetched_at

    def is_due(self, now: datetime) -> bool:
        """Tell whether a new token is to be fetched; also where the clock was set back, since no plan is good then."""
        return not self.fresh.holds(now) and not self.refused.holds(now)

    def take(self, token: T, now: datetime, schedule: TokenSchedule, chance: float) -> None:
        """Hold a new token.

        Raises:
            UnexpectedAnswerError: It has ended already.
        """
        if token.expires_at <= now:
            ago = (now - token.expires_at).total_seconds()
            raise UnexpectedAnswerError(
                f"The {self.name} that came has ended already: {ago:.0f} s ago, by this machine's clock.",
                "",
                "Compare this machine's clock with the world's.",
            )
        self.held, self._fetched_at = token, now
        self.ends_at = schedule.last_use(now, token.expires_at)
        self.fresh = Window.of(now, schedule.renewal(now, token.expires_at, chance))
        self.refused, self.refused_with = CLOSED, None

    def refuse(self, error: PodpassError, now: datetime, schedule: TokenSchedule) -> None:
        """Note that there is none, or no new one, and why."""
        pause = _SOURCE_PAUSE if isinstance(error, SourceUnavailableError) else schedule.refused
        self.refused_with, self.refused = again(error), Window.of(now, now + pause)

    def refusal(self) -> PodpassError | None:
        """Return why there is none, if the last fetch was refused: a new error for each caller."""
        return None if self.refused_with is None else again(self.refused_with)

    def forget(self) -> None:
        """Let go of the token: Google does not accept it any more."""
        self.held, self.ends_at, self.fresh = None, EVER, CLOSED

    def let_go(self) -> None:
        """Forget the fetch that is under way, and the plan that counted on it: after a fork both are another process's."""
        self.flight, self.quiet = None, CLOSED

    def plan(self, now: datetime, blocked_until: datetime) -> None:
        """Tell when there is something to do next.

        Args:
            now: Moment of judging.
            blocked_until: No fetch may begin before; `EVER` where one may.
        """
        if self.held is None:
            self.quiet = CLOSED
            return
        refused_until = self.refused.until if self.refused.holds(now) else EVER
        begin_at = NEVER if self.flight else max(self.fresh.until, blocked_until, refused_until)
        self.quiet = Window.of(now, min(self.ends_at, begin_at))


def again(error: PodpassError) -> PodpassError:
    """Return an equal error without cause and traceback, which would grow with each thread that raises it."""
    fresh = type(error).__new__(type(error), *error.args)
    fresh.__dict__.update(error.__dict__)
    return fresh
