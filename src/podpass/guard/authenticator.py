# SPDX-License-Identifier: Apache-2.0
"""Who sends a token: the issuer is picked among the configured ones by its exact string, before anything is asked of anybody.

Two issuers may have one URL: every kubeadm cluster signs as `https://kubernetes.default.svc.cluster.local`. Then the key decides whose
token it is, and so no key may be known to both.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from itertools import combinations
from typing import Protocol, final

import msgspec

from podpass.errors import KeySetError, KeysUnavailableError, MalformedTokenError, UnknownKeyError, WrongIssuerError
from podpass.guard.ports import IssuerKeys
from podpass.names.quoting import quoted
from podpass.policy import InvokerPolicy, TrustedIssuer
from podpass.verify import Verifier, thumbprint_kid
from podpass.verify.audience import check_service_audience
from podpass.verify.compact import Envelope
from podpass.verify.identity import Identity

Generations = tuple[tuple[IssuerKeys, int], ...]


@final
class Result(msgspec.Struct, frozen=True):
    """A token that was accepted once, and how long that holds.

    Attributes:
        identity: The caller.
        relies_on: The keys that were used, and all others under the same URL, each with its generation then.
        begins_at_s: When the token begins, leeway included; seconds since 1970. A clock may be set back.
        ends_at_s: When it ends, likewise.
    """

    identity: Identity
    relies_on: Generations
    begins_at_s: float
    ends_at_s: float


class Results(Protocol):
    """Remembers results under the SHA-256 of the token, bounded, for several threads. What it returns is checked again each time."""

    @property
    def young(self) -> Mapping[bytes, Result]:
        """What was used last, for a look into it on each request; always the same object."""
        ...

    def get(self, digest: bytes) -> Result | None:
        """Return what was put under this very digest, if it is still there."""
        ...

    def put(self, digest: bytes, result: Result) -> None:
        """Remember a result."""
        ...


class _Source:
    """One issuer: its keys, and the verifier over them."""

    __slots__ = ("issuer", "keys", "keys_under_url", "verifier")

    def __init__(self, issuer: TrustedIssuer, keys: IssuerKeys, policy: InvokerPolicy) -> None:
        self.issuer = issuer
        self.keys = keys
        self.verifier = Verifier(
            issuer=issuer.issuer, audiences=policy.audiences, keys=keys, skew=policy.leeway, algorithms=issuer.algorithms
        )
        self.keys_under_url: tuple[IssuerKeys, ...] = (keys,)

    def generations(self) -> Generations:
        """Return what changes when any key under this URL does."""
        return tuple([(keys, keys.generation) for keys in self.keys_under_url])


@final
class TokenAuthenticator:
    """Judges tokens by a policy's issuers and audiences.

    Args:
        policy: Names at least one audience, if it names an issuer.
        keys: The keys of each issuer, by its name in the policy.
        results: Where accepted tokens are remembered; None: nowhere.

    Attributes:
        young: What is remembered and was used last, by the SHA-256 of the tokens.

    Raises:
        ConfigError: Issuers without an audience.
        KeySetError: Two issuers with one URL share a key.
    """

    def __init__(self, policy: InvokerPolicy, keys: Mapping[str, IssuerKeys], results: Results | None = None) -> None:
        self._results = results
        self._empty = sha256()  # to copy one is to not look for the implementation
        self.young: Mapping[bytes, Result] = {} if results is None else results.young
        self._leeway_s = policy.leeway.total_seconds()
        self._several = policy.several_audiences
        self._disjoint: dict[str, Generations] = {}
        self._sources: dict[str, tuple[_Source, ...]] = {}
        for issuer in policy.issuers:
            url, source = issuer.issuer.url, _Source(issuer, keys[issuer.name], policy)
            self._sources[url] = (*self._sources.get(url, ()), source)
        for sources in self._sources.values():
            for source in sources:
                source.keys_under_url = tuple(each.keys for each in sources)
            self._check_disjoint(sources)
        # A verifier refuses foreign issuers itself, before it looks for a key; with one issuer there is nothing to pick.
        self._only = source if len(policy.issuers) == 1 else None

    def authenticate(self, token: bytes, *, now: datetime) -> Identity:
        """Return the caller, or refuse the token; see `Authenticator`."""
        if self._results is None:
            return self._judge(token, b"", now)
        state = self._empty.copy()
        state.update(token)
        digest = state.digest()
        result = self.young.get(digest) or self._results.get(digest)
        if result is not None and result.begins_at_s <= now.timestamp() < result.ends_at_s:
            for keys, generation in result.relies_on:
                if keys.generation != generation:
                    break
            else:
                return result.identity
        return self._judge(token, digest, now)

    def missing_keys(self) -> tuple[str, ...]:
        """Return the issuers without keys; see `Authenticator`."""
        return tuple(source.issuer.name for sources in self._sources.values() for source in sources if source.keys.known() is None)

    def _judge(self, token: bytes, digest: bytes, now: datetime) -> Identity:
        envelope = Envelope(token)
        source = self._only or self._source(envelope)
        # Taken before the keys are used: if they change meanwhile, the result is found to be old.
        relies_on = source.generations()
        verified = source.verifier.verify(envelope, now=now)
        check_service_audience(verified, api_audiences=source.issuer.api_audiences, several=self._several)
        identity = Identity.of(verified, issuer_name=source.issuer.name, kind=source.issuer.kind)
        if self._results is not None:
            begins_at_s, ends_at_s = verified.begins_s - self._leeway_s, identity.expires_at.timestamp() + self._leeway_s
            self._results.put(digest, Result(identity, relies_on, begins_at_s, ends_at_s))
        return identity

    def _source(self, envelope: Envelope) -> _Source:
        url = envelope.issuer()
        if not isinstance(url, str):
            raise MalformedTokenError("The token's `iss` claim is missing or not a string.", "", "Use a token whose issuer sets `iss`.")
        sources = self._sources.get(url)
        if sources is None:
            known = ", ".join(quoted(name) for name in list(self._sources)[:5]) or "none"
            raise WrongIssuerError(
                f"The token comes from issuer {quoted(url)}.",
                f"The policy trusts {known}; issuers are compared byte for byte.",
                "Send a token of one of these, or add the issuer to the policy.",
            )
        return sources[0] if len(sources) == 1 else self._owner(sources, envelope)

    def _owner(self, sources: tuple[_Source, ...], envelope: Envelope) -> _Source:
        """Return the issuer whose key a token names, of several with one URL."""
        able = [source for source in sources if envelope.header.algorithm in source.issuer.algorithms] or sources[:1]
        able[0].verifier.check_header(envelope.header)  # no key is looked for on behalf of a header that is refused anyway
        kid = envelope.header.kid
        self._check_disjoint(sources)
        names = " and ".join(source.issuer.name for source in sources)
        if kid is None:
            raise UnknownKeyError("The token does not name its key.", f"{names} have one URL, so only the key can tell whose token it is.")
        for source in able:
            known = source.keys.known()
            if known is not None and kid in known.keys:
                return source
        # Nobody knows it yet: each is asked, as it would be alone. "Cannot tell" of one outweighs "no" of the others.
        refusals: list[UnknownKeyError | KeysUnavailableError] = []
        for source in able:
            try:
                source.keys.find(kid)
            except (UnknownKeyError, KeysUnavailableError) as error:
                refusals.append(error)
            else:
                self._check_disjoint(sources)
                return source
        raise next((error for error in refusals if isinstance(error, KeysUnavailableError)), refusals[0])

    def _check_disjoint(self, sources: Sequence[_Source]) -> None:
        if len(sources) == 1:
            return
        url, generations = sources[0].issuer.issuer.url, sources[0].generations()
        if self._disjoint.get(url) == generations:
            return
        for first, second in combinations(sources, 2):
            if shared := _fingerprints(first.keys) & _fingerprints(second.keys):
                raise KeySetError(
                    f"The issuers {first.issuer.name!r} and {second.issuer.name!r} have one URL and share {len(shared)} key names or keys.",
                    "Nothing would tell their tokens apart, so none is accepted.",
                    "Remove one of them, or give each cluster a signing key of its own.",
                    code="keys.not-disjoint",
                )
        self._disjoint[url] = generations


def _fingerprints(keys: IssuerKeys) -> set[str]:
    """Return the ids of an issuer's keys, as published and by their content: neither may be another issuer's."""
    known = keys.known()
    if known is None:
        return set()
    return {f"kid {kid}" for kid in known.keys} | {f"key {thumbprint_kid(key.public_key)}" for key in known.keys.values()}
