# SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest

from podpass.errors import UnexpectedAnswerError
from podpass.google.fault import GoogleRefusedError
from podpass.google.groups import find_group, is_transitive_member
from unit.google.recorded import google, refusal

HOST = "cloudidentity.googleapis.com/v1/groups"
MISSING = refusal(404, "NOT_FOUND", "Requested entity was not found.")
DENIED = refusal(403, "PERMISSION_DENIED", "Error(2028): Permission denied for resource groups/x (or it may not exist).")


def test_a_group_is_asked_about_as_google_has_it() -> None:
    there = google({"name": "groups/01abc"}, {"hasMembership": True})
    client = there.client()
    name = find_group(client, "team@example.com")
    assert name == "groups/01abc"
    assert is_transitive_member(client, name, "o'brien@example.com")
    assert there.lines[0] == f"GET {HOST}:lookup?groupKey.id=team%40example.com"
    assert there.asked[1].url.path == "/v1/groups/01abc/memberships:checkTransitiveMembership"
    assert there.asked[1].url.params["query"] == r"member_key_id == 'o\'brien@example.com'"


def test_who_is_not_said_to_be_in_a_group_is_not_in_it() -> None:
    assert not is_transitive_member(google({}).client(), "groups/01abc", "ann@example.com")
    assert not is_transitive_member(google(MISSING).client(), "groups/01abc", "ann@example.com")
    assert find_group(google(MISSING).client(), "team@example.com") is None


def test_what_google_does_not_tell_is_an_error() -> None:
    with pytest.raises(GoogleRefusedError, match=r"refused to find the group team@example\.com"):
        find_group(google(DENIED).client(), "team@example.com")


@pytest.mark.parametrize("answer", [{}, {"name": 1}, {"name": "people/1"}])
def test_an_answer_without_a_group_is_an_error(answer: dict[str, Any]) -> None:
    with pytest.raises(UnexpectedAnswerError, match="It has no `name`"):
        find_group(google(answer).client(), "team@example.com")


def test_a_membership_is_true_or_false() -> None:
    with pytest.raises(UnexpectedAnswerError, match="not true or false"):
        is_transitive_member(google({"hasMembership": "true"}).client(), "groups/01abc", "ann@example.com")
