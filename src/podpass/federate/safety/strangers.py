# SPDX-License-Identifier: Apache-2.0
"""Who can do what a workload can, or more than the file declares: what the policies that were read say beyond it. Pure.

Told and never touched: podpass did not make these members, and others may rest on them. Each comes with the command that takes it away.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from podpass.config.federation import Federation
from podpass.errors import ConfigError
from podpass.federate.export.script import binding_command
from podpass.federate.model.change import Action, Change
from podpass.federate.model.plan import Caution
from podpass.federate.model.resource import JSON, Resource
from podpass.google.policy import Policy
from podpass.names import PoolName, Principal

# Whoever has one of these on a project has it on each of its service accounts.
_BECOMES: Final = frozenset({"roles/iam.workloadIdentityUser", "roles/iam.serviceAccountTokenCreator"})
_PUBLIC: Final = frozenset({"allUsers", "allAuthenticatedUsers"})
# A Kubernetes account of GKE's own pool: serviceAccount:PROJECT.svc.id.goog[NAMESPACE/NAME].
_OF_GKE: Final = ".svc.id.goog["


@dataclass(frozen=True, slots=True)
class _Item:
    """One member of one policy."""

    target: str
    role: str
    member: str
    condition: Mapping[str, str] | None

    @property
    def identity(self) -> dict[str, JSON]:
        """As a resource's identity has it."""
        item: dict[str, JSON] = {"target": self.target, "role": self.role, "member": self.member}
        return {**item, "condition": dict(self.condition)} if self.condition else item


def cautions(
    federation: Federation,
    pool: PoolName,
    policies: Mapping[str, Policy],
    desired: Iterable[Resource],
    changes: Iterable[Change],
) -> Iterator[Caution]:
    """Return what the policies give beyond the file, one caution for all members of a role on a resource.

    Args:
        federation: The file.
        pool: Its pool, with the project's number.
        policies: As they are, by target.
        desired: Everything that the file asks for.
        changes: The plan's; what they take away is not spoken of.
    """
    judge = _Judge(federation, pool, desired)
    leaving = {_key(identity) for change in changes for identity in _taken_away(change)}
    found: dict[tuple[str, str, str], list[_Item]] = {}
    for item in _items(policies):
        key = _key(item.identity)
        code = "" if key in judge.declared or key in leaving else judge.code(item)
        if code:
            found.setdefault((code, item.target, item.role), []).append(item)
    for (code, _, _), items in sorted(found.items()):
        yield Caution(code, _message(code, items, federation.google.project))


class _Judge:
    """What the file declares, and what is strange beside it."""

    def __init__(self, federation: Federation, pool: PoolName, desired: Iterable[Resource]) -> None:
        self.pool = pool
        self.declared = {_key(resource.identity) for resource in desired if resource.kind.is_policy_item}
        accounts = [(one.google_service_account, one.account_is_existing) for one in federation.patterns]
        self.accounts = {f"account/{account.email}" for account, _ in accounts if account}
        # An account that was there before may serve others: what it has besides is theirs.
        self.own = {account.member for account, is_existing in accounts if account and not is_existing}
        self.project = f"project/{federation.google.project}"

    def code(self, item: _Item) -> str:
        """Return why a member that nobody declared is worth a word; empty where it is not."""
        principal = _principal(item.member)
        if principal and principal.pool == self.pool:
            return "whole-pool" if principal.kind == "*" else "undeclared-member"
        becomes = item.target in self.accounts or (bool(self.accounts) and item.target == self.project and item.role in _BECOMES)
        if becomes and (principal or _OF_GKE in item.member):
            return "other-pool"
        if becomes and item.member in _PUBLIC:
            return "public-member"
        return "undeclared-grant" if item.member in self.own else ""


def _taken_away(change: Change) -> Iterator[Mapping[str, JSON]]:
    if change.kind.is_policy_item and change.action is Action.DELETE:
        yield change.identity
    elif change.kind.is_policy_item and change.action is Action.UPDATE:
        yield change.before


def _items(policies: Mapping[str, Policy]) -> Iterator[_Item]:
    for target, policy in sorted(policies.items()):
        for binding in policy.get("bindings") or ():
            for member in binding.get("members") or ():
                yield _Item(target, binding["role"], member, binding.get("condition"))


def _key(identity: Mapping[str, JSON]) -> tuple[str, str, str, str]:
    expression = (identity.get("condition") or {}).get("expression", "")
    return str(identity["target"]), str(identity["role"]), str(identity["member"]), str(expression)


def _principal(member: str) -> Principal | None:
    try:
        return Principal.parse(member)
    except ConfigError:
        return None


_WHY: Final = {
    "whole-pool": "That is everybody whom the provider lets in, not the declared workloads.",
    "undeclared-member": "Nothing in the file asks for it.",
    "other-pool": "It is of another pool, so what that one trusts can act as the workload.",
    "public-member": "So everybody can act as the workload.",
    "undeclared-grant": "The file asks for less.",
}


def _message(code: str, items: list[_Item], project: str) -> str:
    first = items[0]
    principal = _principal(first.member)
    is_set = code == "undeclared-member" and principal is not None and principal.kind != "subject"
    set_of = f" It is a set: every account whose {principal.kind} is {principal.value!r}." if is_set and principal else ""
    under = f" under the condition {first.condition.get('title', '')!r}" if first.condition else ""
    more = f", and so {'has 1 more' if len(items) == 2 else f'have {len(items) - 1} more'} like it" if len(items) > 1 else ""  # noqa: PLR2004 - one besides the first
    return (
        f"{first.member} has {first.role} on {first.target}{under}{more}. {_WHY[code]}{set_of} "
        f"If nobody needs it: `{binding_command('remove', first.identity, project)}`."
    )
