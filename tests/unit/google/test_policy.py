# SPDX-License-Identifier: Apache-2.0
"""Edits of policies: what is meant changes, what is foreign survives."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpass.errors import UnexpectedAnswerError
from podpass.google.policy import Condition, Policy, add_member, has_member, remove_member

ROLE, MEMBER = "roles/viewer", "serviceAccount:a@demo-project.iam.gserviceaccount.com"
UNTIL = {"title": "until", "expression": "request.time < timestamp('2030-01-01T00:00:00Z')"}
FOREIGN: Policy = {
    "version": 3,
    "etag": "BwX/+A==",
    "auditConfigs": [{"service": "allServices"}],
    "bindings": [
        {"role": "roles/owner", "members": ["user:admin@example.com"], "somethingNew": 1},
        {"role": ROLE, "members": ["user:b@example.com"]},
        {"role": ROLE, "members": ["user:c@example.com"], "condition": UNTIL},
    ],
}


def test_a_member_joins_the_binding_of_its_role() -> None:
    added = add_member(FOREIGN, ROLE, MEMBER)
    assert added["bindings"][1] == {"role": ROLE, "members": ["user:b@example.com", MEMBER]}


def test_a_member_under_a_condition_joins_the_binding_of_that_condition_only() -> None:
    added = add_member(FOREIGN, ROLE, MEMBER, {**UNTIL, "description": ""})
    assert added["bindings"][1] == FOREIGN["bindings"][1]
    assert added["bindings"][2]["members"] == ["user:c@example.com", MEMBER]
    assert added["bindings"][2]["condition"] == UNTIL


def test_a_new_condition_makes_a_new_binding_and_version_three() -> None:
    assert add_member({"etag": "ACAB", "version": 1}, ROLE, MEMBER, UNTIL) == {
        "etag": "ACAB",
        "version": 3,
        "bindings": [{"role": ROLE, "members": [MEMBER], "condition": UNTIL}],
    }


def test_without_conditions_the_version_stays_as_it_was() -> None:
    assert add_member({"etag": "ACAB"}, ROLE, MEMBER) == {"etag": "ACAB", "bindings": [{"role": ROLE, "members": [MEMBER]}]}


def test_invariant_6_everything_foreign_survives() -> None:
    before = copy.deepcopy(FOREIGN)
    after = add_member(FOREIGN, "roles/editor", MEMBER)
    assert before == FOREIGN
    assert {key: after[key] for key in ("version", "etag", "auditConfigs")} == {
        key: FOREIGN[key] for key in ("version", "etag", "auditConfigs")
    }
    assert after["bindings"][:3] == FOREIGN["bindings"]


def test_a_member_that_is_there_changes_nothing() -> None:
    added = add_member(FOREIGN, ROLE, MEMBER)
    assert add_member(added, ROLE, MEMBER) is added


def test_a_member_that_is_not_there_is_not_removed() -> None:
    assert remove_member(FOREIGN, ROLE, MEMBER) is FOREIGN
    assert remove_member(FOREIGN, ROLE, "user:c@example.com") is FOREIGN


def test_the_last_member_takes_its_binding_along() -> None:
    after = remove_member(FOREIGN, ROLE, "user:b@example.com")
    assert after["bindings"] == [FOREIGN["bindings"][0], FOREIGN["bindings"][2]]


def test_the_last_binding_takes_the_key_along() -> None:
    assert remove_member({"etag": "x", "bindings": [{"role": ROLE, "members": [MEMBER]}]}, ROLE, MEMBER) == {"etag": "x"}


def test_a_role_that_stands_twice_loses_the_member_in_both() -> None:
    policy = {"bindings": [{"role": ROLE, "members": [MEMBER, "user:x@example.com"]}, {"role": ROLE, "members": [MEMBER]}]}
    assert remove_member(policy, ROLE, MEMBER)["bindings"] == [{"role": ROLE, "members": ["user:x@example.com"]}]


@pytest.mark.parametrize("bindings", ["x", {}, [1]])
def test_a_policy_of_another_shape_is_not_touched(bindings: object) -> None:
    with pytest.raises(UnexpectedAnswerError, match="bindings are not a list of objects"):
        add_member({"etag": "x", "bindings": bindings}, ROLE, MEMBER)


members = st.sampled_from([f"user:{letter}@example.com" for letter in "abcd"])
conditions = st.sampled_from([None, {"title": "a", "expression": "true"}, {"title": "b", "expression": "false", "description": "d"}])
roles = st.sampled_from(["roles/a", "roles/b"])
bindings = st.builds(
    lambda role, who, condition: {"role": role, "members": who, **({"condition": condition} if condition else {})},
    roles,
    st.lists(members, min_size=1, max_size=4, unique=True),
    conditions,
)
policies = st.builds(
    lambda items, extra: {"etag": "BwX=", "bindings": items, **extra}, st.lists(bindings, max_size=5), st.sampled_from([{}, {"x": 1}])
)


def facts(policy: Policy) -> set[tuple[str, str, str]]:
    found: set[tuple[str, str, str]] = set()
    for binding in policy.get("bindings", []):
        found |= {(binding["role"], member, str(binding.get("condition"))) for member in binding["members"]}
    return found


@given(policies, roles, members, conditions)
def test_adding_grants_this_and_nothing_else(policy: dict[str, Any], role: str, member: str, condition: Condition | None) -> None:
    after = add_member(policy, role, member, condition)
    assert facts(after) == facts(policy) | {(role, member, str(condition))}
    assert has_member(after, role, member, condition)
    assert after.get("x") == policy.get("x")
    assert after["etag"] == policy["etag"]


@given(policies, roles, members, conditions)
def test_removing_takes_this_and_nothing_else(policy: dict[str, Any], role: str, member: str, condition: Condition | None) -> None:
    after = remove_member(policy, role, member, condition)
    assert facts(after) == facts(policy) - {(role, member, str(condition))}
    assert after.get("bindings") != [] or after is policy
    assert after["etag"] == policy["etag"]
