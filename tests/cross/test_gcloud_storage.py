# SPDX-License-Identifier: Apache-2.0
"""Cloud Storage by the real gcloud and by native gsutil."""

import shutil
from collections.abc import Iterator
from datetime import timedelta

import pytest

from cross.outside import Outside
from podpass.sandbox.hosting import HostedSandbox
from podpass.sandbox.settings import SandboxSettings

pytestmark = [pytest.mark.gcloud, pytest.mark.skipif(not shutil.which("gcloud"), reason="gcloud is not installed")]


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    with HostedSandbox(SandboxSettings(propagation=timedelta(0)), with_cluster=False) as sandbox:
        yield Outside(sandbox, tmp_path_factory.mktemp("outside"))


def test_gcloud_storage_walks_a_bucket_s_life(outside: Outside) -> None:
    media = b"\r\n two line ends lead, blanks and none end \n "
    (outside.directory / "file.txt").write_bytes(media)
    outside.does("gcloud", "storage", "buckets", "create", "gs://walk", "--location=us-east1")
    outside.does("gcloud", "storage", "cp", "--predefined-acl=publicRead", "file.txt", "gs://walk/folder/file.txt")
    outside.does("gcloud", "storage", "cp", "-", "gs://walk/stream", stdin=b"\x00\xff" * 5)
    assert outside.does("gcloud", "storage", "ls", "--recursive", "gs://walk/**") == "gs://walk/folder/file.txt\ngs://walk/stream\n"
    assert outside.run("gcloud", "storage", "cat", "gs://walk/folder/file.txt", "gs://walk/stream").stdout == media + b"\x00\xff" * 5
    assert outside.run("curl", "-sSf", "https://storage.googleapis.com/walk/folder/file.txt").stdout == media
    outside.does("gcloud", "storage", "rm", "--recursive", "gs://walk")
    assert "One or more URLs matched no objects." in outside.fails("gcloud", "storage", "ls")


def test_gcloud_shows_the_real_refusals_of_storage(outside: Outside) -> None:
    outside.does("gcloud", "storage", "buckets", "create", "gs://plain", "--uniform-bucket-level-access", "--public-access-prevention")
    own = outside.fails("gcloud", "storage", "buckets", "create", "gs://plain")
    assert "HTTPError 409: Your previous request to create the named bucket succeeded and you already own it." in own
    assert "gs://nowhere not found: 404." in outside.fails("gcloud", "storage", "ls", "gs://nowhere")
    acl = outside.fails("gcloud", "storage", "cp", "--predefined-acl=publicRead", "-", "gs://plain/a", stdin=b"a")
    assert "HTTPError 400: Cannot insert legacy ACL for an object when uniform bucket-level access is enabled." in acl
    public = outside.fails(
        "gcloud", "storage", "buckets", "add-iam-policy-binding", "gs://plain", "--member=allUsers", "--role=roles/storage.objectViewer"
    )
    assert "The member bindings allUsers and allAuthenticatedUsers are not allowed since public access prevention is enforced." in public


@pytest.mark.skipif(not shutil.which("gsutil"), reason="gsutil is not installed")
def test_native_gsutil_makes_fills_and_empties_a_bucket(outside: Outside) -> None:
    outside.does("gsutil", "mb", "gs://by-gsutil")
    publish = ("gsutil", "-h", "Cache-Control:public, max-age=0", "cp", "-a", "public-read", "-", "gs://by-gsutil/keys.json")
    outside.does(*publish, stdin=b"{}")
    assert outside.does("gsutil", "ls", "gs://by-gsutil") == "gs://by-gsutil/keys.json\n"
    told = outside.does("curl", "-sSfi", "--suppress-connect-headers", "https://storage.googleapis.com/by-gsutil/keys.json")
    assert "cache-control: public, max-age=0\r\n" in told
    assert told.endswith("\r\n\r\n{}")
    outside.does("gsutil", "rm", "-r", "gs://by-gsutil")
    assert "by-gsutil" not in outside.does("gsutil", "ls")
