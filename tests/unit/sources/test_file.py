# SPDX-License-Identifier: Apache-2.0
"""The projected token file: what is read, and what is said when there is none."""

import os
from pathlib import Path

import pytest

from podpass.errors import SourceUnavailableError
from podpass.sources.file import FileSource

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln"
AUDIENCE = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/demo/providers/demo"


def test_a_token_is_read_without_its_white_space(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    assert FileSource(tmp_path / "token").read().reveal() == TOKEN


def test_a_token_is_read_anew_each_time_as_kubelet_swaps_it(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "token").write_text(name)
    (tmp_path / "..data").symlink_to("first")
    source = FileSource(tmp_path / "..data/token")
    assert source.read().reveal() == "first"
    (tmp_path / "next").symlink_to("second")
    (tmp_path / "next").replace(tmp_path / "..data")
    assert source.read().reveal() == "second"


def test_a_token_is_found_in_a_member_of_a_json_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f'{{"id_token": "{TOKEN}", "other": 1}}')
    assert FileSource(tmp_path / "token", field="id_token").read().reveal() == TOKEN


def test_a_missing_file_names_the_volume_to_declare(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailableError) as caught:
        FileSource(tmp_path / "token", audience=AUDIENCE).read()
    assert str(caught.value) == (
        f"There is no subject token: {tmp_path}/token does not exist. Declare a projected volume in the pod, and mount it at {tmp_path}: a "
        f"serviceAccountToken with path 'token', audience '{AUDIENCE}' and expirationSeconds 3600."
    )
    assert caught.value.full_code == "credential.token-file"


def test_the_volume_is_mounted_at_a_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert f"mount it at {tmp_path}: a serviceAccountToken with path 'token'" in FileSource(Path("token")).volume()


CASES = {
    "empty": (b" \n", None, "is empty"),
    "large": (b"x" * 65_537, None, "has more than 65536 bytes, so it is no token"),
    "binary": (b"\xff\xfe", None, "holds bytes that no token has"),
    "not JSON": (TOKEN.encode(), "id_token", "is not JSON"),
    "no member": (b'{"secret": "' + TOKEN.encode() + b'"}', "id_token", "has no member 'id_token' with a text"),
    "JSON of another shape": (b"[]", "id_token", "has no member 'id_token' with a text"),
    "JSON without end": (b"[" * 65_000, "id_token", "is not JSON"),
    "two lines": (b"one\ntwo", None, "holds characters that no token has"),
    "half a character": (b'{"id_token": "eyJ\\ud800"}', "id_token", "holds characters that no token has"),
    "empty member": (b'{"id_token": ""}', "id_token", "is empty"),
}


@pytest.mark.parametrize(("content", "field", "expected"), CASES.values(), ids=CASES)
def test_what_is_no_token_is_told_and_not_shown(content: bytes, field: str | None, expected: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(SourceUnavailableError) as caught:
        FileSource(tmp_path / "token", field=field).read()
    assert caught.value.what == f"There is no subject token: {tmp_path}/token {expected}."
    assert TOKEN not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_a_directory_in_place_of_the_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailableError, match="cannot be read: Is a directory"):
        FileSource(tmp_path).read()


def test_a_pipe_in_place_of_the_file_is_told_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "token")
    with pytest.raises(SourceUnavailableError, match="token is no file"):
        FileSource(tmp_path / "token").read()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_of_another_user_has_a_cure_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "token").touch(mode=0)
    with pytest.raises(SourceUnavailableError, match=r"Set securityContext\.fsGroup on the pod"):
        FileSource(tmp_path / "token").read()


def test_a_source_names_its_place_and_never_its_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    source = FileSource(tmp_path / "token")
    assert str(source) == f"file {tmp_path}/token"
    assert TOKEN not in repr(source) + repr(source.read()) + f"{source.read()}"
