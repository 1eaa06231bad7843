# SPDX-License-Identifier: Apache-2.0
"""What curl, as anybody, gets to see; and that nothing leaves the machine."""

import shutil
from pathlib import Path

import pytest
from google.cloud.storage import Client

from cross.outside import Outside
from podpass.sandbox.hosting import HostedSandbox

pytestmark = pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")

KEYS = "https://storage.googleapis.com/oidc/keys.json"


@pytest.fixture(scope="module")
def curl(logged_in: HostedSandbox, tmp_path_factory: pytest.TempPathFactory) -> Outside:
    with Client(project=logged_in.settings.project_id) as client:
        bucket = client.create_bucket("oidc")
        blob = bucket.blob("keys.json")
        blob.cache_control = "public, max-age=0"
        blob.upload_from_string(b'{"keys": []}', content_type="application/json", predefined_acl="publicRead")
        bucket.blob("private").upload_from_string(b"")
    return Outside(logged_in, tmp_path_factory.mktemp("curl"))


def told(curl: Outside, url: str, *options: str) -> str:
    return curl.does("curl", "-sSi", "--suppress-connect-headers", *options, url)


def test_a_public_object_is_read_whole_in_part_and_by_its_head(curl: Outside) -> None:
    whole = told(curl, KEYS)
    assert whole.startswith("HTTP/1.1 200 OK\r\n")
    assert "content-type: application/json\r\n" in whole
    assert "cache-control: public, max-age=0\r\n" in whole
    assert whole.endswith('\r\n\r\n{"keys": []}')
    assert told(curl, KEYS, "--range", "0-5").endswith('\r\n\r\n{"keys')
    head = told(curl, KEYS, "--head")
    assert "content-length: 12\r\n" in head
    assert head.endswith("\r\n\r\n")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("oidc/private", 403, "AccessDenied"),
        ("oidc/missing", 403, "AccessDenied"),
        ("oidc", 403, "AccessDenied"),
        ("nowhere/keys.json", 404, "NoSuchBucket"),
    ],
)
def test_a_refusal_at_a_public_address_is_xml(curl: Outside, path: str, status: int, code: str) -> None:
    answer = told(curl, f"https://storage.googleapis.com/{path}")
    assert answer.startswith(f"HTTP/1.1 {status} ")
    assert f"<Code>{code}</Code>" in answer


def test_a_bad_token_is_told_so(curl: Outside) -> None:
    answer = told(curl, "https://storage.googleapis.com/storage/v1/b?project=demo-project", "--oauth2-bearer", "stale")
    assert answer.startswith("HTTP/1.1 401 ")
    assert "Request had invalid authentication credentials." in answer


def test_a_method_that_is_not_there_is_named(curl: Outside) -> None:
    answer = told(curl, "https://storage.googleapis.com/storage/v1/b/oidc/notificationConfigs")
    assert answer.startswith("HTTP/1.1 501 ")
    assert "GET https://storage.googleapis.com/storage/v1/b/oidc/notificationConfigs" in answer


@pytest.mark.parametrize("url", ["https://example.com/", "https://storage.googleapis.com:8443/", "http://example.com/path"])
def test_a_request_to_any_other_host_is_refused_and_named(curl: Outside, url: str) -> None:
    ended = curl.run("curl", "-sSi", url)
    host = url.split("/")[2]
    assert host in ended.stdout.decode()
    assert "nothing leaves this machine" in ended.stdout.decode()
    assert ended.stdout.startswith(b"HTTP/1.1 403 ")


def test_the_three_names_of_a_host_must_agree(curl: Outside) -> None:
    answer = told(curl, KEYS, "--header", "Host: iam.googleapis.com")
    assert answer.startswith("HTTP/1.1 421 ")


def test_a_client_that_does_not_trust_the_authority_gets_nothing(curl: Outside, tmp_path: Path) -> None:
    (tmp_path / "none.pem").write_text("")
    assert "certificate" in curl.fails("curl", "-sS", "--cacert", str(tmp_path / "none.pem"), KEYS)
