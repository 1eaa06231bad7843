# SPDX-License-Identifier: Apache-2.0
"""Issuers' keys: found by OIDC discovery or at the API server, and kept fresh.

One synchronous core. `KeyCache` answers from memory and never waits; what touches the network runs once, as a `Future`, on the small pool
of `flights`; `patience` waits for it, with or without asyncio. `KeyRing` hands out one cache for each issuer of a policy, `TokenReviewer`
asks the API server for a second opinion. See docs/reference/key-cache.md.
"""
