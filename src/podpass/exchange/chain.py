# SPDX-License-Identifier: Apache-2.0
"""The walk from a subject token to what is wanted, when others may walk it at the same time and Google may be away.

1. The subject token is read anew for each exchange.
2. The federated token that is traded on is fetched once for all who want something of the account; its refusal is told to all as well.
3. Each neighbour on the way (the source, the security token service, IAM Credentials) is asked as `neighbour` allows.

Everything here waits for the network: it belongs on a thread that may.
"""

import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final, TypeVar, final

from podpass.clock import Clock
from podpass.errors import CredentialError, ImpersonationRefusedError, UnexpectedAnswerError
from podpass.exchange.exchanger import Exchanger
from podpass.exchange.neighbour import Neighbour
from podpass.exchange.schedule import TokenSchedule
from podpass.exchange.slot import Slot
from podpass.exchange.tokens import AccessToken, IdToken, Signature
from podpass.google.fault import FaultKind
from podpass.sources.source import SubjectTokenSource

T = TypeVar("T")

_FEDERATED_REFUSED: Final = f"credential.impersonation-refused.{FaultKind.UNAUTHENTICATED}"


@final
class Chain:
    """What a subject token can become. Safe for threads.

    Args:
        source: Where the subject token is read.
        exchanger: Trades it.
        clock: Tells the time.
        schedule: When to ask.
        chance: Returns a number from 0 to 1.
        sleep: Waits.
    """

    def __init__(
        self,
        source: SubjectTokenSource,
        exchanger: Exchanger,
        clock: Clock,
        schedule: TokenSchedule,
        chance: Callable[[], float],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._source = source
        self._exchanger = exchanger
        self._clock = clock
        self._schedule = schedule
        self._chance = chance
        self._federating = threading.Lock()
        self._federated = Slot("federated token", self._exchange)
        self._reading, self._sts, self._iam = (
            Neighbour(who, clock, schedule, chance, sleep) for who in (str(source), "The security token service", "IAM Credentials")
        )

    def access_token(self, scopes: tuple[str, ...] | None = None) -> AccessToken:
        """Return an access token.

        Raises:
            CredentialError: Somebody refused.
            ExchangeUnavailableError: Somebody who is needed cannot be asked now.
        """
        if self._exchanger.service_account is None:
            return self._exchange(scopes)
        return self._as_account("access token", lambda federated: self._exchanger.impersonated_token(federated, scopes))

    def id_token(self, audience: str) -> IdToken:
        """Return an ID token; see `access_token`."""
        return self._as_account("ID token", lambda federated: self._exchanger.id_token(federated, audience))

    def sign(self, payload: bytes) -> Signature:
        """Return a signature; see `access_token`."""
        return self._as_account("signature", lambda federated: self._exchanger.sign(federated, payload))

    def neighbours(self, now: datetime) -> list[Neighbour]:
        """Return those who are needed now, the nearest first."""
        if self._exchanger.service_account is None:
            return [self._reading, self._sts]
        return [self._iam] if self._federated.living(now) else [self._reading, self._sts, self._iam]

    def wake_in_child(self) -> None:
        """Start anew after a fork; see `forks`. The federated token stays."""
        self._federating = threading.Lock()
        for neighbour in (self._reading, self._sts, self._iam):
            neighbour.wake_in_child()

    def _as_account(self, thing: str, ask: Callable[[AccessToken], T]) -> T:
        """Ask IAM Credentials; once more with a new federated token where the one at hand is not accepted any more."""
        federated = self._federate()
        try:
            return self._iam.ask(thing, lambda: ask(federated))
        except ImpersonationRefusedError as error:
            if error.full_code != _FEDERATED_REFUSED:
                raise
        with self._federating:
            if self._federated.held is federated:
                self._federated.forget()
        federated = self._federate()
        return self._iam.ask(thing, lambda: ask(federated))

    def _federate(self) -> AccessToken:
        """Return the federated token that is traded on; one thread gets it, the others wait for that one."""
        with self._federating:
            slot, now = self._federated, self._clock.now()
            if (token := slot.living(now)) is not None:
                return token
            if slot.refused.holds(now) and (refusal := slot.refusal()) is not None:
                raise refusal
            try:
                token = slot.fetch()
                slot.take(token, self._clock.now(), self._schedule, self._chance())
            except (CredentialError, UnexpectedAnswerError) as error:
                slot.refuse(error, self._clock.now(), self._schedule)
                raise
            return token

    def _exchange(self, scopes: tuple[str, ...] | None = None) -> AccessToken:
        subject = self._reading.ask("subject token", self._source.read)
        return self._sts.ask("federated token", lambda: self._exchanger.federated_token(subject, scopes))
