# SPDX-License-Identifier: Apache-2.0
"""Limits of Google's that a plan comes near to or passes, and what to write instead. Pure.

A policy has room for so many principals. Where workloads of one namespace have the same role on the same thing, one principal set stands
for all of them, and for every other account of that namespace: so it is proposed with the names of those, and never done unasked.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from podpass.config.cross_checks import is_namespace_claim
from podpass.config.federation import DEFAULT_NAMESPACE_MEMBER, Federation, Workload
from podpass.federate.desired.condition import NAMESPACE
from podpass.federate.model.change import Action, Change
from podpass.federate.model.objection import Objection
from podpass.federate.model.plan import Caution
from podpass.google.policy import Policy
from podpass.names import ServiceAccountRef

# IAM quotas: principals in all bindings of one allow policy, each time that one appears counted.
PRINCIPALS_A_POLICY: Final = 1500
_NEAR: Final = 0.8
_SHOWN: Final = 5
_SHARE: Final = "Workloads that need the same roles can share a googleServiceAccount: it is one principal."

Census = Mapping[str, tuple[str, ...] | None]
"""The accounts of namespaces; None: unknown."""


@dataclass(frozen=True, slots=True)
class _Group:
    """The workloads of one namespace that have something on one policy.

    Attributes:
        namespace: Theirs.
        accounts: They.
        common: What each of them has there: roles; `""` is the binding to a Google account.
    """

    namespace: str
    accounts: frozenset[ServiceAccountRef]
    common: frozenset[str]

    @property
    def saved(self) -> int:
        """How many principals fewer one set would be."""
        return (len(self.accounts) - 1) * len(self.common)


@dataclass(frozen=True, slots=True)
class _Full:
    """A policy that is nearly full, or more than that.

    Attributes:
        target: Whose.
        size: How many principals it would have.
        groups: Who would be a set instead.
    """

    target: str
    size: int
    groups: tuple[_Group, ...]

    @property
    def is_too_large(self) -> bool:
        return self.size > PRINCIPALS_A_POLICY


class Crowd:
    """The policies that a plan would fill.

    Args:
        federation: The file, with a workload for each account that its selectors found.
        policies: As they are, by target.
        changes: The plan's.
    """

    def __init__(self, federation: Federation, policies: Mapping[str, Policy], changes: Iterable[Change]) -> None:
        self.federation = federation
        self._full = tuple(self._of(target, size) for target, size in _sizes(policies, changes))

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Of which it has to be known who lives there: they would be named whole."""
        return tuple(dict.fromkeys(group.namespace for full in self._full for group in full.groups))

    def objections(self, census: Census) -> Iterator[Objection]:
        """Return the policies that Google would refuse.

        Args:
            census: The accounts of `namespaces`.
        """
        for full in self._full:
            if full.is_too_large:
                verdict = f"Google refuses more than {PRINCIPALS_A_POLICY}."
                why, cure = self._cure(full, census)
                yield Objection("plan.policy-too-large", f"{_sentence(full)}; {verdict}", why, cure)

    def cautions(self, census: Census) -> Iterator[Caution]:
        """Return the policies that are nearly full; `census` as in `objections`."""
        for full in self._full:
            if not full.is_too_large:
                why, cure = self._cure(full, census)
                verdict = f"Google will refuse more than {PRINCIPALS_A_POLICY}."
                yield Caution("policy-size", " ".join(filter(None, (f"{_sentence(full)}; {verdict}", why, cure))))

    def _of(self, target: str, size: int) -> _Full:
        wanted = size - _NEAR * PRINCIPALS_A_POLICY
        chosen: list[_Group] = []
        for group in sorted(self._groups(target), key=lambda one: (-one.saved, one.namespace)):
            if group.saved > 0 and sum(one.saved for one in chosen) < wanted:
                chosen.append(group)
        return _Full(target, size, tuple(chosen))

    def _groups(self, target: str) -> Iterator[_Group]:
        found: dict[str, dict[ServiceAccountRef, frozenset[str]]] = {}
        for workload in self.federation.workloads:
            has = _has(workload, target, self.federation.google.project)
            if has and not workload.is_namespace:
                found.setdefault(workload.service_account.namespace, {})[workload.service_account] = has
        for namespace, workloads in found.items():
            yield _Group(namespace, frozenset(workloads), frozenset.intersection(*workloads.values()))

    def _cure(self, full: _Full, census: Census) -> tuple[str, str]:
        if not full.groups:
            return "", _SHARE
        names = ", ".join(group.namespace for group in full.groups)
        left = full.size - sum(group.saved for group in full.groups)
        who = " ".join(_others(group, census.get(group.namespace)) for group in full.groups)
        why = f"One principal set can stand for a whole namespace; the policy would then have {left}. {who}"
        return why, f"If that is meant, write these lines, and take what they give from the workloads of {names}:\n{self._lines(full)}"

    def _lines(self, full: _Full) -> str:
        mapping = dict(self.federation.google.attribute_mapping)
        member = next((name for name, text in mapping.items() if name.startswith("attribute.") and is_namespace_claim(text)), "")
        if not member:
            member = next(name for name in (DEFAULT_NAMESPACE_MEMBER, "attribute.kubernetes_namespace") if name not in mapping)
            mapping[member] = NAMESPACE
        entries = [_entry(group, full.target, self.federation, member) for group in full.groups]
        spec = {"spec": {"google": {"attributeMapping": mapping}, "workloads": entries}}
        return str(yaml.safe_dump(spec, sort_keys=False, width=1000)).rstrip()


def _sizes(policies: Mapping[str, Policy], changes: Iterable[Change]) -> Iterator[tuple[str, int]]:
    growth = Counter[str]()
    for change in changes:
        if change.kind.is_policy_item:
            growth[str(change.identity["target"])] += {Action.CREATE: 1, Action.DELETE: -1}.get(change.action, 0)
    for target, more in growth.items():
        size = more + sum(len(binding.get("members") or ()) for binding in policies.get(target, {}).get("bindings") or ())
        if more > 0 and size > _NEAR * PRINCIPALS_A_POLICY:
            yield target, size


def _sentence(full: _Full) -> str:
    return f"The IAM policy of {full.target} would have {full.size} principals"


def _has(workload: Workload, target: str, project: str) -> frozenset[str]:
    """Return what a workload's own principal has on a policy; conditions are each workload's own affair."""
    account = workload.google_service_account
    if account:
        return frozenset({""}) if target == f"account/{account.email}" else frozenset()
    own = workload.roles if target == f"project/{project}" else ()
    granted = (
        one.role for one in workload.grants if one.condition is None and target in {f"bucket/{one.bucket}", f"project/{one.project}"}
    )
    return frozenset((*own, *granted))


def _others(group: _Group, names: tuple[str, ...] | None) -> str:
    if names is None:
        return f"Who else lives in {group.namespace}, the operator may not see: all of them would have it."
    known = {account.name for account in group.accounts}
    others = [name for name in names if name not in known]
    if not others:
        return f"Nobody else lives in {group.namespace} now; whoever comes would have it, too."
    shown = ", ".join(others[:_SHOWN]) + (f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else "")
    what = "1 account more" if len(others) == 1 else f"{len(others)} accounts more"
    return f"In {group.namespace} {what} than the {len(known)} of the file would have it ({shown}), and whoever comes."


def _entry(group: _Group, target: str, federation: Federation, member: str) -> dict[str, Any]:
    kind, _, name = target.partition("/")
    entry: dict[str, Any] = {"namespace": group.namespace, **({"member": member} if member != DEFAULT_NAMESPACE_MEMBER else {})}
    if kind == "account":
        own = f"@{federation.google.project}.iam.gserviceaccount.com"
        is_existing = any(one.account_is_existing for one in federation.workloads if f"account/{one.google_service_account}" == target)
        return {**entry, "googleServiceAccount": name if is_existing else name.removesuffix(own)}
    roles = sorted(group.common)
    if target == f"project/{federation.google.project}":
        return {**entry, "roles": roles}
    return {**entry, "grants": [{"role": role, kind: name} for role in roles]}
