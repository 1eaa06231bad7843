# SPDX-License-Identifier: Apache-2.0
from podpass.federate.model.change import Action, Change
from podpass.federate.observed.permissions import asked, lacking, needed

CREATE_POOL = Change("pool/p", Action.CREATE, {})
GRANT = Change("grant/a:viewer@project/other", Action.CREATE, {"target": "project/other", "role": "r", "member": "m"})
BINDING = Change("binding/n/w", Action.CREATE, {"target": "account/a@demo.iam.gserviceaccount.com", "role": "r", "member": "m"})
FOREIGN = Change("binding/n/w", Action.CREATE, {"target": "account/a@other.iam.gserviceaccount.com", "role": "r", "member": "m"})


def test_other_projects_are_asked_about_their_policy_alone() -> None:
    found = asked("demo", ["project/demo", "project/other", "bucket/b", ""])
    assert found["other"] == {"resourcemanager.projects.setIamPolicy"}
    assert found.keys() == {"demo", "other"}
    assert {"iam.workloadIdentityPools.create", "resourcemanager.projects.setIamPolicy"} <= found["demo"]


def test_a_missing_permission_is_told_once_with_those_who_need_it() -> None:
    many = [Change(f"account/a{index}", Action.CREATE, {}) for index in range(5)]
    (objection,) = lacking(many, "demo", {"demo": frozenset({"iam.serviceAccounts.create"})})
    assert objection.what == "The operator lacks iam.serviceAccounts.create on the project demo."
    assert objection.why == "account/a0, account/a1, account/a2, … needs it."


def test_only_what_the_plan_needs_is_missed() -> None:
    missing = {"demo": frozenset({"iam.workloadIdentityPools.delete", "storage.buckets.create"})}
    assert lacking([CREATE_POOL, GRANT, BINDING], "demo", missing) == ()


def test_policies_of_projects_and_of_own_accounts_are_judged_and_foreign_ones_left_to_the_call() -> None:
    missing = {"demo": frozenset({"iam.serviceAccounts.setIamPolicy"}), "other": frozenset({"resourcemanager.projects.setIamPolicy"})}
    found = lacking([GRANT, BINDING, FOREIGN], "demo", missing)
    assert [objection.what.split()[3] for objection in found] == [
        "resourcemanager.projects.setIamPolicy",
        "iam.serviceAccounts.setIamPolicy",
    ]


def test_a_project_that_could_not_be_asked_is_left_to_the_call() -> None:
    assert lacking([CREATE_POOL], "demo", {}) == ()


MAKES_BUCKET = Change("bucket/b", Action.CREATE, {"bucket": "b"})
OBJECT = Change("object/b/keys.json", Action.UPDATE, {"bucket": "b", "object": "keys.json"})
READERS = Change("grant/allUsers:r@bucket/b", Action.CREATE, {"target": "bucket/b", "role": "r", "member": "allUsers"})


def test_a_bucket_of_ones_own_is_asked_about_what_is_done_in_it() -> None:
    found = needed([OBJECT, READERS], "demo")
    assert found == {
        "bucket/b": {
            "storage.objects.create": ["object/b/keys.json"],
            "storage.objects.delete": ["object/b/keys.json"],
            "storage.buckets.setIamPolicy": ["grant/allUsers:r@bucket/b"],
        }
    }
    (objection,) = lacking([OBJECT], "demo", {"bucket/b": frozenset({"storage.objects.create"})})
    assert objection.what == "The operator lacks storage.objects.create on the bucket b."


def test_what_may_be_done_in_a_bucket_that_is_not_there_yet_and_with_those_of_others_is_left_to_the_call() -> None:
    assert needed([MAKES_BUCKET, OBJECT, READERS], "demo") == {"demo": {"storage.buckets.create": ["bucket/b"]}}
    assert needed([READERS], "demo") == {}
