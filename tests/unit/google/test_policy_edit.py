# SPDX-License-Identifier: Apache-2.0
"""Edits of a live policy: conflicts, lost answers, things that Google does not know yet."""

from typing import Any

import httpx2
import pytest

from podpass.errors import UnexpectedAnswerError, UnreachableError
from podpass.google.backoff import SETTLING
from podpass.google.fault import GoogleRefusedError
from podpass.google.iam import ServiceAccountPolicy
from podpass.google.policy import Policy, add_member, remove_member
from podpass.google.policy_edit import edit_policy
from podpass.google.projects import ProjectPolicy
from podpass.google.storage import BucketPolicy
from podpass.names import GoogleServiceAccount
from unit.google.recorded import Recorded, google, refusal

ROLE, MEMBER = "roles/viewer", "serviceAccount:a@demo-project.iam.gserviceaccount.com"
ACCOUNT = GoogleServiceAccount("a@demo-project.iam.gserviceaccount.com")
EMPTY: dict[str, Any] = {"etag": "ACAB"}
FOREIGN = {"etag": "BwX=", "bindings": [{"role": ROLE, "members": ["user:b@example.com"]}]}
CONFLICT = refusal(409, "ABORTED", "There were concurrent policy changes.")
UNKNOWN_MEMBER = refusal(400, "INVALID_ARGUMENT", f"Service account {ACCOUNT} does not exist.")
UNKNOWN_ACCOUNT = refusal(404, "NOT_FOUND", "Unknown service account")
DENIED = refusal(403, "PERMISSION_DENIED", "The caller does not have permission")


def add(policy: Policy) -> Policy:
    return add_member(policy, ROLE, MEMBER)


def project(there: Recorded) -> ProjectPolicy:
    return ProjectPolicy(there.client(), "demo-project")


def test_a_change_is_one_reading_and_one_writing_under_the_etag_that_was_read() -> None:
    there = google(FOREIGN, FOREIGN)
    assert edit_policy(project(there), add, pacing=there.time.pacing()).was_written
    assert there.lines == [
        "POST cloudresourcemanager.googleapis.com/v1/projects/demo-project:getIamPolicy",
        "POST cloudresourcemanager.googleapis.com/v1/projects/demo-project:setIamPolicy",
    ]
    assert there.bodies[0] == {"options": {"requestedPolicyVersion": 3}}
    assert there.bodies[1] == {"policy": {"etag": "BwX=", "bindings": [{"role": ROLE, "members": ["user:b@example.com", MEMBER]}]}}


def test_what_is_so_already_is_not_written() -> None:
    there = google(add(dict(FOREIGN)))
    assert not edit_policy(project(there), add).was_written
    assert len(there.asked) == 1


def test_an_edit_that_gives_an_equal_policy_is_not_written() -> None:
    there = google(FOREIGN)
    assert not edit_policy(project(there), dict).was_written


def test_the_last_binding_is_taken_away_by_a_policy_without_bindings() -> None:
    there = google(add(dict(EMPTY)), EMPTY)
    edit_policy(project(there), lambda policy: remove_member(policy, ROLE, MEMBER))
    assert there.bodies[1] == {"policy": EMPTY}


def test_the_four_spellings_of_the_four_resources() -> None:
    there = google(EMPTY)
    client = there.client()
    for holder in (ServiceAccountPolicy(client, ACCOUNT), BucketPolicy(client, "demo-oidc")):
        edit_policy(holder, add)
    assert there.lines == [
        f"POST iam.googleapis.com/v1/projects/demo-project/serviceAccounts/{ACCOUNT}:getIamPolicy?options.requestedPolicyVersion=3",
        f"POST iam.googleapis.com/v1/projects/demo-project/serviceAccounts/{ACCOUNT}:setIamPolicy",
        "GET storage.googleapis.com/storage/v1/b/demo-oidc/iam?optionsRequestedPolicyVersion=3",
        "PUT storage.googleapis.com/storage/v1/b/demo-oidc/iam",
    ]
    written = {"etag": "ACAB", "bindings": [{"role": ROLE, "members": [MEMBER]}]}
    assert there.bodies == [None, {"policy": written}, None, written]


def test_after_a_conflict_the_other_writers_binding_is_kept() -> None:
    there = google(EMPTY, CONFLICT, FOREIGN, FOREIGN)
    edit_policy(project(there), add, pacing=there.time.pacing())
    assert there.bodies[3] == {"policy": {"etag": "BwX=", "bindings": [{"role": ROLE, "members": ["user:b@example.com", MEMBER]}]}}


def test_conflicts_without_end_are_told_at_the_bound() -> None:
    there = google(EMPTY, CONFLICT, EMPTY, CONFLICT, EMPTY, CONFLICT, EMPTY, CONFLICT, EMPTY, CONFLICT)
    with pytest.raises(GoogleRefusedError, match="Somebody else changed it at the same time"):
        edit_policy(project(there), add, pacing=there.time.pacing(within=5))
    assert there.time.now <= 5


@pytest.mark.parametrize("lost", [httpx2.ReadError("reset"), refusal(503, "UNAVAILABLE", "Unavailable.")], ids=["broken", "503"])
def test_after_a_lost_answer_it_is_read_whether_the_write_was_done(lost: httpx2.Response | Exception) -> None:
    there = google(EMPTY, lost, add(dict(EMPTY)))
    assert not edit_policy(project(there), add, pacing=there.time.pacing()).was_written
    assert [line.rpartition(":")[2] for line in there.lines] == ["getIamPolicy", "setIamPolicy", "getIamPolicy"]


def test_a_refusal_is_not_waited_out_where_nothing_is_new() -> None:
    there = google(EMPTY, UNKNOWN_MEMBER)
    with pytest.raises(GoogleRefusedError, match="does not exist"):
        edit_policy(project(there), add, pacing=there.time.pacing())
    assert len(there.asked) == 2


@pytest.mark.parametrize("refused", [UNKNOWN_MEMBER, UNKNOWN_ACCOUNT, DENIED], ids=["400", "404", "403"])
def test_what_was_just_created_is_waited_for(refused: httpx2.Response) -> None:
    there = google(EMPTY, refused, EMPTY, refused, EMPTY, EMPTY)
    assert edit_policy(project(there), add, just_created=True, pacing=there.time.pacing()).was_written
    assert there.time.slept == [0.5, 1]


def test_the_wait_for_what_was_just_created_is_bounded() -> None:
    there = google(DENIED)
    with pytest.raises(GoogleRefusedError):
        edit_policy(project(there), add, just_created=True, pacing=there.time.pacing())
    assert 0.75 * SETTLING.total_seconds() < there.time.now <= SETTLING.total_seconds()


@pytest.mark.parametrize(
    "refused",
    [refusal(400, "INVALID_ARGUMENT", "Role roles/nope is not supported for this resource."), refusal(412, "X", "y")],
    ids=["400", "412"],
)
def test_other_refusals_are_not_waited_out_even_then(refused: httpx2.Response) -> None:
    there = google(refused)
    with pytest.raises(GoogleRefusedError):
        edit_policy(project(there), add, just_created=True, pacing=there.time.pacing())
    assert there.time.slept == []


def test_a_policy_without_an_etag_is_not_written() -> None:
    there = google({})
    with pytest.raises(UnexpectedAnswerError, match="The IAM policy of the project demo-project came without an etag"):
        edit_policy(project(there), add)
    assert len(there.asked) == 1


def test_a_dead_network_ends_the_loop() -> None:
    there = google(EMPTY, httpx2.ReadError("reset"))
    with pytest.raises(UnreachableError):
        edit_policy(project(there), add, pacing=there.time.pacing(within=10))
