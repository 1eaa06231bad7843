# SPDX-License-Identifier: Apache-2.0
"""Issuers' keys: found by OIDC discovery or at the API server, and kept fresh.

One synchronous core. `KeyCache` answers from memory and never waits; what touches the network runs once, as a `Future`, on the small pool
of `flights`; `patience` waits for it, with or without asyncio. `KeyRing` hands out one cache for each issuer of a policy, `TokenReviewer`
asks the API server for a second opinion. See docs/reference/key-cache.md.
"""

from podpass.discovery.key_cache import KeyCache
from podpass.discovery.key_ring import KeyRing
from podpass.discovery.patience import patiently, patiently_async
from podpass.discovery.schedule import Schedule
from podpass.discovery.static import StaticKeys
from podpass.discovery.token_review import TokenReviewer

__all__ = ["KeyCache", "KeyRing", "Schedule", "StaticKeys", "TokenReviewer", "patiently", "patiently_async"]
