# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from unit.sandbox.google.storage.cloud import OWNER, STRANGER, Cloud, error


@pytest.fixture
def names(cloud: Cloud) -> Cloud:
    cloud.bucket()
    for name in ("a", "a-b", "a%2Fb", "a%2Fc%2Fd", "b%2F", "%C3%BC"):
        cloud.put(name)
    return cloud


def test_an_object_is_shown_with_real_checksums_and_links_of_the_asked_host(cloud: Cloud) -> None:
    cloud.bucket()
    cloud.put(".well-known%2Fopenid-configuration", b"123456789")
    shown = cloud.own("GET", "/storage/v1/b/demo/o/.well-known%2Fopenid-configuration")
    generation = shown["generation"]
    link = "storage.googleapis.com/{0}storage/v1/b/demo/o/.well-known%2Fopenid-configuration"
    assert generation == "1767323045678000"
    assert shown == {
        "kind": "storage#object",
        "id": f"demo/.well-known/openid-configuration/{generation}",
        "bucket": "demo",
        "name": ".well-known/openid-configuration",
        "generation": generation,
        "metageneration": "1",
        "contentType": "text/plain",
        "size": "9",
        "crc32c": "4waSgw==",
        "md5Hash": "JfnnlDI7RTiF9RgfG2JNCw==",
        "storageClass": "STANDARD",
        "timeCreated": "2026-01-02T03:04:05.678Z",
        "updated": "2026-01-02T03:04:05.678Z",
        "selfLink": "https://" + link.format(""),
        "mediaLink": f"https://{link.format('download/')}?generation={generation}&alt=media",
        "etag": shown["etag"],
    }


@pytest.mark.parametrize(
    ("query", "items", "prefixes"),
    [
        ("", ["a", "a-b", "a/b", "a/c/d", "b/", "ü"], []),
        ("?prefix=a", ["a", "a-b", "a/b", "a/c/d"], []),
        ("?delimiter=/", ["a", "a-b", "ü"], ["a/", "b/"]),
        ("?delimiter=/&prefix=a/", ["a/b"], ["a/c/"]),
        ("?delimiter=/&prefix=b/", ["b/"], []),
        ("?prefix=nothing&versions=True&softDeleted=False", [], []),
    ],
)
def test_a_list_knows_prefix_and_delimiter(names: Cloud, query: str, items: list[str], prefixes: list[str]) -> None:
    listed = names.own("GET", f"/storage/v1/b/demo/o{query}")
    assert [each["name"] for each in listed.get("items", ())] == items
    assert listed.get("prefixes", []) == prefixes


@pytest.mark.parametrize("query", ["", "&delimiter=/"])
def test_pages_of_a_list_join_to_the_whole(names: Cloud, query: str) -> None:
    whole = names.own("GET", f"/storage/v1/b/demo/o?maxResults=1000{query}")
    found, token = [], ""
    while True:
        page = names.own("GET", f"/storage/v1/b/demo/o?maxResults=1{query}&pageToken={token}")
        found += [*page.get("prefixes", ()), *(each["name"] for each in page.get("items", ()))]
        token = page.get("nextPageToken", "")
        if not token:
            break
    assert sorted(found) == sorted([*whole.get("prefixes", ()), *(each["name"] for each in whole["items"])])


def test_a_choice_that_the_sandbox_does_not_make_is_refused_by_name(names: Cloud) -> None:
    status, message, reason = error(names.ask("GET", "/storage/v1/b/demo/o?matchGlob=**", who=OWNER))
    assert (status, reason) == (501, "notImplemented")
    assert "matchGlob" in message


@pytest.mark.parametrize("address", ["/storage/v1/b/demo/o/a?alt=media", "/download/storage/v1/b/demo/o/a?alt=media", "/demo/a"])
def test_the_bytes_are_the_same_at_each_address(names: Cloud, address: str) -> None:
    whole = names.ask("GET", address, who=OWNER)
    assert (whole.status, whole.body, whole.headers["content-type"]) == (200, b"media", "text/plain")
    assert whole.headers["x-goog-hash"] == "crc32c=iyQSGQ==,md5=YpM6KVHvAfTq/ZvfTTzS8A=="
    part = names.ask("GET", address, who=OWNER, range="bytes=1-2")
    assert (part.status, part.body, part.headers["content-range"]) == (206, b"ed", "bytes 1-2/5")
    beyond = names.ask("GET", address, who=OWNER, range="bytes=5-")
    assert (beyond.status, beyond.headers["content-range"]) == (416, "bytes */5")


def test_an_object_that_is_not_there_is_named_to_whoever_may_list(names: Cloud) -> None:
    missing = (404, "No such object: demo/x/y", "notFound")
    assert error(names.ask("GET", "/storage/v1/b/demo/o/x%2Fy", who=OWNER)) == missing
    assert error(names.ask("DELETE", "/storage/v1/b/demo/o/x%2Fy", who=OWNER)) == missing
    assert error(names.ask("GET", "/storage/v1/b/demo/o/x%2Fy", who=STRANGER))[0] == 403
    assert error(names.ask("GET", "/storage/v1/b/demo/o/a?generation=1", who=OWNER)) == (404, "No such object: demo/a", "notFound")


def test_a_generation_is_a_condition(cloud: Cloud) -> None:
    cloud.bucket()
    first = cloud.put("a", query="&ifGenerationMatch=0")["generation"]
    uploads = "/upload/storage/v1/b/demo/o?uploadType=media&name=a"
    assert cloud.ask("POST", f"{uploads}&ifGenerationMatch=0", b"", who=OWNER).status == 412
    second = cloud.put("a", b"again", query=f"&ifGenerationMatch={first}")["generation"]
    assert int(second) > int(first)  # although the clock stood still
    assert cloud.ask("GET", f"/storage/v1/b/demo/o/a?ifGenerationNotMatch={second}", who=OWNER).status == 304
    assert cloud.ask("DELETE", f"/storage/v1/b/demo/o/a?ifGenerationMatch={first}", who=OWNER).status == 412
    assert error(cloud.ask("DELETE", "/storage/v1/b/demo/o/a?ifGenerationMatch=x", who=OWNER))[0] == 400
    assert cloud.ask("DELETE", f"/storage/v1/b/demo/o/a?generation={second}&ifGenerationMatch={second}", who=OWNER).status == 204
    assert "items" not in cloud.own("GET", "/storage/v1/b/demo/o")


def test_no_bytes_of_a_replaced_or_deleted_object_are_kept(cloud: Cloud) -> None:
    cloud.bucket()
    cloud.put("a", b"one")
    cloud.put("a", b"two")
    cloud.own("DELETE", "/storage/v1/b/demo/o/a")
    assert not cloud.universe.store._blobs


class TestPublicAddress:
    def test_a_public_object_is_read_by_anybody_and_its_bucket_not_listed(self, cloud: Cloud) -> None:
        cloud.bucket()
        cloud.put(".well-known%2Fopenid-configuration", b"{}", "&predefinedAcl=publicRead")
        answer = cloud.ask("GET", "/demo/.well-known/openid-configuration")
        assert (answer.status, answer.body, answer.headers["cache-control"]) == (200, b"{}", "public, max-age=3600")
        assert cloud.ask("HEAD", "/demo/.well-known/openid-configuration").status == 200
        assert cloud.ask("GET", "/storage/v1/b/demo/o/.well-known%2Fopenid-configuration?alt=media").body == b"{}"
        assert cloud.ask("GET", "/demo").status == 403
        assert cloud.ask("GET", "/storage/v1/b/demo/o").status == 401

    def test_the_object_s_own_cache_control_wins(self, cloud: Cloud) -> None:
        cloud.bucket()
        head = b'--b\n\n{"name":"a","cacheControl":"public, max-age=0"}\n--b\n\n{}\n--b--'
        cloud.own("POST", "/upload/storage/v1/b/demo/o?uploadType=multipart", head, content_type="multipart/related; boundary=b")
        assert cloud.ask("GET", "/demo/a", who=OWNER).headers["cache-control"] == "public, max-age=0"

    def test_a_private_object_is_refused_in_xml(self, cloud: Cloud) -> None:
        cloud.bucket()
        cloud.put("a")
        answer = cloud.ask("GET", "/demo/a")
        assert (answer.status, answer.headers["content-type"]) == (403, "application/xml; charset=UTF-8")
        assert answer.body.decode() == (
            "<?xml version='1.0' encoding='UTF-8'?><Error><Code>AccessDenied</Code><Message>Access denied.</Message><Details>Anonymous "
            "caller does not have storage.objects.get access to the Google Cloud Storage object. Permission 'storage.objects.get' denied "
            "on resource (or it may not exist).</Details></Error>"
        )
        assert cloud.ask("GET", "/demo/a", who=OWNER).headers["cache-control"] == "private, max-age=0"

    def test_a_bucket_s_policy_makes_objects_public_but_not_the_list(self, cloud: Cloud) -> None:
        cloud.uniform_bucket()
        cloud.put("a")
        cloud.grant("roles/storage.legacyObjectReader", "allUsers")
        assert cloud.ask("GET", "/demo/a").body == b"media"
        missing = cloud.ask("GET", "/demo/no&where").body.decode()
        assert "<Code>NoSuchKey</Code>" in missing
        assert "<Details>No such object: demo/no&amp;where</Details>" in missing
        assert cloud.ask("GET", "/demo").status == 403
        assert cloud.ask("GET", "/storage/v1/b/demo/o").status == 401
        cloud.grant("roles/storage.legacyBucketReader", "allUsers")
        assert json.loads(cloud.ask("GET", "/storage/v1/b/demo/o").body)["items"][0]["name"] == "a"
        assert cloud.ask("GET", "/demo").status == 501

    def test_a_missing_bucket_is_told_to_anybody(self, cloud: Cloud) -> None:
        answer = cloud.ask("GET", "/nowhere/a")
        assert answer.status == 404
        assert answer.body.decode() == (
            "<?xml version='1.0' encoding='UTF-8'?><Error><Code>NoSuchBucket</Code><Message>The specified bucket does not exist.</Message>"
            "</Error>"
        )

    def test_a_bad_token_is_no_anonymous_caller(self, cloud: Cloud) -> None:
        cloud.bucket()
        cloud.put("a", query="&predefinedAcl=publicRead")
        answer = cloud.ask("GET", "/demo/a", authorization="Bearer stale")
        assert answer.status == 401
        assert b"<Code>AuthenticationRequired</Code>" in answer.body

    def test_authenticated_read_is_for_those_who_logged_in(self, cloud: Cloud) -> None:
        cloud.bucket()
        cloud.put("a", query="&predefinedAcl=authenticatedRead")
        assert (cloud.ask("GET", "/demo/a").status, cloud.ask("GET", "/demo/a", who=STRANGER).status) == (403, 200)

    def test_an_unknown_api_path_is_no_object(self, cloud: Cloud) -> None:
        cloud.bucket()
        answer = cloud.ask("GET", "/storage/v1/b/demo/acl", who=OWNER)
        assert error(answer)[0] == 501
        assert "GET https://storage.googleapis.com/storage/v1/b/demo/acl" in error(answer)[1]
