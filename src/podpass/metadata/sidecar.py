# SPDX-License-Identifier: Apache-2.0
"""The server of one pod: whoever asks on the pod's own loopback is the pod, and the identity is that of the pod's own subject token.

What is known is read again every minute: an annotation that changes takes the tokens of the old identity out of use.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, Protocol, TypeVar

from podpass.errors import PodpassError, SourceUnavailableError, UnavailableError
from podpass.exchange.credential_config import CredentialConfig
from podpass.exchange.tokens import AccessToken, IdToken
from podpass.google.backoff import truncated
from podpass.metadata.account import REFUSED, Settings, choose, facts
from podpass.metadata.caller import Peer
from podpass.metadata.subject import Subject
from podpass.metadata.tree import Facts, Tree, tree_of
from podpass.names import ServiceAccountRef
from podpass.names.annotations import AccountAnnotations
from podpass.net.flights import Pool
from podpass.sources.file import FileSource

T = TypeVar("T")

_log = logging.getLogger(__name__)

_READINGS: Final = Pool("podpass-metadata", 1)

Annotations = Callable[[ServiceAccountRef], Mapping[str, str]]
"""Reads the annotations of a Kubernetes service account; may block."""


class Tokens(Protocol):
    """The Google tokens of one identity; `exchange.workload_tokens.WorkloadTokens` is it."""

    async def access_token_async(self, scopes: tuple[str, ...] | None = None) -> AccessToken:
        """Return an access token."""
        ...

    async def id_token_async(self, audience: str) -> IdToken:
        """Return an ID token."""
        ...

    def close(self) -> None:
        """Stop to renew them."""
        ...


@dataclass(frozen=True, slots=True)
class Pace:
    """How often and how long, in seconds.

    Attributes:
        reading_s: Between two readings of the annotations, give or take a tenth.
        retry_s: After a reading or a first token that failed; twice as long after each further reading, up to `reading_s`.
        patience_s: That a request waits for the first reading.
        grace_s: That a request may still wait when the server is told to end.
        warming_s: After which the server counts as ready although Google has not answered: an application may start without Google.
    """

    reading_s: float = 60.0
    retry_s: float = 1.0
    patience_s: float = 10.0
    grace_s: float = 1.0
    warming_s: float = 30.0

    def after(self, failures: int) -> float:
        """Return how long to wait after so many readings in a row that failed. Many pods shall not ask at one moment."""
        if not failures:
            return self.reading_s * random.uniform(0.9, 1.1)  # noqa: S311 - no secret
        least, most = timedelta(seconds=self.retry_s), timedelta(seconds=self.reading_s)
        return truncated(failures, least, most, random.random()).total_seconds()  # noqa: S311 - as above


@dataclass(frozen=True, slots=True)
class _Known:
    identity: CredentialConfig
    facts: Facts
    tree: Tree
    tokens: Tokens


class Sidecar:
    """The one workload of a pod, for every connection. Belongs to one event loop.

    Args:
        settings: The operator's.
        tokens: Makes the tokens of an identity.
        annotations: How the account's annotations are read; None where they are not heeded.
        pace: How often and how long.
    """

    def __init__(
        self,
        settings: Settings,
        tokens: Callable[[CredentialConfig], Tokens],
        annotations: Annotations | None = None,
        *,
        pace: Pace | None = None,
    ) -> None:
        self._settings = settings
        self._make_tokens = tokens
        self._annotations = annotations
        self._pace: Final = pace or Pace()
        self._known: _Known | None = None
        self._error: PodpassError = UnavailableError(
            "The identity of this pod is not known yet.", "The metadata server has just started.", retry_after_s=1
        )
        self._changed = asyncio.Event()
        self._tried = asyncio.Event()
        self._ready = asyncio.Event()
        self._has_ended = False
        self._waits: set[asyncio.Timeout] = set()
        self._warming: asyncio.Task[None] | None = None

    @property
    def not_ready(self) -> str | None:
        """Why the pod's containers had better wait, as an error's code; None: they need not."""
        return None if self._ready.is_set() else self._error.full_code

    async def run(self) -> None:
        """Keep what is known true, until cancelled."""
        deadline = asyncio.get_running_loop().call_later(self._pace.warming_s, self._ready.set)
        failures = 0
        try:
            while True:
                await self._read_again()
                # A file costs nothing to look for, and kubelet may be about to bring it.
                failures = 0 if self._known else 1 if isinstance(self._error, SourceUnavailableError) else failures + 1
                await asyncio.sleep(self._pace.after(failures))
        finally:
            deadline.cancel()
            self.end()
            self._forget()

    def end(self) -> None:
        """Let go of everybody who waits for a change, of the first token, and soon of who waits for a token."""
        if self._has_ended:
            return
        self._has_ended = True
        self._changed.set()
        if self._warming:
            self._warming.cancel()
        ends_s = asyncio.get_running_loop().time() + self._pace.grace_s
        for wait in self._waits:
            wait.reschedule(ends_s)

    async def find(self, peer: Peer | None) -> "Sidecar":  # noqa: ARG002 - there is but one
        """Return the pod itself."""
        return self

    async def tree(self) -> Tree:
        """Return the tree; a client that asks before the first reading waits for it."""
        return (await self._identified()).tree

    async def another_tree(self, known: Tree) -> Tree:
        """Wait until the tree is another one; see `Workload`."""
        while not self._has_ended and (self._known is None or self._known.tree is known):
            await self._changed.wait()
        return self._known.tree if self._known else known

    async def access_token(self, scopes: tuple[str, ...] | None) -> AccessToken:
        """Return an access token; see `Workload`."""
        return await self._while_serving((await self._identified()).tokens.access_token_async(scopes))

    async def id_token(self, audience: str) -> IdToken:
        """Return an ID token; see `Workload`."""
        return await self._while_serving((await self._identified()).tokens.id_token_async(audience))

    async def _while_serving(self, work: Awaitable[T]) -> T:
        """Wait for something, but not much longer than the server lives: Google may be silent for longer than kubelet waits."""
        wait = asyncio.timeout(self._pace.grace_s if self._has_ended else None)
        self._waits.add(wait)
        try:
            async with wait:
                return await work
        except TimeoutError:
            if not wait.expired():
                raise
            what = "The metadata server is ending, and what was asked for has not come yet."
            raise UnavailableError(what, "", "Ask again when the pod runs again.", retry_after_s=1) from None
        finally:
            self._waits.discard(wait)

    async def _identified(self) -> _Known:
        if self._known is None:
            with suppress(TimeoutError):
                await self._while_serving(asyncio.wait_for(self._tried.wait(), self._pace.patience_s))
        if self._known is None:
            raise self._error
        return self._known

    async def _read_again(self) -> None:
        try:
            identity, told = await asyncio.wrap_future(_READINGS.launch(self._read))
        except PodpassError as error:
            if self._known is None or error.full_code == REFUSED:  # what it asks for, it may not have; the old identity it does not ask for
                self._fail(error)
            else:
                _log.warning("The pod's identity cannot be read again, the last one stays: %s [%s]", error, error.full_code)
            return
        if self._known is None or (identity, told) != (self._known.identity, self._known.facts):
            self._install(identity, told)

    def _read(self) -> tuple[CredentialConfig, Facts]:
        own = self._settings.credential
        subject = Subject.read(FileSource(Path(own.token_path), own.token_field, own.provider.audience).read())
        wished = AccountAnnotations()
        if self._annotations:
            wished = AccountAnnotations.parse(self._annotations(subject.account))
        identity = choose(self._settings, wished, subject)
        return identity, facts(self._settings, identity, subject)

    def _install(self, identity: CredentialConfig, told: Facts) -> None:
        _log.info("This pod acts as %s.", told.email)
        self._forget()
        self._known = known = _Known(identity, told, tree_of(told), self._make_tokens(identity))
        self._tried.set()
        self._changed.set()
        self._changed = asyncio.Event()
        self._warming = asyncio.create_task(self._warm(known.tokens))

    def _forget(self) -> None:
        """Take an identity and its tokens out of use."""
        if self._warming:
            self._warming.cancel()
        if self._known:
            self._known.tokens.close()
        self._known = None

    async def _warm(self, tokens: Tokens) -> None:
        """Have the first token at hand before anybody asks; what will not mend by waiting is told, and does not hold the pod up."""
        while True:
            try:
                await tokens.access_token_async()
            except PodpassError as error:
                is_told = error.full_code == self._error.full_code
                self._error = error
                if not is_told:
                    _log.warning("There is no token for this pod: %s [%s]", error, error.full_code)
                if not _may_pass(error):
                    break
                await asyncio.sleep(error.retry_after_s if isinstance(error, UnavailableError) else self._pace.retry_s)
            else:
                break
        self._ready.set()

    def _fail(self, error: PodpassError) -> None:
        if error.full_code != self._error.full_code:
            _log.warning("The pod's identity is not known: %s [%s]", error, error.full_code)
        self._error = error
        self._forget()
        if not _may_pass(error):
            self._tried.set()
            self._ready.set()


def _may_pass(error: PodpassError) -> bool:
    return error.retryable or isinstance(error, SourceUnavailableError)
