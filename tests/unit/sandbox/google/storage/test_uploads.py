# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import pytest

from podpass.sandbox.google.message import Answer
from unit.sandbox.google.storage.cloud import OWNER, STRANGER, Cloud, error

QUANTUM = 256 * 1024
UNIFORM = (
    "Cannot insert legacy ACL for an object when uniform bucket-level access is enabled. "
    "Read more at https://cloud.google.com/storage/docs/uniform-bucket-level-access"
)
GAP = (
    "Invalid request.  According to the Content-Range header, the upload offset is 7 byte(s), "
    "which exceeds already uploaded size of 0 byte(s)."
)
MULTIPART = b'--b\r\n\r\n{"name": "a", %b}\r\n--b\r\ncontent-type: text/css\r\n\r\n123456789\r\n--b--'


def multipart(cloud: Cloud, metadata: bytes = b'"metadata": {"k": "v"}', query: str = "", who: str = OWNER) -> Answer:
    target = f"/upload/storage/v1/b/demo/o?uploadType=multipart{query}"
    return cloud.ask("POST", target, MULTIPART % metadata, who=who, content_type='multipart/related; boundary="b"')


def test_a_multipart_upload_keeps_metadata_and_media(cloud: Cloud) -> None:
    cloud.bucket()
    shown = json.loads(multipart(cloud).body)
    assert (shown["contentType"], shown["size"], shown["metadata"]) == ("text/css", "9", {"k": "v"})
    assert cloud.ask("GET", "/demo/a", who=OWNER).headers["x-goog-meta-k"] == "v"


@pytest.mark.parametrize(
    ("metadata", "label", "real"),
    [(b'"crc32c": "AAAAAA=="', "CRC32C", "4waSgw=="), (b'"md5Hash": "AAAA"', "MD5 hash", "JfnnlDI7RTiF9RgfG2JNCw==")],
)
def test_a_wrong_checksum_is_refused_and_nothing_kept(cloud: Cloud, metadata: bytes, label: str, real: str) -> None:
    cloud.bucket()
    status, message, reason = error(multipart(cloud, metadata))
    assert (status, reason) == (400, "invalid")
    assert message.startswith(f"Provided {label} ")
    assert message.endswith(f'doesn\'t match calculated {label} "{real}".')
    assert "items" not in cloud.own("GET", "/storage/v1/b/demo/o")


def test_right_checksums_pass(cloud: Cloud) -> None:
    cloud.bucket()
    assert multipart(cloud, b'"crc32c": "4waSgw==", "md5Hash": "JfnnlDI7RTiF9RgfG2JNCw=="').status == 200


def test_uniform_access_takes_no_acl(cloud: Cloud) -> None:
    cloud.uniform_bucket()
    assert error(multipart(cloud, query="&predefinedAcl=publicRead")) == (
        400,
        UNIFORM,
        "invalid",
    )


def test_public_access_prevention_takes_no_public_acl(cloud: Cloud) -> None:
    cloud.bucket(iamConfiguration={"publicAccessPrevention": "enforced"})
    assert error(multipart(cloud, query="&predefinedAcl=publicRead"))[0] == 412
    assert multipart(cloud, query="&predefinedAcl=projectPrivate").status == 200


def test_replacing_needs_permission_to_delete(cloud: Cloud) -> None:
    cloud.bucket()
    cloud.grant("roles/storage.objectCreator", f"user:{STRANGER}")
    assert multipart(cloud, who=STRANGER).status == 200
    assert "storage.objects.delete" in error(multipart(cloud, who=STRANGER))[1]


def test_whoever_made_an_object_owns_it(cloud: Cloud) -> None:
    cloud.bucket()
    cloud.grant("roles/storage.objectCreator", f"user:{STRANGER}")
    multipart(cloud, who=STRANGER)
    assert cloud.ask("GET", "/demo/a", who=STRANGER).status == 200
    assert cloud.ask("GET", "/demo/a", who="third@example.com").status == 403


@pytest.mark.parametrize(
    "target", ["uploadType=media", "uploadType=media&name=", "uploadType=media&name=a%0Ab", "uploadType=new&name=a", "name=a"]
)
def test_an_upload_without_name_or_known_type_is_refused(cloud: Cloud, target: str) -> None:
    cloud.bucket()
    assert error(cloud.ask("POST", f"/upload/storage/v1/b/demo/o?{target}", b"", who=OWNER))[0] == 400


class Session:
    """A resumable upload that was begun."""

    def __init__(self, cloud: Cloud, path: str = "/upload/storage/v1/b/demo/o", query: str = "") -> None:
        self.cloud = cloud
        metadata = {"name": "a", "cacheControl": "no-store"}
        begun = cloud.ask("POST", f"{path}?uploadType=resumable{query}", metadata, who=OWNER, x_upload_content_type="text/css")
        assert (begun.status, begun.body) == (200, b"")
        assert begun.headers["location"].startswith(f"https://storage.googleapis.com{path}?uploadType=resumable&upload_id=")
        self.target = begun.headers["location"].removeprefix("https://storage.googleapis.com")

    def send(self, body: bytes, content_range: str | None) -> Answer:
        """Send a chunk with nothing but the session's address to show."""
        return self.cloud.ask("PUT", self.target, body, **({"content_range": content_range} if content_range else {}))


@pytest.fixture
def demo(cloud: Cloud) -> Cloud:
    cloud.bucket()
    return cloud


@pytest.mark.parametrize("path", ["/upload/storage/v1/b/demo/o", "/resumable/upload/storage/v1/b/demo/o"])
@pytest.mark.parametrize("content_range", ["bytes 0-4/5", None])
def test_a_session_takes_the_whole_at_once(demo: Cloud, path: str, content_range: str | None) -> None:
    shown = json.loads(Session(demo, path, "&predefinedAcl=publicRead").send(b"whole", content_range).body)
    assert (shown["size"], shown["contentType"], shown["cacheControl"]) == ("5", "text/css", "no-store")
    assert demo.ask("GET", "/demo/a").body == b"whole"


def test_a_session_keeps_whole_quanta_and_says_how_many(demo: Cloud) -> None:
    session, media = Session(demo), bytes(range(256)) * 2048
    nothing = session.send(b"", "bytes */*")
    assert (nothing.status, "range" in nothing.headers) == (308, False)
    first = session.send(media[: QUANTUM + 10], f"bytes 0-{QUANTUM + 9}/*")
    assert (first.status, first.headers["range"]) == (308, f"bytes=0-{QUANTUM - 1}")
    assert session.send(b"", "bytes */*").headers["range"] == f"bytes=0-{QUANTUM - 1}"
    last = session.send(media[QUANTUM:], f"bytes {QUANTUM}-{len(media) - 1}/{len(media)}")
    assert json.loads(last.body)["size"] == str(len(media))
    assert demo.ask("GET", "/demo/a", who=OWNER).body == media


def test_a_chunk_sent_again_changes_nothing(demo: Cloud) -> None:
    session, media = Session(demo), bytes(range(256)) * 1024
    session.send(media, f"bytes 0-{QUANTUM - 1}/{QUANTUM + 1}")
    session.send(media, f"bytes 0-{QUANTUM - 1}/{QUANTUM + 1}")
    session.send(media[-5:] + b"!", f"bytes {QUANTUM - 5}-{QUANTUM}/{QUANTUM + 1}")
    assert demo.ask("GET", "/demo/a", who=OWNER).body == media + b"!"


def test_a_gap_is_refused(demo: Cloud) -> None:
    assert error(Session(demo).send(b"!", "bytes 7-7/8")) == (
        400,
        GAP,
        "invalid",
    )


def test_an_unreadable_content_range_is_refused(demo: Cloud) -> None:
    assert error(Session(demo).send(b"!", "bytes 0-0")) == (400, "Failed to parse Content-Range header.", "invalid")


def test_an_empty_object_ends_its_session_by_its_size(demo: Cloud) -> None:
    assert json.loads(Session(demo).send(b"", "bytes */0").body)["size"] == "0"


def test_a_finished_session_answers_with_its_object_again(demo: Cloud) -> None:
    session = Session(demo)
    whole = session.send(b"whole", "bytes 0-4/5")
    assert session.send(b"", "bytes */5") == whole


def test_a_session_s_condition_holds_at_its_end_too(demo: Cloud) -> None:
    session = Session(demo, query="&ifGenerationMatch=0")
    demo.put("a")
    assert session.send(b"late", "bytes 0-3/4").status == 412
    assert demo.ask("GET", "/demo/a", who=OWNER).body == b"media"


def test_an_unknown_session_is_not_found(demo: Cloud) -> None:
    assert demo.ask("PUT", "/upload/storage/v1/b/demo/o?upload_id=guess", b"x").status == 404
    assert demo.ask("PUT", "/upload/storage/v1/b/demo/o", b"x").status == 404


def test_a_bucket_with_an_ended_and_an_open_session_goes_from_a_directory_too(tmp_path: Path) -> None:
    cloud = Cloud(tmp_path)
    cloud.bucket()
    Session(cloud).send(b"whole", "bytes 0-4/5")
    Session(cloud)
    cloud.own("DELETE", "/storage/v1/b/demo/o/a")
    cloud.own("DELETE", "/storage/v1/b/demo")
    assert list((tmp_path / "google/blobs").iterdir()) == []
    cloud.universe.close()


def test_an_object_outlives_the_process_in_a_directory(tmp_path: Path) -> None:
    first = Cloud(tmp_path)
    first.bucket()
    first.put("a", b"kept")
    first.universe.close()
    second = Cloud(tmp_path)
    assert second.ask("GET", "/demo/a", who=OWNER).body == b"kept"
    second.universe.close()
