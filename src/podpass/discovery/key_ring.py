# SPDX-License-Identifier: Apache-2.0
"""The keys of the issuers that policies name: one cache for each, the same as long as anybody uses it, so that a reload forgets no keys.

A cache that no policy uses any more is let go, and its issuer is not asked again.
"""

import threading
from pathlib import Path
from types import TracebackType
from typing import Self
from weakref import WeakValueDictionary

from podpass.clock import Clock, SystemClock
from podpass.discovery.api_server import ApiServer, ApiServerOrigin, InClusterApi
from podpass.discovery.key_cache import KeyCache
from podpass.discovery.oidc import OidcOrigin
from podpass.discovery.origin import KeyOrigin
from podpass.discovery.schedule import Schedule
from podpass.discovery.static import StaticKeys, read_jwks
from podpass.names import Issuer
from podpass.net.forks import survive
from podpass.net.tender import Tender
from podpass.policy import TrustedIssuer


class KeyRing:
    """Hands out the keys of issuers; the guard's `KeyProvider`. Safe for threads, and after a fork.

    The first fetch begins when an issuer is first named; nobody waits for it.

    Args:
        clock: Tells the time.
        schedule: When to fetch.
        api_server: For issuers with `keys: apiserver`; None: the one of this pod.
        ca_file: Authorities of the issuers' certificates, in place of the machine's.
        background: Keep keys fresh also while nobody asks for them.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        schedule: Schedule | None = None,
        api_server: ApiServer | None = None,
        ca_file: Path | None = None,
        background: bool = True,
    ) -> None:
        self._clock = clock or SystemClock()
        self._schedule = schedule or Schedule()
        self._api_server = api_server
        self._ca_file = ca_file
        self._caches = WeakValueDictionary[tuple[Issuer, str, tuple[str, ...]], KeyCache]()
        self._files = WeakValueDictionary[tuple[Path, bytes, tuple[str, ...]], StaticKeys]()
        self._lock = threading.Lock()
        survive(self)
        self._tender = Tender(self._tended) if background else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stop fetching while nobody asks."""
        if self._tender is not None:
            self._tender.stop()

    def keys_of(self, issuer: TrustedIssuer) -> KeyCache | StaticKeys:
        """Return the keys of an issuer.

        Raises:
            ConfigError: They can never be had: not https, no pod whose API server could be asked, a file that cannot be read.
            KeySetError: A file holds none.
        """
        with self._lock:
            if isinstance(issuer.keys, Path):
                return self._file(issuer.keys, issuer.algorithms)
            name = (issuer.issuer, issuer.keys, issuer.algorithms)
            cache = self._caches.get(name)
            if cache is None:
                beat = self._tender.ensure if self._tender else _nothing
                cache = KeyCache(self._origin(issuer), clock=self._clock, schedule=self._schedule, on_beat=beat)
                self._caches[name] = cache
        cache.tend()
        return cache

    def wake_in_child(self) -> None:
        """Start anew after a fork; see `forks`."""
        self._lock = threading.Lock()

    def _tended(self) -> tuple[KeyCache, ...]:
        # Not `values()`: an iteration that a fork cuts off would keep the child from letting go.
        return tuple(cache for found in self._caches.valuerefs() if (cache := found()) is not None)

    def _origin(self, issuer: TrustedIssuer) -> KeyOrigin:
        if issuer.keys == "apiserver":
            return ApiServerOrigin(self._api_server or InClusterApi.find(), issuer.algorithms)
        return OidcOrigin(issuer.issuer, ca_file=self._ca_file, algorithms=issuer.algorithms)

    def _file(self, path: Path, algorithms: tuple[str, ...]) -> StaticKeys:
        """Return the keys of a file: the same object as long as the file's bytes are the same."""
        raw = read_jwks(path)
        keys = self._files.get((path, raw, algorithms))
        if keys is None:
            self._files[path, raw, algorithms] = keys = StaticKeys.of(raw, path, algorithms)
        return keys


def _nothing() -> None:
    """Do nothing: every use is a heartbeat anyway."""
