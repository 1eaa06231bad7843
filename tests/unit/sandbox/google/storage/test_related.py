# SPDX-License-Identifier: Apache-2.0
import pytest

from podpass.sandbox.google.storage.related import MalformedRelatedError, RelatedUpload

GCLOUD = b"""--===1==
Content-Type: application/json
MIME-Version: 1.0

{"name": "keys.json"}
--===1==
Content-Type: text/plain
Content-Transfer-Encoding: binary

%b
--===1==--"""
PYTHON = b"""--==0==
content-type: application/json; charset=UTF-8

{"name": "keys.json"}
--==0==
content-type: text/plain

%b
--==0==--""".replace(b"\n", b"\r\n")
MEDIA = [b"", b"{}\n", b"\n\n", b"\r\n", b" \t lead and trail \r\n\r\n", bytes(range(256)), b"--===1==\r\n--==0=", b"\n--\n"]


@pytest.mark.parametrize("media", MEDIA)
def test_gcloud_s_single_quotes_and_bare_line_feeds_leave_the_media_untouched(media: bytes) -> None:
    upload = RelatedUpload.parse("multipart/related; boundary='===1=='", GCLOUD % media)
    assert (upload.metadata, upload.media_type, upload.media) == ({"name": "keys.json"}, "text/plain", media)


@pytest.mark.parametrize("media", MEDIA)
def test_python_s_double_quotes_and_crlf_leave_the_media_untouched(media: bytes) -> None:
    upload = RelatedUpload.parse('multipart/related; boundary="==0=="', PYTHON % media)
    assert (upload.metadata, upload.media_type, upload.media) == ({"name": "keys.json"}, "text/plain", media)


def test_a_bare_boundary_and_a_part_without_header_fields_are_read() -> None:
    upload = RelatedUpload.parse("multipart/related; boundary=b", b"--b\n\n{}\n--b\n\nmedia\n--b--\n")
    assert (upload.metadata, upload.media_type, upload.media) == ({}, None, b"media")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/related", b"--b\n\n{}\n--b\n\nmedia\n--b--"),
        ("multipart/related; boundary=c", b"--b\n\n{}\n--b\n\nmedia\n--b--"),
        ("multipart/related; boundary=b", b"--b\n\n{}\n--b\n\nmedia"),
        ("multipart/related; boundary=b", b"--b\n\n{}\n--b--"),
        ("multipart/related; boundary=b", b"--b\n\nnot JSON\n--b\n\nmedia\n--b--"),
        ("multipart/related; boundary=b", b"--b\n\n[]\n--b\n\nmedia\n--b--"),
        ("multipart/related; boundary=b", b"--b\nA: b\n--b\n\nmedia\n--b--"),
        ("multipart/related; boundary=b", b""),
    ],
    ids=["no boundary", "another boundary", "no end", "one part", "no JSON", "a JSON array", "header without end", "empty"],
)
def test_a_body_that_is_not_two_whole_parts_is_refused(content_type: str, body: bytes) -> None:
    with pytest.raises(MalformedRelatedError):
        RelatedUpload.parse(content_type, body)
