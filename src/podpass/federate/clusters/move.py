# SPDX-License-Identifier: Apache-2.0
"""How a cluster comes to another issuer without a token being refused: accept both, sign with the new one, drop the old. Pure.

The signing key stays: Google takes RS256 and ES256, so a move needs no other. What podpass writes never holds an audience of Google's among
the API server's, also where somebody else put one there.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from podpass.errors import ConfigError, UnexpectedAnswerError, UnsafePlanError
from podpass.federate.clusters.evidence import Evidence
from podpass.federate.clusters.finding import union
from podpass.federate.clusters.flags import EXTENDED_LIFE, ServiceAccountFlags
from podpass.federate.clusters.google_audience import is_google_audience, without_google
from podpass.federate.clusters.portrait import Portrait
from podpass.names import Issuer

StageName = Literal["accept", "switch", "drop"]

# pkg/kubelet/token/token_manager.go: a token is renewed when 80 % of its life is used; then the volume is written at the next pod sync, and
# client-go reads it again each minute. Kubernetes' own tokens are asked for with 3607 s.
RENEWAL: Final = timedelta(seconds=3607 * 0.8) + timedelta(seconds=90) + timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Stage:
    """One change of every API server, one server after the other.

    Attributes:
        name: Which.
        flags: What each API server is told from then on.
        purpose: What it is for, as a sentence.
        gate: What has to hold on every server before the next stage.
    """

    name: StageName
    flags: ServiceAccountFlags
    purpose: str
    gate: str


@dataclass(frozen=True, slots=True)
class Move:
    """From what a cluster is told now to another issuer.

    Attributes:
        before: What the API servers are told now, all of them together.
        issuer: The issuer to come.
        longest: What no token outlives; None: nobody limits it.
        servers: What each API server is told, where that can be seen: a stage that has reached some of them only is not done.
    """

    before: ServiceAccountFlags
    issuer: str
    longest: timedelta | None = EXTENDED_LIFE
    servers: tuple[ServiceAccountFlags, ...] = ()

    @property
    def old(self) -> tuple[str, ...]:
        """The issuers that are to go in the end."""
        return tuple(one for one in self.before.issuers if one != self.issuer)

    @property
    def lost(self) -> tuple[str, ...]:
        """The audiences of Google's that are among the API server's now and will not be."""
        return tuple(one for one in self.before.accepted_audiences if is_google_audience(one))

    @property
    def both(self) -> tuple[str, ...]:
        """The audiences while both issuers are accepted: those of now and the new issuer."""
        return without_google((*self.before.accepted_audiences, self.issuer))

    def left(self, *, several: bool) -> tuple[Stage, ...]:
        """Return what is left to do, from where the cluster stands; all of it can be repeated.

        Args:
            several: Whether a server can be told more than one issuer. One that cannot refuses the old issuer's tokens at once.
        """
        servers = self.servers or (self.before,)
        if not several:
            return () if all(one.issuers == (self.issuer,) for one in servers) else (self._alone(),)
        found = []
        if not all(self.issuer in one.issuers for one in servers):
            found.append(self._accept())
        if not all(one.issuers[:1] == (self.issuer,) for one in servers):
            found.append(self._switch())
        if self.old or self.lost:
            found.append(self._drop())
        return tuple(found)

    def _accept(self) -> Stage:
        flags = self.before.with_issuers((*self.old, self.issuer), self.both)
        purpose = "Every server takes tokens of both issuers and signs with the old one. Nothing is seen of it yet."
        return Stage(
            "accept", flags, purpose, f"each server is ready and runs with --service-account-issuer={self.issuer} as its last issuer"
        )

    def _switch(self) -> Stage:
        flags = self.before.with_issuers((self.issuer, *self.old), self.both)
        purpose = "The new issuer signs; tokens of the old one stay good."
        gate = f"each server is ready, a new token carries {self.issuer}, and Google's STS takes it (`podpass doctor`)"
        return Stage("switch", flags, purpose, gate)

    def _alone(self) -> Stage:
        flags = self.before.with_issuers((self.issuer,), self.both)
        purpose = "The new issuer signs, and tokens of the old one are refused: this kind of cluster takes one issuer."
        return Stage("switch", flags, purpose, self._switch().gate)

    def _drop(self) -> Stage:
        kept = [one for one in self.both if one not in self.old]
        flags = self.before.with_issuers((self.issuer,), kept)
        return Stage(
            "drop", flags, "Tokens of the old issuer are refused from now on.", "each server is ready, and `podpass doctor` passes"
        )

    def back(self) -> ServiceAccountFlags:
        """Return what takes the last stage back: from the new issuer's signing to accepting it, from there to the old one alone.

        Raises:
            UnsafePlanError: The old issuer has been dropped, so nobody knows it any more.
        """
        if not self.old:
            raise UnsafePlanError(
                "Nothing was changed: the servers do not know the old issuer any more.",
                "It has been dropped.",
                "To go back, write it into issuer.url: it is a move like any other.",
            )
        servers = self.servers or (self.before,)
        if any(one.issuers[:1] == (self.issuer,) and len(one.issuers) > 1 for one in servers):
            return self._accept().flags
        return self.before.with_issuers(self.old, [one for one in self.both if one != self.issuer])

    def old_ends(self, switched_at: datetime) -> datetime | None:
        """Return when the last token of the old issuer has ended: computed, not measured; None where nothing limits a token's life."""
        return None if self.longest is None else switched_at + self.longest


def plan_move(evidence: Evidence, portrait: Portrait, issuer: Issuer, told: tuple[ServiceAccountFlags, ...] = ()) -> Move:
    """Work out a move from what is known of a cluster.

    Args:
        evidence: Its answers.
        portrait: What they mean.
        issuer: Where to.
        told: What the machines are told, where somebody has asked them; else what can be seen of the servers' command lines.

    Raises:
        ConfigError: The issuer of now is not known.
        UnexpectedAnswerError: The cluster has issuers or audiences that are no words.
    """
    flags = told or evidence.flags
    issuers, audiences = union(flags)
    current = portrait.issuer.value
    if current is None:
        raise ConfigError(
            "The cluster's issuer is not known.",
            f"{portrait.issuer.how[:1].upper()}{portrait.issuer.how[1:]}.",
            "Let the operator read /.well-known/openid-configuration of the API server.",
            code="config.issuer-unknown",
        )
    # The discovery document tells which one signs.
    issuers = tuple(dict.fromkeys((current, *issuers)))
    audiences = audiences or portrait.audiences.value or ()
    for text in (*issuers, *audiences):
        _check_plain(text)
    given = flags[0] if flags else ServiceAccountFlags()
    before = given.with_issuers(issuers, () if audiences == issuers else audiences)
    # A life that nobody can see may be a year: kube-apiserver's default.
    longest = portrait.longest_token.value if evidence.flags else EXTENDED_LIFE
    return Move(before, issuer.url, longest, flags)


def _check_plain(text: str) -> None:
    """Refuse what would not stay one word of a command: an API server may say anything of itself."""
    if not text.isprintable() or " " in text or "," in text:
        raise UnexpectedAnswerError(
            f"The cluster has {text!r} among its issuers or audiences.",
            "That is no URL and no name.",
            "Look at the flags of its kube-apiserver: --service-account-issuer and --api-audiences.",
        )
