# SPDX-License-Identifier: Apache-2.0
"""The published keys of an issuer.

A key that cannot be used is skipped and listed, so that one entry of a kind we do not know does not take an issuer down; a set in which no
key can be used is refused.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Self

import msgspec

from podpass.errors import KeySetError, UnknownKeyError
from podpass.names.quoting import quoted
from podpass.verify import strict_json
from podpass.verify.algorithms import DEFAULT_ALGORITHMS
from podpass.verify.jwk import VerificationKey, parse_jwk, public_jwk, thumbprint_kid

__all__ = ["KeySet", "SkippedKey", "VerificationKey", "parse_jwk", "public_jwk", "thumbprint_kid"]

# The largest published sets, of issuers with dozens of keys and their certificates, stay under 64 KiB. Some allow for growth.
SET_LIMIT_BYTES = 1024 * 1024
SET_LIMIT_KEYS = 100


class SkippedKey(msgspec.Struct, frozen=True):
    """An entry of a set that cannot be used, and why."""

    kid: str | None
    why: str

    def __str__(self) -> str:
        return f"{'a key without kid' if self.kid is None else quoted(self.kid)}: {self.why}"


class KeySet(msgspec.Struct, frozen=True):
    """The usable keys of one issuer, by id.

    Attributes:
        keys: The keys by `kid`.
        skipped: What else the set held.
    """

    keys: Mapping[str, VerificationKey]
    skipped: tuple[SkippedKey, ...] = ()

    @classmethod
    def of(cls, keys: Iterable[VerificationKey]) -> Self:
        """Make a set of keys that are at hand."""
        return cls({key.kid: key for key in keys})

    @classmethod
    def parse(cls, raw: bytes | str, *, algorithms: Collection[str] = DEFAULT_ALGORITHMS) -> Self:
        """Read a JWKS document.

        Args:
            raw: UTF-8.
            algorithms: For which of them keys are wanted; the others are skipped.

        Raises:
            KeySetError: Over 1 MiB, not a JSON object with a list `keys` of 100 at most, or without one key that can be used.
            ConfigError: An algorithm that podpass has not.

        Source:
            RFC 7517, 4 and 5; RFC 7518, 6.
        """
        keys: dict[str, VerificationKey] = {}
        skipped: list[SkippedKey] = []
        for entry in _entries(raw):
            kid = entry.get("kid") if isinstance(entry, dict) else None
            shown_kid = kid if isinstance(kid, str) else None
            try:
                key = parse_jwk(entry, algorithms=algorithms)
            except KeySetError as error:
                skipped.append(SkippedKey(shown_kid, error.why))
                continue
            if key.kid in keys:
                skipped.append(SkippedKey(shown_kid, "an earlier key has the same kid."))
                continue
            keys[key.kid] = key
        if not keys:
            reasons = " ".join(str(entry) for entry in skipped[:5]) or "The list `keys` is empty."
            raise KeySetError(
                "The JWKS has no key that podpass can use.",
                reasons,
                "Publish an RSA key of 2048 bits or more, or a P-256 key, with its kid.",
            )
        return cls(keys, tuple(skipped))

    def find(self, kid: str | None) -> VerificationKey:
        """Return the key that a token names; a token that names none gets the only key there is.

        Raises:
            UnknownKeyError: No such key, or no name and several keys.
        """
        if kid is None:
            return self._only_key()
        key = self.keys.get(kid)
        if key is not None:
            return key
        count = len(self.keys)
        raise UnknownKeyError(
            f"No key with kid {quoted(kid)} is known of the issuer ({count} key{'' if count == 1 else 's'}).",
            "The cluster has another signing key than the published one, or the token comes from another cluster.",
            "Publish the cluster's present keys; `podpass doctor` compares the two.",
        )

    def _only_key(self) -> VerificationKey:
        if len(self.keys) == 1:
            return next(iter(self.keys.values()))
        raise UnknownKeyError(
            "The token does not name its key.",
            f"It has no `kid`, and its issuer has {len(self.keys)} keys; trying them all would let a token choose.",
            "Have the issuer write `kid` into the header, as Kubernetes does.",
        )

    def canonical_json(self) -> str:
        """Write the set for inlining: one line, keys by kid, only members that Google accepts (kty alg use kid n e x y crv)."""
        import json  # noqa: PLC0415 - not for verifiers

        jwks = [public_jwk(key.public_key, kid, key.algorithm.name) for kid, key in sorted(self.keys.items())]
        return json.dumps({"keys": jwks}, separators=(",", ":"))


def _entries(raw: bytes | str) -> list[Any]:
    octets = raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else raw
    what = "The JWKS cannot be read."
    next_step = "Publish the cluster's own document: `kubectl get --raw /openid/v1/jwks`."
    if len(octets) > SET_LIMIT_BYTES:
        raise KeySetError(what, f"It has {len(octets)} bytes; podpass reads {SET_LIMIT_BYTES} at most.", next_step)
    try:
        document = strict_json.parse_object(octets)
    except ValueError as error:
        raise KeySetError(what, f"The reason: {error}.", next_step) from None
    entries = document.get("keys")
    if not isinstance(entries, list):
        raise KeySetError(what, "It has no list `keys`.", next_step)
    if len(entries) > SET_LIMIT_KEYS:
        raise KeySetError(what, f"It has {len(entries)} keys; podpass reads {SET_LIMIT_KEYS} at most.", next_step)
    return entries
