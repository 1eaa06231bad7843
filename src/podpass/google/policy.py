# SPDX-License-Identifier: Apache-2.0
"""IAM policies as values: one member of one role, under one condition or none, is added or taken away; all the rest stays as it was.

What stays: foreign bindings, their order, their conditions, members that this module has no rule for, and the etag, which makes the write
safe. A policy that does not change is returned as the same object, so that callers can see that there is nothing to write.

Source:
    IAM `Policy` and `Binding`: a role stands once for each distinct condition; version 3 is demanded as soon as any
    binding has a condition; an empty policy has no `bindings` at all.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from podpass.errors import UnexpectedAnswerError

Policy: TypeAlias = dict[str, Any]
Condition: TypeAlias = Mapping[str, str]

CONDITIONS_VERSION: Final = 3


def add_member(policy: Policy, role: str, member: str, condition: Condition | None = None) -> Policy:
    """Return the policy with the member in the role's binding of this condition; makes the binding where there is none."""
    if has_member(policy, role, member, condition):
        return policy
    bindings = _bindings(policy)
    for index, binding in enumerate(bindings):
        if _is_of(binding, role, condition):
            grown = {**binding, "members": [*_members(binding), member]}
            return _with_bindings(policy, [*bindings[:index], grown, *bindings[index + 1 :]])
    made: dict[str, Any] = {"role": role, "members": [member]}
    if condition:
        made["condition"] = dict(condition)
    return _with_bindings(policy, [*bindings, made])


def remove_member(policy: Policy, role: str, member: str, condition: Condition | None = None) -> Policy:
    """Return the policy without the member in the role's binding of this condition; a binding that becomes empty goes."""
    if not has_member(policy, role, member, condition):
        return policy
    left = []
    for binding in _bindings(policy):
        if not _is_of(binding, role, condition):
            left.append(binding)
        elif members := [other for other in _members(binding) if other != member]:
            left.append({**binding, "members": members})
    return _with_bindings(policy, left)


def has_member(policy: Policy, role: str, member: str, condition: Condition | None = None) -> bool:
    """Say whether the member is in the role's binding of exactly this condition."""
    return any(member in _members(binding) for binding in _bindings(policy) if _is_of(binding, role, condition))


def _with_bindings(policy: Policy, bindings: list[dict[str, Any]]) -> Policy:
    changed = {key: value for key, value in policy.items() if key != "bindings"}
    if bindings:
        changed["bindings"] = bindings
    if any(binding.get("condition") for binding in bindings):
        changed["version"] = CONDITIONS_VERSION
    return changed


def _is_of(binding: Mapping[str, Any], role: str, condition: Condition | None) -> bool:
    return binding.get("role") == role and _plain(binding.get("condition")) == _plain(condition)


def _plain(condition: object) -> dict[str, str]:
    """Return what makes a condition itself: an absent description is an empty one."""
    if not isinstance(condition, Mapping):
        return {}
    return {key: str(condition[key]) for key in ("title", "description", "expression") if condition.get(key)}


def _bindings(policy: Policy) -> list[dict[str, Any]]:
    bindings = policy.get("bindings", [])
    if not isinstance(bindings, list) or not all(isinstance(binding, dict) for binding in bindings):
        raise UnexpectedAnswerError("Google sent an IAM policy whose bindings are not a list of objects.", "", "Nothing was written.")
    return bindings


def _members(binding: Mapping[str, Any]) -> list[str]:
    return list(binding.get("members", []))
