# SPDX-License-Identifier: Apache-2.0
"""Limits of Google's that a plan comes near to or passes. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from podpass.federate.change import Action, Change
from podpass.federate.plan import Caution
from podpass.google.policy import Policy

# IAM quotas: principals in all bindings of one allow policy, each time that one appears counted.
PRINCIPALS_A_POLICY: Final = 1500
_NEAR: Final = 0.8


def cautions(policies: Mapping[str, Policy], changes: Iterable[Change]) -> Iterator[Caution]:
    """Return which policies grow too large, or nearly so.

    Args:
        policies: As they are, by target.
        changes: The plan's.
    """
    growth = Counter[str]()
    for change in changes:
        if change.kind.is_policy_item:
            growth[str(change.identity["target"])] += {Action.CREATE: 1, Action.DELETE: -1}.get(change.action, 0)
    for target, more in growth.items():
        size = more + sum(len(binding.get("members") or ()) for binding in policies.get(target, {}).get("bindings") or ())
        if more > 0 and size > _NEAR * PRINCIPALS_A_POLICY:
            yield Caution("policy-size", f"The IAM policy of {target} would have {size} principals; Google {_verdict(size)}")


def _verdict(size: int) -> str:
    cure = "Workloads that need the same roles can share a googleServiceAccount: it is one principal."
    return f"{'refuses' if size > PRINCIPALS_A_POLICY else 'will refuse'} more than {PRINCIPALS_A_POLICY}. {cure}"
