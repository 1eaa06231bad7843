# SPDX-License-Identifier: Apache-2.0
"""What a cluster is, told from its answers; each fact with how it was learnt, and what is unknown stays unknown. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Generic, TypeVar

from podpass.config.federation import Keys
from podpass.errors import ConfigError, KeySetError
from podpass.federate.clusters.catalogue import OTHER, recognise
from podpass.federate.clusters.distribution import Distribution
from podpass.federate.clusters.evidence import Evidence, Question
from podpass.federate.clusters.flags import EXTENDED_LIFE, ServiceAccountFlags
from podpass.federate.desired.desired import is_managed
from podpass.names import Issuer
from podpass.verify import KeySet, VerificationKey
from podpass.verify.algorithms import ALGORITHMS
from podpass.verify.claims import read_audiences

T = TypeVar("T")

_TAKEN_BY_GOOGLE: Final = frozenset({"RS256", "ES256"})
_FLAGS_HIDDEN: Final = "no kube-apiserver runs as a pod there, so its flags cannot be seen"


@dataclass(frozen=True, slots=True)
class Known(Generic[T]):
    """A fact, or that it is not known.

    Attributes:
        value: None: unknown.
        how: How it was learnt, or why it could not be.
    """

    value: T | None
    how: str


@dataclass(frozen=True, slots=True)
class Portrait:
    """A cluster.

    Attributes:
        distribution: Whose Kubernetes it is.
        version: Of Kubernetes.
        release: Of the distribution, where that is another one.
        issuer: The `iss` of its tokens.
        audiences: Whom its API server takes tokens for.
        keys: What verifies its tokens.
        is_public: Whether strangers can read the issuer's documents.
        rotation: Who rotates the keys.
        longest_token: How long a token lives at most.
    """

    distribution: Known[Distribution]
    version: Known[str]
    release: Known[str]
    issuer: Known[str]
    audiences: Known[tuple[str, ...]]
    keys: Known[tuple[VerificationKey, ...]]
    is_public: Known[bool]
    rotation: Known[str]
    longest_token: Known[timedelta]

    def lines(self) -> Iterator[tuple[str, str, str]]:
        """Yield name, value and source of each fact, for people."""
        known = self.distribution.value
        yield "distribution", known.title if known else "", self.distribution.how
        yield "version", self.version.value or "", self.version.how
        if self.release.value and self.release.value != self.version.value:
            yield "release", self.release.value, self.release.how
        yield "issuer", self.issuer.value or "", self.issuer.how
        yield "audiences", ", ".join(self.audiences.value or ()), self.audiences.how
        yield "keys", ", ".join(f"{one.algorithm.name} {one.kid}" for one in self.keys.value or ()), self.keys.how
        yield "public", {True: "yes", False: "no", None: ""}[self.is_public.value], self.is_public.how
        yield "rotation", self.rotation.value or "", self.rotation.how
        yield "longest token", _span(self.longest_token.value), self.longest_token.how


@dataclass(frozen=True, slots=True)
class Advice:
    """The way with the least change.

    Attributes:
        keys: Where Google is to find the keys.
        why: As sentences.
        obstacle: What has to change first; empty: nothing.
    """

    keys: Keys
    why: str
    obstacle: str = ""


def draw(evidence: Evidence) -> Portrait:
    """Say what the answers mean."""
    distribution, sign = recognise(evidence)
    is_known = distribution is not OTHER
    release = distribution.release(evidence)
    silent = evidence.silent.get("nodes", "nothing in it is the mark of one that podpass knows")
    return Portrait(
        distribution=Known(distribution if is_known else None, sign or silent),
        version=Known(evidence.version, "/version"),
        release=Known(release, sign if release else "it has no version of its own to see"),
        issuer=_issuer(evidence),
        audiences=_audiences(evidence),
        keys=_keys(evidence),
        is_public=_publicity(evidence),
        rotation=Known(
            distribution.rotation or None, f"so it is with {distribution.title}" if is_known else "the distribution is not known"
        ),
        longest_token=_longest(evidence),
    )


def advise(portrait: Portrait) -> Advice:
    """Choose the way with the least change: the issuer stays; where its owner publishes and rotates the keys, Google reads them there."""
    issuer = _parsed(portrait.issuer.value)
    if portrait.issuer.value and issuer is None:
        return Advice(
            "inline",
            "Google takes https issuers only.",
            f"The tokens carry {portrait.issuer.value!r}. Set issuer.url, and move the issuer: `podpass export --format control-plane`.",
        )
    obstacle = _no_usable_key(portrait)
    distribution = portrait.distribution.value
    if issuer and is_managed(issuer):
        who = distribution.title if distribution else issuer.host
        return Advice("discovery", f"The issuer is public, and its keys are {who}'s to rotate; a copy of them would grow old.", obstacle)
    why = "The cluster keeps its issuer, its keys and its flags; Google gets a copy of the public keys."
    if distribution and distribution.is_managed:
        why += f" {distribution.title} rotates them, so the copy grows old: turn on its public OIDC issuer, and run `podpass init` again."
    return Advice("inline", why, obstacle)


def longest_life(flags: ServiceAccountFlags) -> timedelta | None:
    """Return what no token of a server with these flags outlives; None: whatever is asked for."""
    if flags.extend_token_expiration:
        return max(EXTENDED_LIFE, flags.max_token_expiration or EXTENDED_LIFE)
    return flags.max_token_expiration


def _issuer(evidence: Evidence) -> Known[str]:
    if evidence.discovery:
        return Known(evidence.discovery.issuer, "its discovery document")
    claimed = evidence.claims.get("iss") if evidence.claims else None
    if isinstance(claimed, str):
        return Known(claimed, "the `iss` of a token; it has no discovery document")
    flags = next((one for one in evidence.flags if one.issuers), None)
    if flags:
        return Known(flags.issuers[0], "the first --service-account-issuer of a kube-apiserver")
    return Known(None, _silence(evidence, "discovery", "it has no discovery document"))


def _audiences(evidence: Evidence) -> Known[tuple[str, ...]]:
    seen = {one.accepted_audiences for one in evidence.flags if one.accepted_audiences}
    if len(seen) == 1:
        return Known(seen.pop(), "the flags of its kube-apiserver")
    if len(seen) > 1:
        everything = tuple(sorted({audience for one in seen for audience in one}))
        return Known(everything, "the flags of its kube-apiservers, which differ")
    if evidence.claims:
        return Known(tuple(sorted(read_audiences(evidence.claims))), f"a token for the API server; {_FLAGS_HIDDEN}, and it may take more")
    return Known(None, _silence(evidence, "token", _FLAGS_HIDDEN))


def _keys(evidence: Evidence) -> Known[tuple[VerificationKey, ...]]:
    if evidence.jwks is None:
        return Known(None, _silence(evidence, "keys", "it publishes none"))
    try:
        return Known(tuple(KeySet.parse(evidence.jwks, algorithms=tuple(ALGORITHMS)).keys.values()), "/openid/v1/jwks")
    except KeySetError as error:
        return Known(None, f"/openid/v1/jwks cannot be used: {error.why}")


def _publicity(evidence: Evidence) -> Known[bool]:
    seen = evidence.publication
    return Known(seen.is_public, seen.how) if seen else Known(None, "the issuer is not known")


def _longest(evidence: Evidence) -> Known[timedelta]:
    if not evidence.flags:
        return Known(None, f"{_silence(evidence, 'flags', _FLAGS_HIDDEN)}; by default, tokens for the API server live up to a year")
    lives = [longest_life(one) for one in evidence.flags]
    known = [one for one in lives if one is not None]
    if len(known) < len(lives):
        return Known(None, "its kube-apiserver has no --service-account-max-token-expiration: whatever is asked for")
    if any(one.extend_token_expiration for one in evidence.flags):
        return Known(max(known), "tokens for the API server are extended to a year; others live as long as was asked for")
    return Known(max(known), "--service-account-max-token-expiration")


def _silence(evidence: Evidence, question: Question, otherwise: str) -> str:
    return evidence.silent.get(question, otherwise).rstrip(".")


def _parsed(issuer: str | None) -> Issuer | None:
    try:
        return Issuer.parse(issuer) if issuer else None
    except ConfigError:
        return None


def _no_usable_key(portrait: Portrait) -> str:
    keys = portrait.keys.value
    if not keys or any(one.algorithm.name in _TAKEN_BY_GOOGLE for one in keys):
        return ""
    names = ", ".join(sorted({one.algorithm.name for one in keys}))
    return f"Google takes RS256 and ES256; the cluster's keys are for {names}. Its signing key has to change."


def _span(life: timedelta | None) -> str:
    if life is None:
        return ""
    days, seconds = divmod(int(life.total_seconds()), 86400)
    return f"{days} days" if days and not seconds else re.sub(r"(:00)+$", "", f"{int(life.total_seconds()) / 3600:g} h")
