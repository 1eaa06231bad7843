# SPDX-License-Identifier: Apache-2.0
"""Each API's requests, where the sandbox cannot show them: pages, operations that take time, answers that Google gives seldom."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from podpass.errors import UnexpectedAnswerError, UnreachableError
from podpass.google import iam, projects, services, storage
from podpass.google.fault import FaultKind, GoogleRefusedError
from podpass.google.operations import finish
from podpass.google.rest import GoogleClient
from podpass.google.storage import StoredObject
from podpass.names import GoogleServiceAccount, PoolName
from unit.google.recorded import google, reason, refusal

POOL = PoolName("123", "demo-pool")
PROVIDER = POOL.provider("demo-provider")
ACCOUNT = GoogleServiceAccount("a-b-c-d@demo-project.iam.gserviceaccount.com")
DONE: dict[str, Any] = {"name": "operations/1", "done": True, "response": {"name": "x"}}
MISSING = refusal(404, "NOT_FOUND", "Requested entity was not found.")
PRECONDITION = refusal(400, "FAILED_PRECONDITION", "Precondition check failed.")


def test_pools_and_providers_are_asked_as_google_has_them() -> None:
    there = google(DONE)
    client = there.client()
    iam.create_pool(client, POOL, {"displayName": "Demo"})
    iam.update_pool(client, POOL, {"description": "x"}, ["description"])
    iam.undelete_pool(client, POOL)
    iam.create_provider(client, PROVIDER, {"oidc": {"issuerUri": "https://x"}})
    iam.update_provider(client, PROVIDER, {}, ["attributeCondition", "oidc.jwksJson"])
    iam.delete_provider(client, PROVIDER)
    iam.undelete_provider(client, PROVIDER)
    root = "iam.googleapis.com/v1/projects/123/locations/global/workloadIdentityPools"
    assert there.lines == [
        f"POST {root}?workloadIdentityPoolId=demo-pool",
        f"PATCH {root}/demo-pool?updateMask=description",
        f"POST {root}/demo-pool:undelete",
        f"POST {root}/demo-pool/providers?workloadIdentityPoolProviderId=demo-provider",
        f"PATCH {root}/demo-pool/providers/demo-provider?updateMask=attributeCondition%2Coidc.jwksJson",
        f"DELETE {root}/demo-pool/providers/demo-provider",
        f"POST {root}/demo-pool/providers/demo-provider:undelete",
    ]
    assert there.bodies[4] == {}


def test_an_operation_that_takes_time_is_followed_to_its_end() -> None:
    name = "projects/123/locations/global/workloadIdentityPools/demo-pool/operations/op"
    there = google({"name": name}, {"name": name}, {"name": name}, {"name": name, **DONE})
    iam.create_pool(there.client(), POOL, {})
    assert there.lines[1:] == [f"GET iam.googleapis.com/v1/{name}"] * 3
    assert there.time.slept == [1, 2], "the first question waits for nothing"


def test_an_operation_that_ends_badly_is_a_refusal() -> None:
    error = {"code": 7, "message": "not you", "details": [reason("IAM_PERMISSION_DENIED", permission="iam.x.y")]}
    with pytest.raises(GoogleRefusedError, match=r"Google refused to create the pool demo-pool \(403 PERMISSION_DENIED\)") as caught:
        iam.create_pool(google({"name": "op", "done": True, "error": error}).client(), POOL, {})
    assert caught.value.kind is FaultKind.PERMISSION_DENIED


def test_an_operation_that_does_not_end_is_told_at_the_bound() -> None:
    there = google({"name": "op"})
    with pytest.raises(UnreachableError, match=r"The operation to wait has not ended\. It was followed for 300 s\."):
        finish(there.client(), "iam", "v1", {"name": "op"}, "wait")
    assert 200 < there.time.now <= 300


def test_a_second_deletion_is_as_good_as_the_first() -> None:
    assert not iam.delete_pool(google(MISSING).client(), POOL)
    assert not iam.delete_pool(google(PRECONDITION, {"state": "DELETED"}).client(), POOL)
    with pytest.raises(GoogleRefusedError):
        iam.delete_pool(google(PRECONDITION, {"state": "ACTIVE"}).client(), POOL)
    assert not iam.delete_service_account(google(MISSING).client(), ACCOUNT)
    assert not storage.delete_bucket(google(MISSING).client(), "demo-oidc")
    assert not storage.delete_object(google(MISSING).client(), "demo-oidc", "keys.json")


def test_pages_are_turned() -> None:
    there = google(
        {"workloadIdentityPoolProviders": [{"name": "a"}], "nextPageToken": "t"}, {"workloadIdentityPoolProviders": [{"name": "b"}]}
    )
    assert iam.list_providers(there.client(), POOL) == [{"name": "a"}, {"name": "b"}]
    assert there.lines[1].endswith("pageSize=100&pageToken=t")
    services_there = google(
        {"services": [{"name": "projects/1/services/iam.googleapis.com"}], "nextPageToken": "t"},
        {"services": [{"name": "projects/1/services/sts.googleapis.com"}]},
    )
    assert services.enabled_services(services_there.client(), "demo-project") == {"iam.googleapis.com", "sts.googleapis.com"}


def test_a_pool_that_is_not_there_has_no_providers() -> None:
    assert iam.list_providers(google(MISSING).client(), POOL) == []


def test_a_project_is_known_by_id_and_by_number() -> None:
    there = google({"projectId": "demo-project", "projectNumber": "123"})
    assert projects.get_project(there.client(), "123") == projects.Project("demo-project", "123")
    with pytest.raises(UnexpectedAnswerError, match="has no projectId or no projectNumber"):
        projects.get_project(google({"projectId": "x"}).client(), "x")


def test_missing_permissions_are_what_google_leaves_out() -> None:
    assert projects.missing_permissions(google({"permissions": ["a.b.c"]}).client(), "demo-project", ["a.b.c", "d.e.f"]) == {"d.e.f"}
    assert projects.missing_permissions(google({}).client(), "demo-project", ["a.b.c"]) == {"a.b.c"}


def test_enabling_an_api_that_is_enabled_ends_at_once() -> None:
    there = google({"name": "operations/noop.DONE_OPERATION", "done": True})
    services.enable_service(there.client(), "demo-project", "iam.googleapis.com")
    assert there.lines == ["POST serviceusage.googleapis.com/v1/projects/demo-project/services/iam.googleapis.com:enable"]


def test_an_object_is_written_in_one_request_with_its_headers_and_its_precondition() -> None:
    there = google({"generation": "7"})
    stored = StoredObject(b'{"keys":[]}\n', "0", "public, max-age=0", "application/json")
    assert storage.put_object(there.client(), "demo-oidc", ".well-known/openid-configuration", stored) == "7"
    (sent,) = there.asked
    assert there.lines == ["POST storage.googleapis.com/upload/storage/v1/b/demo-oidc/o?uploadType=multipart&ifGenerationMatch=0"]
    boundary = sent.headers["content-type"].removeprefix("multipart/related; boundary=")
    head, media = sent.content.split(f"--{boundary}".encode())[1:3]
    assert b'"name": ".well-known/openid-configuration"' in head
    assert b'"cacheControl": "public, max-age=0"' in head
    assert media == b'\r\nContent-Type: application/json\r\n\r\n{"keys":[]}\n\r\n'


def test_a_write_whose_answer_was_lost_is_made_again_under_the_same_precondition() -> None:
    taken = httpx2.Response(412, json={"error": {"code": 412, "message": "It did not hold.", "errors": [{"reason": "conditionNotMet"}]}})
    there = google(httpx2.ReadError("reset"), taken)
    with pytest.raises(GoogleRefusedError) as caught:
        storage.put_object(there.client(), "demo-oidc", "keys.json", StoredObject(b"{}", "0"))
    assert caught.value.kind is FaultKind.ABORTED
    assert [line.rpartition("&")[2] for line in there.lines] == ["ifGenerationMatch=0", "ifGenerationMatch=0"]


@pytest.mark.parametrize(
    "create",
    [
        lambda client: iam.create_pool(client, POOL, {}),
        lambda client: iam.create_provider(client, PROVIDER, {}),
        lambda client: iam.undelete_pool(client, POOL),
        lambda client: iam.create_service_account(client, "demo-project", "demo-sa", {}),
        lambda client: storage.create_bucket(client, "demo-project", "demo-oidc", {}),
    ],
    ids=["pool", "provider", "undelete", "account", "bucket"],
)
def test_a_creation_whose_answer_was_lost_is_made_again_so_that_it_is_known_whether_it_was_done(
    create: Callable[[GoogleClient], object],
) -> None:
    there = google(httpx2.ReadError("reset"), refusal(503, "UNAVAILABLE", "Later."), refusal(409, "ALREADY_EXISTS", "It exists."))
    with pytest.raises(GoogleRefusedError) as caught:
        create(there.client())
    assert caught.value.kind is FaultKind.ALREADY_EXISTS
    assert len(there.asked) == 3


def test_a_large_object_is_not_read() -> None:
    there = google({"size": "99999999", "generation": "1"})
    with pytest.raises(UnexpectedAnswerError, match="has 99999999 bytes"):
        storage.get_object(there.client(), "demo-oidc", "keys.json")
    assert len(there.asked) == 1


def test_an_object_that_goes_while_it_is_read_is_not_there() -> None:
    assert storage.get_object(google({"size": "2", "generation": "1"}, MISSING).client(), "demo-oidc", "keys.json") is None
