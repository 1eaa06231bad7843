# SPDX-License-Identifier: Apache-2.0
"""Clusters that can have one signing key only: what replacing it will refuse, and for how long, told beforehand. Pure.

Talos before 1.14 derives the one key that a server accepts from the one that signs (machine configuration, cluster.serviceAccount.key).
There is nothing to announce beside it, so no order of steps keeps every token good; what can be done is to know what will be felt.

Source:
    pkg/kubelet/token/token_manager.go: a token is renewed when 80 % of its life is used, or after 24 h; then the volume is written at the
    next sync of the pod, and clients read it again each minute.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from podpass.federate.clusters.distribution import minor_of
from podpass.federate.clusters.distributions import talos
from podpass.federate.clusters.evidence import Evidence

_SEVERAL_SINCE: Final = 14
_OWN_LIFE: Final = timedelta(seconds=3607)
_RENEWED_AT: Final = 0.8
_RENEWED_AFTER: Final = timedelta(hours=24)
_SYNC: Final = timedelta(seconds=90)
_NEXT_READ: Final = timedelta(seconds=60)


def renewed_within(life: timedelta) -> timedelta:
    """Return after how long a running pod has another token in the place of one of this life; computed."""
    return min(life * _RENEWED_AT, _RENEWED_AFTER) + _SYNC + _NEXT_READ


@dataclass(frozen=True, slots=True)
class Refusal:
    """Tokens that will be refused.

    Attributes:
        by: By whom.
        tokens: Which.
        begins: From when on.
        ends: Until when, in words.
        lasts: For how long, from the restart of the last server on; None: until something is done.
    """

    by: str
    tokens: str
    begins: str
    ends: str
    lasts: timedelta | None = None

    def __str__(self) -> str:
        return f"{self.by}: {self.tokens}, {self.begins}; {self.ends}."


@dataclass(frozen=True, slots=True)
class Report:
    """What replacing the one key will refuse.

    Attributes:
        release: The oldest Talos of the control plane.
        servers: How many API servers there are, as far as nodes tell.
        token_life: The longest life that a workload of the federation asks of its token.
        lasting: Secrets whose token the key signed; None: they cannot be listed.
    """

    release: str
    servers: int
    token_life: timedelta
    lasting: tuple[str, ...] | None = ()

    @property
    def own(self) -> timedelta:
        """How long, after the last server has restarted, a pod may hold a token of its own that API servers refuse."""
        return renewed_within(_OWN_LIFE)

    @property
    def google(self) -> timedelta:
        """How long, after the last server has restarted, a workload may hold a token that Google refuses."""
        return renewed_within(self.token_life)

    def refusals(self) -> Iterator[Refusal]:
        """Yield everything that will be refused, in the order in which it begins."""
        if self.servers > 1:
            yield Refusal(
                "API servers that have restarted and those that have not",
                "each refuses what the other signs",
                "from the first restart on",
                "until the last one",
                timedelta(0),
            )
        yield Refusal(
            "API servers",
            "every token of the old key, of system pods and controllers too",
            "each from its restart on",
            f"a running pod has another one {_minutes(self.own)} after the last restart at the latest, a restarted pod at once",
            self.own,
        )
        yield Refusal(
            "Google",
            "every token of the new key",
            "from the first that is signed",
            "until `podpass keys sync`",
        )
        yield Refusal(
            "Google",
            "every token of the old key",
            "from `podpass keys sync` on",
            f"a running workload has another one {_minutes(self.google)} after the last restart at the latest, a restarted one at once",
            self.google,
        )
        yield Refusal(
            "Services that verify the cluster's tokens themselves",
            "every token of the old key",
            "as soon as they have read the keys anew",
            f"as Google: {_minutes(self.google)} for a token of that life",
            self.google,
        )
        yield Refusal(
            "Everybody", f"tokens in Secrets{self._secrets()}, and those that somebody asked for outside of pods", "for good", "made anew"
        )

    def _secrets(self) -> str:
        if self.lasting is None:
            return " (they cannot be listed)"
        return f" ({', '.join(self.lasting)})" if self.lasting else " (there are none)"

    def steps(self) -> Iterator[str]:
        """Yield what to do if it has to be all the same."""
        yield "Plan a maintenance window. Tell whoever calls the cluster with tokens of its own."
        yield "openssl genrsa 4096 | base64 -w0    # cluster.serviceAccount.key"
        yield "talosctl -n NODE patch machineconfig -p @patch.yaml    # every control-plane node; on when `kubectl get --raw /readyz` is ok"
        yield "podpass keys sync    # right after the last node"
        yield "kubectl delete pods -n kube-system --all, then the other pods: each has a good token as soon as it is new"
        yield "podpass doctor"


def report(evidence: Evidence, token_life: timedelta, lasting: tuple[str, ...] | None) -> Report | None:
    """Return what replacing the key of a cluster will refuse; None where it can have several, or does not say.

    Args:
        evidence: What the cluster answered.
        token_life: The longest life that a workload asks of its token.
        lasting: Secrets with tokens; None: unknown.
    """
    release = talos.release(evidence)
    minor = minor_of(release) if release else None
    if release is None or minor is None or minor >= _SEVERAL_SINCE:
        return None
    return Report(release, sum(node.is_control_plane for node in evidence.nodes) or 1, token_life, lasting)


def _minutes(span: timedelta) -> str:
    minutes = -(-span // timedelta(minutes=1))
    return f"{minutes} minutes" if minutes < 120 else f"{span.total_seconds() / 3600:.1f} h"  # noqa: PLR2004 - what is read more easily
