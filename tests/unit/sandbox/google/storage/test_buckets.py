# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from unit.sandbox.google.storage.cloud import OWNER, STRANGER, Cloud, error

TAKEN = (
    "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name "
    "and try again."
)
DENIED = "Permission '{0}' denied on resource (or it may not exist)."


def test_a_bucket_is_shown_as_google_shows_it(cloud: Cloud) -> None:
    cloud.bucket(location="us-east1")
    assert cloud.own("GET", "/storage/v1/b/demo") == {
        "kind": "storage#bucket",
        "id": "demo",
        "name": "demo",
        "projectNumber": "415104041262",
        "location": "US-EAST1",
        "locationType": "region",
        "storageClass": "STANDARD",
        "iamConfiguration": {
            "uniformBucketLevelAccess": {"enabled": False},
            "bucketPolicyOnly": {"enabled": False},
            "publicAccessPrevention": "inherited",
        },
        "timeCreated": "2026-01-02T03:04:05.678Z",
        "updated": "2026-01-02T03:04:05.678Z",
        "metageneration": "1",
        "selfLink": "https://storage.googleapis.com/storage/v1/b/demo",
        "etag": "MQ==",
    }


def test_buckets_are_listed_by_project_in_pages(cloud: Cloud) -> None:
    for name in ("bbb", "aaa", "ccc"):
        cloud.bucket(name)
    cloud.own("POST", "/storage/v1/b?project=99", {"name": "ddd"})
    first = cloud.own("GET", "/storage/v1/b?project=demo-project&maxResults=2")
    second = cloud.own("GET", f"/storage/v1/b?project=415104041262&maxResults=2&pageToken={first['nextPageToken']}")
    assert [each["name"] for each in first["items"] + second["items"]] == ["aaa", "bbb", "ccc"]
    assert "nextPageToken" not in second
    assert cloud.own("GET", "/storage/v1/b?project=elsewhere&prefix=x") == {"kind": "storage#buckets"}


@pytest.mark.parametrize("name", ["", "ab", "Demo", "-demo", "demo-", "goog-demo", "my-google-demo", "a" * 64, "de/mo"])
def test_a_name_that_no_bucket_can_have_is_refused(cloud: Cloud, name: str) -> None:
    answer = cloud.ask("POST", "/storage/v1/b?project=demo-project", {"name": name}, who=OWNER)
    assert error(answer) == (400, f"Invalid bucket name: '{name}'", "invalid")


def test_a_taken_name_says_whose_it_is(cloud: Cloud) -> None:
    cloud.bucket()
    own = cloud.ask("POST", "/storage/v1/b?project=demo-project", {"name": "demo"}, who=OWNER)
    assert error(own) == (409, "Your previous request to create the named bucket succeeded and you already own it.", "conflict")
    assert error(cloud.ask("POST", "/storage/v1/b?project=elsewhere", {"name": "demo"}, who=OWNER)) == (409, TAKEN, "conflict")


@pytest.mark.parametrize(("query", "message"), [("", "Required parameter: project"), ("?project=nobody", "Unknown project id: nobody")])
def test_buckets_need_a_project(cloud: Cloud, query: str, message: str) -> None:
    status, told, _ = error(cloud.ask("GET", f"/storage/v1/b{query}", who=OWNER))
    assert (status, told) == (400, message)


@pytest.mark.parametrize(
    ("verb", "target", "permission", "noun"),
    [
        ("GET", "/storage/v1/b?project=demo-project", "storage.buckets.list", "project"),
        ("POST", "/storage/v1/b?project=demo-project", "storage.buckets.create", "project"),
        ("GET", "/storage/v1/b/demo", "storage.buckets.get", "Storage bucket"),
        ("PATCH", "/storage/v1/b/demo", "storage.buckets.update", "Storage bucket"),
        ("DELETE", "/storage/v1/b/demo", "storage.buckets.delete", "Storage bucket"),
        ("GET", "/storage/v1/b/demo/iam", "storage.buckets.getIamPolicy", "Storage bucket"),
        ("PUT", "/storage/v1/b/demo/iam", "storage.buckets.setIamPolicy", "Storage bucket"),
        ("GET", "/storage/v1/b/demo/o", "storage.objects.list", "Storage bucket"),
        ("GET", "/storage/v1/b/demo/storageLayout", "storage.objects.list", "Storage bucket"),
        ("GET", "/storage/v1/b/demo/managedFolders", "storage.managedFolders.list", "Storage bucket"),
        ("GET", "/storage/v1/b/demo/o/a%2Fb", "storage.objects.get", "Storage object"),
        ("DELETE", "/storage/v1/b/demo/o/a%2Fb", "storage.objects.delete", "Storage object"),
        ("POST", "/upload/storage/v1/b/demo/o?uploadType=media&name=a", "storage.objects.create", "Storage object"),
    ],
)
def test_every_method_asks_iam_first(cloud: Cloud, verb: str, target: str, permission: str, noun: str) -> None:
    cloud.bucket()
    tail = f"does not have {permission} access to the Google Cloud {noun}. {DENIED.format(permission)}"
    assert error(cloud.ask(verb, target, who=STRANGER)) == (403, f"{STRANGER} {tail}", "forbidden")
    assert error(cloud.ask(verb, target)) == (401, f"Anonymous caller {tail}", "required")


def test_a_new_bucket_belongs_to_the_project_s_basic_roles(cloud: Cloud) -> None:
    cloud.bucket()
    team = ["projectEditor:demo-project", "projectOwner:demo-project"]
    policy = cloud.own("GET", "/storage/v1/b/demo/iam")
    assert policy.pop("etag")
    assert policy == {
        "kind": "storage#policy",
        "resourceId": "projects/_/buckets/demo",
        "version": 1,
        "bindings": [
            {"role": "roles/storage.legacyBucketOwner", "members": team},
            {"role": "roles/storage.legacyBucketReader", "members": ["projectViewer:demo-project"]},
        ],
    }


def test_uniform_access_gives_them_the_objects_too(cloud: Cloud) -> None:
    cloud.uniform_bucket()
    roles = [binding["role"].rpartition(".")[2] for binding in cloud.own("GET", "/storage/v1/b/demo/iam")["bindings"]]
    assert roles == ["legacyBucketOwner", "legacyBucketReader", "legacyObjectOwner", "legacyObjectReader"]


def test_a_stale_etag_is_a_conflict(cloud: Cloud) -> None:
    cloud.bucket()
    policy = cloud.own("GET", "/storage/v1/b/demo/iam")
    cloud.grant("roles/storage.objectViewer", "allUsers")
    status, _, reason = error(cloud.ask("PUT", "/storage/v1/b/demo/iam", policy, who=OWNER))
    assert (status, reason) == (409, "conflict")


def test_permissions_can_be_asked_for_by_anybody_about_themselves(cloud: Cloud) -> None:
    cloud.bucket()
    target = "/storage/v1/b/demo/iam/testPermissions?permissions=storage.buckets.get&permissions=storage.objects.get"
    assert cloud.own("GET", target)["permissions"] == ["storage.buckets.get"]
    assert json.loads(cloud.ask("GET", target, who=STRANGER).body)["permissions"] == []


def test_public_access_prevention_refuses_public_members_and_ignores_those_there_are(cloud: Cloud) -> None:
    cloud.uniform_bucket()
    cloud.put("keys.json")
    cloud.grant("roles/storage.objectViewer", "allUsers")
    assert cloud.ask("GET", "/demo/keys.json").status == 200
    cloud.own("PATCH", "/storage/v1/b/demo", {"iamConfiguration": {"publicAccessPrevention": "enforced"}})
    assert cloud.ask("GET", "/demo/keys.json").status == 403
    assert cloud.ask("GET", "/demo/keys.json", who=STRANGER).status == 403
    assert cloud.ask("GET", "/demo/keys.json", who=OWNER).status == 200
    refused = cloud.ask("PUT", "/storage/v1/b/demo/iam", cloud.own("GET", "/storage/v1/b/demo/iam"), who=OWNER)
    assert error(refused) == (
        412,
        "The member bindings allUsers and allAuthenticatedUsers are not allowed since public access prevention is enforced.",
        "conditionNotMet",
    )


def test_a_condition_needs_uniform_access(cloud: Cloud) -> None:
    cloud.bucket()
    condition = {"title": "docs", "expression": "resource.name.endsWith('.json')"}
    policy = {"version": 3, "bindings": [{"role": "roles/storage.objectViewer", "members": ["allUsers"], "condition": condition}]}
    assert error(cloud.ask("PUT", "/storage/v1/b/demo/iam", policy, who=OWNER))[0] == 400
    cloud.own("PATCH", "/storage/v1/b/demo", {"iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}}})
    assert cloud.own("PUT", "/storage/v1/b/demo/iam", policy)["bindings"][0]["condition"] == condition


def test_a_condition_on_a_name_admits_that_object_only(cloud: Cloud) -> None:
    cloud.uniform_bucket()
    policy = cloud.own("GET", "/storage/v1/b/demo/iam")
    condition = {"title": "docs", "expression": "resource.name == 'projects/_/buckets/demo/objects/keys.json'"}
    policy["bindings"].append({"role": "roles/storage.objectAdmin", "members": [f"user:{STRANGER}"], "condition": condition})
    cloud.own("PUT", "/storage/v1/b/demo/iam", {**policy, "version": 3})
    cloud.clock.step(cloud.universe.settings.propagation)
    uploads = "/upload/storage/v1/b/demo/o?uploadType=media&name="
    assert cloud.ask("POST", f"{uploads}keys.json", b"{}", who=STRANGER).status == 200
    assert cloud.ask("POST", f"{uploads}other.json", b"{}", who=STRANGER).status == 403


def test_a_patch_changes_what_it_names_and_counts(cloud: Cloud) -> None:
    cloud.bucket(labels={"a": "b"})
    changed = cloud.own(
        "PATCH", "/storage/v1/b/demo", {"labels": None, "iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}}}
    )
    assert (changed["metageneration"], "labels" in changed) == ("2", False)
    assert changed["iamConfiguration"] == {
        "uniformBucketLevelAccess": {"enabled": True},
        "bucketPolicyOnly": {"enabled": True},
        "publicAccessPrevention": "inherited",
    }
    assert cloud.own("GET", "/storage/v1/b/demo") == changed


def test_what_the_sandbox_does_not_keep_is_refused_by_name(cloud: Cloud) -> None:
    answer = cloud.ask("POST", "/storage/v1/b?project=demo-project", {"name": "demo", "versioning": {"enabled": True}}, who=OWNER)
    status, message, _ = error(answer)
    assert status == 501
    assert "versioning" in message


def test_only_an_empty_bucket_is_deleted_and_leaves_nothing(cloud: Cloud) -> None:
    before = cloud.universe.dump()
    cloud.bucket()
    cloud.put("a")
    cloud.own("POST", "/upload/storage/v1/b/demo/o?uploadType=resumable&name=b", {})
    refused = cloud.ask("DELETE", "/storage/v1/b/demo", who=OWNER)
    assert error(refused) == (409, "The bucket you tried to delete is not empty.", "conflict")
    assert cloud.ask("DELETE", "/storage/v1/b/demo/o/a", who=OWNER).status == 204
    assert cloud.ask("DELETE", "/storage/v1/b/demo", who=OWNER).status == 204
    assert error(cloud.ask("GET", "/storage/v1/b/demo", who=OWNER)) == (404, "The specified bucket does not exist.", "notFound")
    assert cloud.universe.dump() == before
    assert "storage.upload" not in cloud.universe.store.kinds()
    assert not cloud.universe.store._blobs


@pytest.mark.parametrize("query", ["ifMetagenerationMatch=2", "ifMetagenerationNotMatch=1"])
def test_a_bucket_s_metageneration_can_be_a_condition(cloud: Cloud, query: str) -> None:
    cloud.bucket()
    answer = cloud.ask("PATCH", f"/storage/v1/b/demo?{query}", {}, who=OWNER)
    assert error(answer) == (412, "At least one of the pre-conditions you specified did not hold.", "conditionNotMet")


def test_rm_recursive_s_two_questions_are_answered(cloud: Cloud) -> None:
    cloud.bucket()
    assert cloud.own("GET", "/storage/v1/b/demo/managedFolders?pageSize=1000") == {"kind": "storage#managedFolders"}
    assert cloud.own("GET", "/storage/v1/b/demo/storageLayout") == {
        "kind": "storage#storageLayout",
        "bucket": "demo",
        "location": "US",
        "locationType": "multi-region",
        "hierarchicalNamespace": {"enabled": False},
    }


def test_a_token_for_reading_does_not_write(cloud: Cloud) -> None:
    token = cloud.universe.identities.user_token(OWNER, ["https://www.googleapis.com/auth/devstorage.read_only"])
    reading = cloud.ask("GET", "/storage/v1/b?project=demo-project", authorization=f"Bearer {token}")
    writing = cloud.ask("POST", "/storage/v1/b?project=demo-project", {"name": "demo"}, authorization=f"Bearer {token}")
    assert (reading.status, writing.status) == (200, 403)
    assert json.loads(writing.body)["error"]["details"][0]["reason"] == "ACCESS_TOKEN_SCOPE_INSUFFICIENT"
