# SPDX-License-Identifier: Apache-2.0
"""The API server's second opinion: a signature holds until its token ends, a TokenReview fails as soon as the pod is gone.

Asked after the signature holds, for rules that want it. Verdicts are kept for seconds, under a digest of the token. Like keys, they are
never waited for here: whoever lacks one gets the flight that brings it.
"""

import hashlib
import logging
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, final

import msgspec

from podpass.discovery.api_server import ApiServer
from podpass.errors import ConfigError, PodpassError, ReviewUnavailableError, TokenRevokedError
from podpass.names import Secret
from podpass.names.quoting import quoted
from podpass.names.secret import redact
from podpass.net.flights import Launch, Pool
from podpass.net.forks import survive
from podpass.verify.identity import Identity

if TYPE_CHECKING:
    from concurrent.futures import Future

LOGGER: Final = logging.getLogger("podpass.discovery")

_REVIEWS: Final = Pool("podpass-reviews", 4)

# A pod that is gone is refused within it. At least the deadline of a review: else a verdict could be old when it comes.
LIFE_LIMIT: Final = timedelta(seconds=10)
_LIFE_LEAST: Final = timedelta(seconds=5)
_VERDICTS: Final = 4096
_FLIGHTS: Final = 64
# After a review that brought no verdict, for all tokens.
_PAUSE: Final = timedelta(seconds=2)


@final
class _Verdict(msgspec.Struct, frozen=True):
    """What the API server said, and when it was asked; `refusal` is empty where it stands by the token."""

    asked_at: datetime
    refusal: str


@final
class TokenReviewer:
    """Asks one API server. Safe for threads, and after a fork.

    Args:
        api: Asks.
        life: How long a verdict holds, 5 s to 10 s.
        launch: Runs a question elsewhere.

    Raises:
        ConfigError: A life out of range.
    """

    def __init__(self, api: ApiServer, *, life: timedelta = LIFE_LIMIT, launch: Launch = _REVIEWS.launch) -> None:
        if not _LIFE_LEAST <= life <= LIFE_LIMIT:
            raise ConfigError(
                f"A TokenReview cannot hold for {life.total_seconds():g} s.",
                "Shorter, it would be over before it is there; longer, a pod that is gone could go on.",
                "Choose 5 s to 10 s.",
                code="config.review-life",
            )
        self._api = api
        self._life = life
        self._launch = launch
        self._lock = threading.Lock()
        self._verdicts: dict[bytes, _Verdict] = {}
        self._flights: dict[bytes, Future[object]] = {}
        self._failed_at: datetime | None = None
        self._trouble = ""
        survive(self)

    def review(self, token: Secret[str], identity: Identity, *, now: datetime) -> None:
        """Refuse a token that the API server does not stand by, or not for `identity.audience`. Does not wait.

        Raises:
            TokenRevokedError: It does not.
            ReviewUnavailableError: It has not said lately. The flight, if there is one, brings what it says.
        """
        key = hashlib.sha256(f"{identity.audience}\n{token.reveal()}".encode()).digest()
        verdict = self._verdicts.get(key)
        if verdict is None or not timedelta() <= now - verdict.asked_at < self._life:
            raise self._unavailable(key, token, identity, now)
        if verdict.refusal:
            raise TokenRevokedError(
                f"The API server does not stand by the token of {quoted(identity.subject)} any more.",
                verdict.refusal,
                "Its pod or service account is gone, or was made anew: use the token of one that runs.",
            )

    def _unavailable(self, key: bytes, token: Secret[str], identity: Identity, now: datetime) -> ReviewUnavailableError:
        with self._lock:
            flight, after = self._flights.get(key), timedelta(seconds=1)
            if flight is None:
                paused = timedelta() if self._failed_at is None or now < self._failed_at else self._failed_at + _PAUSE - now
                if paused > timedelta():
                    after = paused
                elif len(self._flights) < _FLIGHTS:
                    flight = self._begin(key, token, identity, now)
        what = f"{self._api} has not said lately whether it stands by the token."
        return ReviewUnavailableError(what, self._trouble, retry_after_s=after.total_seconds(), flight=flight)

    def _begin(self, key: bytes, token: Secret[str], identity: Identity, now: datetime) -> "Future[object] | None":
        try:
            flight = self._launch(partial(self._fly, key, token, identity, now))
        except RuntimeError:  # the interpreter ends
            return None
        self._flights[key] = flight
        return flight

    def _fly(self, key: bytes, token: Secret[str], identity: Identity, now: datetime) -> None:
        """Ask; runs elsewhere, and never raises."""
        verdict, trouble = None, ""
        try:
            verdict = _Verdict(now, judge(self._api.review(token, identity.audience), identity))
        except PodpassError as error:
            trouble = str(error)
            LOGGER.warning("A token could not be reviewed: %s", trouble)
        except Exception as error:
            LOGGER.exception("A token could not be reviewed")
            trouble = f"The review ended with {type(error).__name__}."
        with self._lock:
            self._flights.pop(key, None)
            self._trouble, self._failed_at = trouble, None if verdict else now
            if verdict:
                self._keep(key, verdict, now)

    def _keep(self, key: bytes, verdict: _Verdict, now: datetime) -> None:
        """Remember a verdict; where there are too many, first those that are over, then the oldest, go."""
        self._verdicts.pop(key, None)
        if len(self._verdicts) >= _VERDICTS:
            self._verdicts = {other: kept for other, kept in self._verdicts.items() if now - kept.asked_at < self._life}
        if len(self._verdicts) >= _VERDICTS:
            del self._verdicts[next(iter(self._verdicts))]
        self._verdicts[key] = verdict

    def wake_in_child(self) -> None:
        """Start anew after a fork; see `forks`."""
        self._lock = threading.Lock()
        self._flights = {}


def judge(status: Mapping[str, Any], identity: Identity) -> str:
    """Return why a review's status speaks against a token, as a sentence; nothing where it does not.

    Source:
        Kubernetes API, TokenReviewStatus: an answer without `audiences` is of a server that did not look at ours.
    """
    user, audiences = status.get("user"), status.get("audiences")
    if status.get("authenticated") is not True:
        error = status.get("error")
        words = redact(error)[:300] if isinstance(error, str) else ""
        return f"It says: {words.rstrip('.')}." if words else "It says that the token is not authenticated."
    if not isinstance(audiences, list) or identity.audience not in audiences:
        return f"It does not say that the token is for {quoted(identity.audience)}."
    if not isinstance(user, dict) or user.get("username") != identity.subject:
        return "It knows the token as another account's."
    return ""
