# SPDX-License-Identifier: Apache-2.0
"""One move of a cluster to another issuer: how far it is, and what has to exist at Google and in the cluster meanwhile. Pure.

Google's provider takes the tokens of one issuer, and while the control plane turns, tokens of two are in use. So two providers of one pool,
with one mapping and one condition, stand side by side from before the first token of the coming issuer until after the last one of the
former. Either takes tokens for the audience of the other: what a pod's volume asks for is none of the issuer's business.

The phase is written down before anything is done about it, and `standings`, `is_listed` and `default` follow from it. So `podpass apply` in
the middle of a move brings about what the step at hand does, and nothing else. Going back is the same walk with the parts exchanged.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Self, get_args

from podpass.config.federation import BucketSettings, Federation, IssuerSettings, Keys
from podpass.errors import PlanError
from podpass.federate.records import state_text
from podpass.names import Issuer
from podpass.names.bucket import check_bucket_name
from podpass.names.pool import check_id

KIND: Final = "IssuerMove"


class MovePhase(StrEnum):
    """What is done next; `control plane` marks what a person does there."""

    PUBLISH = "publish"  # documents of the coming issuer, and its provider beside the present one
    TELL = "tell"  # the config maps list both providers, for programs that choose by the token at hand
    ACCEPT = "accept"  # control plane: every API server takes tokens of both issuers
    SWITCH = "switch"  # control plane: every API server signs with the issuer that stays
    CONFIGURE = "configure"  # the credential configurations name its provider, for programs that read them once
    WAIT = "wait"  # the last token of the leaving issuer ends
    DROP = "drop"  # control plane: no API server takes tokens of the leaving issuer any more
    FORGET = "forget"  # its provider is deleted, and the config maps list nothing any more
    DONE = "done"


_ENDING: Final = frozenset({MovePhase.FORGET, MovePhase.DONE})
_BEFORE_ANY_TOKEN: Final = frozenset({MovePhase.PUBLISH, MovePhase.TELL, MovePhase.ACCEPT})
_NO_WAY_BACK: Final = frozenset({MovePhase.DROP, MovePhase.FORGET, MovePhase.DONE})


@dataclass(frozen=True, slots=True)
class Standing:
    """A provider, and the issuer whose tokens it takes.

    Attributes:
        provider: Its id.
        issuer: The issuer's URL.
        keys: Where Google finds the keys.
        bucket: Present exactly when that is a bucket that this federation keeps.
    """

    provider: str
    issuer: str
    keys: Keys
    bucket: BucketSettings | None = None

    def as_json(self) -> dict[str, object]:
        """Return it as the state holds it."""
        bucket = {"bucket": self.bucket.name, "location": self.bucket.location} if self.bucket else {}
        return {"provider": self.provider, "issuer": self.issuer, "keys": self.keys, **bucket}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `as_json` wrote; ConfigError, KeyError, TypeError or ValueError for anything else."""
        check_id("provider", value["provider"])
        if value["keys"] not in get_args(Keys):
            raise ValueError(value["keys"])
        bucket = None
        if value["keys"] == "bucket" and "bucket" in value:
            check_bucket_name(value["bucket"])
            bucket = BucketSettings(value["bucket"], str(value["location"]) if value["location"] else None)
        if not value["issuer"].isprintable():  # it is shown on terminals
            raise ValueError(value["provider"])
        return cls(value["provider"], Issuer.parse(value["issuer"]).url, value["keys"], bucket)


@dataclass(frozen=True, slots=True)
class IssuerMove:
    """A move.

    Attributes:
        phase: What is done next.
        pool: The pool of both providers.
        former: What stood at the beginning.
        coming: What the federation file asks for.
        longest_token: How long a token lives at most; says how long to wait.
        is_abrupt: The API servers can be told one issuer at a time, so tokens of the former one are refused at the switch.
        is_told: The config maps list both providers.
        told_at: Since when, by the API servers' clocks.
        is_configured: The credential configurations name the coming provider.
        switched_at: When every server was seen to sign with the issuer that stays.
        is_back: The former one is to stay after all.
    """

    phase: MovePhase
    pool: str
    former: Standing
    coming: Standing
    longest_token: timedelta
    is_abrupt: bool = False
    is_told: bool = False
    told_at: datetime | None = None
    is_configured: bool = False
    switched_at: datetime | None = None
    is_back: bool = False

    @classmethod
    def begin(cls, pool: str, former: Standing, coming: Standing, longest_token: timedelta, *, is_abrupt: bool = False) -> Self:
        """Return a move of which nothing is done."""
        return cls(MovePhase.PUBLISH, pool, former, coming, longest_token, is_abrupt)

    @property
    def stays(self) -> Standing:
        """What is there in the end."""
        return self.former if self.is_back else self.coming

    @property
    def leaves(self) -> Standing:
        """What is not."""
        return self.coming if self.is_back else self.former

    @property
    def standings(self) -> tuple[Standing, ...]:
        """What has to exist now."""
        return (self.stays,) if self.phase in _ENDING else (self.former, self.coming)

    @property
    def is_listed(self) -> bool:
        """Whether the config maps list both providers now."""
        return self.is_told and self.phase not in _ENDING

    @property
    def default(self) -> Standing:
        """Whose provider the credential configurations name now."""
        return self.coming if self.is_configured else self.former

    def signing(self, issuer: str) -> Standing:
        """Return the one whose issuer signs now."""
        return self.former if issuer == self.former.issuer else self.coming

    @property
    def is_unused(self) -> bool:
        """Whether it goes back, and no server was ever to sign with the coming issuer: nobody needs what leaves."""
        return self.is_back and self.switched_at is None and self.phase in _NO_WAY_BACK

    @property
    def is_early(self) -> bool:
        """Whether it can turn back now, with no token of the coming issuer to wait for."""
        return not self.is_back and self.phase in _BEFORE_ANY_TOKEN

    @property
    def undone(self) -> Self:
        """The end of the way back, with nothing of what leaves."""
        return replace(self, phase=MovePhase.DONE, is_back=True, coming=replace(self.coming, bucket=None))

    @property
    def wait_ends(self) -> datetime | None:
        """When the last token of the leaving issuer has ended: computed from the longest life, not measured; None before the switch."""
        return self.switched_at + self.longest_token if self.switched_at else None

    def published(self) -> Self:
        """Return it after Google was seen to have both providers."""
        return replace(self, phase=MovePhase.TELL, is_told=True)

    def told(self, now: datetime) -> Self:
        """Return it after the config maps were written."""
        return replace(self, phase=MovePhase.SWITCH if self.is_abrupt else MovePhase.ACCEPT, told_at=now)

    def switched(self, now: datetime) -> Self:
        """Return it after every server was seen to sign with the issuer that stays."""
        return replace(self, phase=MovePhase.CONFIGURE, switched_at=now, is_configured=not self.is_back)

    def unswitched(self) -> Self:
        """Return it after a server was seen to sign with the leaving issuer again: its tokens are waited for, too."""
        return replace(self, phase=MovePhase.SWITCH, switched_at=None)

    def waiting(self) -> Self:
        """Return it where it was said to be further than the last token lets it be."""
        return replace(self, phase=MovePhase.WAIT)

    def stepped(self) -> Self:
        """Return it after a step that nothing has to be remembered of."""
        phases = list(MovePhase)
        return replace(self, phase=phases[phases.index(self.phase) + 1])

    def turned_back(self) -> Self:
        """Return the way back from here.

        Raises:
            PlanError: It is too late: some server may refuse tokens of the leaving issuer already; or this is the way back.
        """
        if self.is_back:
            raise PlanError(
                "This move goes back already.", next_step="Go on with `podpass rotate --issuer --resume`.", code="plan.rotation"
            )
        if self.phase in _NO_WAY_BACK:
            raise PlanError(
                "Nothing was changed: this move cannot go back any more.",
                f"From the step `{MovePhase.DROP}` on, servers may refuse tokens of the former issuer already.",
                "End it with `podpass rotate --issuer --resume`, then begin another one.",
                code="plan.rotation",
            )
        # Once the switch has begun, some server may have signed with the coming issuer.
        phase = MovePhase.DROP if self.phase in _BEFORE_ANY_TOKEN else MovePhase.SWITCH
        return replace(self, phase=phase, is_back=True, switched_at=None)

    def forbids(self, stage: str) -> bool:
        """Whether a stage of the control plane would have tokens refused now; what takes one back is never forbidden."""
        if stage == "switch":
            return self.is_back or self.phase in _BEFORE_ANY_TOKEN
        return stage == "drop" and (self.is_back or self.phase not in _NO_WAY_BACK)

    def as_file(self, federation: Federation, standing: Standing) -> Federation:
        """Return the federation as a file would declare it in which one of the two stands alone."""
        google = federation.google
        issuer = IssuerSettings(Issuer.parse(standing.issuer), standing.keys, standing.bucket)
        return replace(federation, issuer=issuer, google=replace(google, provider=replace(google.provider, id=standing.provider)))

    def check_file(self, federation: Federation) -> None:
        """Refuse a file that asks for something else than either end of the move.

        Raises:
            PlanError: It names another pool, provider or issuer.
        """
        google, url = federation.google, federation.issuer.url
        declared = (google.provider.id, url if url == "keep" else url.url)
        ends = {(one.provider, issuer) for one in (self.former, self.coming) for issuer in (one.issuer, "keep")}
        if google.pool.id == self.pool and declared in ends - {(self.coming.provider, "keep")}:
            return
        raise PlanError(
            "Nothing was changed: the file does not fit the move of the issuer that is under way.",
            f"It names provider {google.provider.id} of pool {google.pool.id} for the issuer {declared[1]}; the move goes from "
            f"{self.former.provider} ({self.former.issuer}) to {self.coming.provider} ({self.coming.issuer}) in pool {self.pool}.",
            f"Write provider {self.coming.provider} and issuer {self.coming.issuer} to go on with `podpass rotate --issuer --resume`, or "
            f"provider {self.former.provider} and issuer {self.former.issuer} to go back with --abort.",
            code="plan.rotation-file",
        )

    def to_text(self) -> str:
        """Write it."""
        return state_text.write(
            KIND,
            {
                "phase": self.phase.value,
                "pool": self.pool,
                "former": self.former.as_json(),
                "coming": self.coming.as_json(),
                "longestTokenSeconds": int(self.longest_token.total_seconds()),
                "isAbrupt": self.is_abrupt,
                "isTold": self.is_told,
                "toldAt": self.told_at.isoformat() if self.told_at else None,
                "isConfigured": self.is_configured,
                "switchedAt": self.switched_at.isoformat() if self.switched_at else None,
                "isBack": self.is_back,
            },
        )

    @classmethod
    def from_text(cls, text: str, *, origin: str) -> Self:
        """Read what `to_text` wrote.

        Raises:
            ConfigError: It is no move, or one of another version.
        """
        return state_text.read(text, KIND, cls._read, origin=origin)

    @classmethod
    def _read(cls, value: dict[str, Any]) -> Self:
        check_id("workload identity pool", value["pool"])
        found = cls(
            phase=MovePhase(value["phase"]),
            pool=value["pool"],
            former=Standing.from_json(value["former"]),
            coming=Standing.from_json(value["coming"]),
            longest_token=timedelta(seconds=int(value["longestTokenSeconds"])),
            is_abrupt=value["isAbrupt"] is True,
            is_told=value["isTold"] is True,
            told_at=state_text.moment(value["toldAt"]),
            is_configured=value["isConfigured"] is True,
            switched_at=state_text.moment(value["switchedAt"]),
            is_back=value["isBack"] is True,
        )
        if not found._is_sound():
            raise ValueError(value["phase"])
        return found

    def _is_sound(self) -> bool:
        """Tell whether a walk can have got here."""
        are_two = self.former.provider != self.coming.provider and self.former.issuer != self.coming.issuer
        # Forward nobody comes past the wait without it; back it is left out where the coming issuer has never signed.
        must_wait = {MovePhase.CONFIGURE, MovePhase.WAIT} | (set() if self.is_back else _NO_WAY_BACK)
        has_switched = self.wait_ends is not None or self.phase not in must_wait
        has_told = self.told_at is not None or self.phase not in {MovePhase.SWITCH, MovePhase.CONFIGURE, MovePhase.WAIT}
        # A server that relapses during the wait brings the switch again, with the configurations changed already.
        is_turned = self.is_back or self.phase is MovePhase.SWITCH or self.is_configured == (self.phase not in _BEFORE_ANY_TOKEN)
        return are_two and has_switched and has_told and is_turned and timedelta() < self.longest_token <= state_text.LONGEST_TOKEN
