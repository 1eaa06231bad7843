# SPDX-License-Identifier: Apache-2.0
"""Cloud Storage by the unmodified google-cloud-storage."""

import io
from collections.abc import Iterator

import pytest
from google.api_core.exceptions import BadRequest, Conflict, Forbidden, NotFound, PreconditionFailed
from google.auth.exceptions import InvalidOperation
from google.cloud.storage import Bucket, Client

from podpass.sandbox.hosting import HostedSandbox

# Google's libraries leave connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

QUANTUM = 256 * 1024
READER = "roles/storage.legacyObjectReader"


@pytest.fixture(scope="module")
def client(logged_in: HostedSandbox) -> Iterator[Client]:
    with Client(project=logged_in.settings.project_id) as client:
        yield client


@pytest.fixture
def bucket(client: Client, request: pytest.FixtureRequest) -> Iterator[Bucket]:
    bucket = client.create_bucket(f"b-{abs(hash(request.node.name))}", location="us-east1")
    yield bucket
    bucket.delete(force=True)


def test_buckets_are_made_found_listed_and_deleted(client: Client) -> None:
    assert not client.bucket("made").exists()
    made = client.create_bucket("made", location="eu")
    assert made.exists()
    assert "made" in [bucket.name for bucket in client.list_buckets()]
    assert (client.get_bucket("made").location, made.location_type, str(made.project_number)) == ("EU", "multi-region", "415104041262")
    with pytest.raises(Conflict, match="you already own it"):
        client.create_bucket("made")
    made.delete()
    with pytest.raises(NotFound, match=r"The specified bucket does not exist\."):
        client.get_bucket("made")


def test_a_small_upload_comes_back_byte_for_byte(bucket: Bucket) -> None:
    media = b"\r\n--==\r\n" + bytes(range(256)) + b"\n"
    blob = bucket.blob("folder/name with ü?#%.bin")
    blob.cache_control = "public, max-age=0"
    blob.upload_from_string(media, content_type="text/css", checksum="crc32c")
    assert blob.download_as_bytes(checksum="md5") == media
    assert blob.download_as_bytes(start=2, end=5) == media[2:6]
    blob.reload()
    assert (blob.size, blob.content_type, blob.cache_control) == (len(media), "text/css", "public, max-age=0")


@pytest.mark.parametrize("size", [0, 1, QUANTUM, 2 * QUANTUM + 7])
@pytest.mark.parametrize("known", [True, False], ids=["size known", "size unknown"])
def test_a_resumable_upload_in_chunks_comes_back_byte_for_byte(bucket: Bucket, size: int, known: bool) -> None:  # noqa: FBT001 - a parameter
    media = bytes(range(256)) * (size // 256) + bytes(size % 256)
    blob = bucket.blob("chunks", chunk_size=QUANTUM)
    blob.upload_from_file(io.BytesIO(media), size=size if known else None, if_generation_match=0)
    assert bucket.blob("chunks").download_as_bytes() == media


def test_a_list_has_folders(client: Client, bucket: Bucket) -> None:
    for name in ("a/1", "a/2", "b"):
        bucket.blob(name).upload_from_string(b"")
    listed = client.list_blobs(bucket, delimiter="/", page_size=1)
    assert ([blob.name for blob in listed], listed.prefixes) == (["b"], {"a/"})
    assert [blob.name for blob in client.list_blobs(bucket, prefix="a/")] == ["a/1", "a/2"]


def test_a_generation_is_a_condition(bucket: Bucket) -> None:
    blob = bucket.blob("once")
    blob.upload_from_string(b"first", if_generation_match=0)
    with pytest.raises(PreconditionFailed, match="At least one of the pre-conditions you specified did not hold"):
        bucket.blob("once").upload_from_string(b"second", if_generation_match=0)
    with pytest.raises(PreconditionFailed):
        blob.delete(if_generation_match=1)
    blob.delete(if_generation_match=blob.generation)
    with pytest.raises(NotFound, match="No such object"):
        blob.download_as_bytes()


def test_anybody_reads_what_is_public_and_nothing_else(bucket: Bucket) -> None:
    bucket.blob("private").upload_from_string(b"{}")
    bucket.blob("public").upload_from_string(b"{}", predefined_acl="publicRead")
    with Client.create_anonymous_client() as nobody:
        assert nobody.bucket(bucket.name).blob("public").download_as_bytes() == b"{}"
        # A 401 makes the library refresh, which nobody's credentials cannot.
        with pytest.raises(InvalidOperation, match="Anonymous credentials cannot be refreshed"):
            nobody.bucket(bucket.name).blob("private").reload()
        with pytest.raises(InvalidOperation):
            list(nobody.list_blobs(bucket.name))


def test_a_policy_is_read_changed_and_written(bucket: Bucket) -> None:
    bucket.iam_configuration.uniform_bucket_level_access_enabled = True
    bucket.patch()
    bucket.blob("keys.json").upload_from_string(b"{}")
    with pytest.raises(BadRequest, match="Cannot insert legacy ACL"):
        bucket.blob("acl").upload_from_string(b"", predefined_acl="publicRead")
    policy = bucket.get_iam_policy(requested_policy_version=3)
    policy.bindings.append({"role": READER, "members": {"allUsers"}})
    bucket.set_iam_policy(policy)
    with Client.create_anonymous_client() as nobody:
        assert nobody.bucket(bucket.name).blob("keys.json").download_as_bytes() == b"{}"
    stale = policy
    with pytest.raises(Conflict):
        bucket.set_iam_policy(stale)


def test_permissions_are_told_by_the_service(bucket: Bucket) -> None:
    asked = ["storage.buckets.delete", "storage.objects.get"]
    assert bucket.test_iam_permissions(asked) == ["storage.buckets.delete"]


def test_public_access_prevention_wins(bucket: Bucket) -> None:
    bucket.iam_configuration.public_access_prevention = "enforced"
    bucket.patch()
    with pytest.raises(PreconditionFailed, match="public access prevention is enforced"):
        bucket.blob("public").upload_from_string(b"{}", predefined_acl="publicRead")


def test_a_caller_without_a_role_is_named(logged_in: HostedSandbox, client: Client) -> None:
    token = logged_in.universe.identities.user_token("stranger@example.com", [])
    credentials = type(client._credentials)(token)
    denied = r"stranger@example\.com does not have storage\.buckets\.list access to the Google Cloud project"
    with Client(project=logged_in.settings.project_id, credentials=credentials) as stranger, pytest.raises(Forbidden, match=denied):
        list(stranger.list_buckets())
