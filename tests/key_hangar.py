# SPDX-License-Identifier: Apache-2.0
"""Stands in for the thread pool: flights land when a test says so, which makes races a matter of order."""

from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime, timedelta

from podpass.discovery.origin import Published
from podpass.errors import UnreachableError
from podpass.verify import KeySet, VerificationKey
from token_forge import Signer


class Hangar:
    """Collects work; `land` does it."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[[], None], Future[object]]] = []
        self.flights = 0

    def launch(self, work: Callable[[], None]) -> Future[object]:
        """Line work up."""
        self.flights += 1
        flight: Future[object] = Future()
        self.waiting.append((work, flight))
        return flight

    def land(self) -> None:
        """Do all that waits."""
        waiting, self.waiting = self.waiting, []
        for work, flight in waiting:
            work()
            flight.set_result(None)


class FakeOrigin:
    """An origin of keys that tests bend."""

    def __init__(self, *signers: Signer, max_age_s: int | None = 600) -> None:
        self.max_age_s = max_age_s
        self.fetches: list[datetime] = []
        self.error: Exception | None = None
        self.publish(*signers)

    def publish(self, *signers: Signer) -> None:
        """Exchange the keys."""
        self.keys = key_set(*signers)

    def go_down(self) -> None:
        """Answer nothing from now on."""
        self.error = UnreachableError("The issuer gave no answer.")

    def fetch(self, now: datetime) -> Published:
        """Answer as told."""
        self.fetches.append(now)
        if self.error is not None:
            raise self.error
        return Published(self.keys, None if self.max_age_s is None else timedelta(seconds=self.max_age_s))

    def __str__(self) -> str:
        return "https://oidc.example/c1"


def key_set(*signers: Signer) -> KeySet:
    """Make a set of public halves."""
    return KeySet.of(VerificationKey.of(signer.key.public_key(), signer.kid) for signer in signers)
