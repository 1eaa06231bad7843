# SPDX-License-Identifier: Apache-2.0
import re
from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from podpass.errors import AmbiguousPathError
from podpass.guard.incoming import Incoming
from podpass.guard.paths import read_path

SOUND = [
    (b"/", "/"),
    (b"/private", "/private"),
    (b"/private/", "/private/"),
    (b"/a/b.c/d-e_f~g", "/a/b.c/d-e_f~g"),
    (b"/a/.well-known/x", "/a/.well-known/x"),
    (b"/a/...", "/a/..."),
    (b"/a/..b", "/a/..b"),
    (b"/v1/projects/p:search", "/v1/projects/p:search"),
    (b"/ann@example.com,x=y", "/ann@example.com,x=y"),
    (b"/a%20b", "/a b"),
    (b"/%61", "/a"),
    (b"/100%25", "/100%"),
    (b"/gr%C3%B6%C3%9Fe", "/größe"),
    ("/" + "x" * 8000, "/" + "x" * 8000),
]


@pytest.mark.parametrize(("raw", "path"), [(raw.encode() if isinstance(raw, str) else raw, path) for raw, path in SOUND])
def test_a_path_with_one_reading_is_decoded(raw: bytes, path: str) -> None:
    assert read_path(raw) == path


AMBIGUOUS = [
    (b"", "no slash at its beginning"),
    (b"*", "no slash at its beginning"),
    (b"private", "no slash at its beginning"),
    (b"http://host/private", "no slash at its beginning"),
    (b"//private", "an empty segment"),
    (b"/a//b", "an empty segment"),
    (b"/a//", "an empty segment"),
    (b"/.", "a dot segment"),
    (b"/..", "a dot segment"),
    (b"/./private", "a dot segment"),
    (b"/a/../private", "a dot segment"),
    (b"/a/%2e%2e/private", "a dot segment"),
    (b"/a/.%2E/private", "a dot segment"),
    (b"/%2e/private", "a dot segment"),
    (b"/a%2fprivate", "an encoded slash"),
    (b"/a%2Fprivate", "an encoded slash"),
    (b"%2fprivate", "an encoded slash"),
    (b"/a\\private", "one of the characters"),
    (b"/a%5Cprivate", "one of the characters"),
    (b"/a%5c..%5cprivate", "one of the characters"),
    (b"/private;x", "one of the characters"),
    (b"/private%3Bx", "one of the characters"),
    (b"/..;/private", "one of the characters"),
    (b"/private%3F", "one of the characters"),
    (b"/private#x", "one of the characters"),
    (b"/private%23", "one of the characters"),
    (b"/private%00", "a control character"),
    (b"/private%0a", "a control character"),
    (b"/private\x07", "a control character"),
    (b"/private%7f", "a control character"),
    (b"/private%C2%85", "a control character"),
    (b"/private%E2%80%A8", "a control character"),
    (b"/%252e%252e/private", "an escape within an escape"),
    (b"/a%252fprivate", "an escape within an escape"),
    (b"/%2561", "an escape within an escape"),
    (b"/a%", "a '%' that encodes nothing"),
    (b"/a%2", "a '%' that encodes nothing"),
    (b"/a%zz", "a '%' that encodes nothing"),
    (b"/%ff", "bytes that are not UTF-8"),
    (b"/%c0%af", "bytes that are not UTF-8"),
    (b"/%ed%a0%80", "bytes that are not UTF-8"),
    ("/größe".encode(), "bytes outside ASCII"),
    ("/größe".encode("latin-1"), "bytes outside ASCII"),
    (quote("/a\uff0fprivate").encode(), "a slash to readers that normalise Unicode"),
    (quote("/a/\uff0e\uff0e/private").encode(), "a dot segment"),
    (quote("/a/\u2025/private").encode(), "a dot segment"),
    (quote("/a\uff3cprivate").encode(), "one of the characters"),
    (quote("/private\uff1bx").encode(), "one of the characters"),
    (quote("/\uff052e").encode(), "an escape within an escape"),
]


@pytest.mark.parametrize(("raw", "why"), AMBIGUOUS)
def test_invariant_11_a_path_with_two_readings_is_refused(raw: bytes, why: str) -> None:
    with pytest.raises(AmbiguousPathError) as caught:
        read_path(raw)
    assert why in caught.value.why
    assert str(caught.value).isascii()
    assert caught.value.full_code == "request.ambiguous-path"


PIECES = st.sampled_from(["/", ".", "..", "a", "%2e", "%2f", "%5c", "\\", ";", "%25", "%61", "%00", "//", "%c3%b6", "%ff", "?", "~", " "])


@given(st.lists(PIECES, max_size=8).map(lambda pieces: "/" + "".join(pieces)))
@example("/a/b.c")
@example("/%61%c3%b6")
def test_a_path_that_is_let_through_means_the_same_to_every_reader(raw: str) -> None:
    try:
        path = read_path(raw.encode())
    except AmbiguousPathError:
        return
    assert unquote(raw, errors="strict") == path == unquote(path), "decoding once more changes nothing"
    assert not set(path.split("/")) & {".", ".."}
    assert re.sub("/+", "/", path) == path
    assert not re.search(r"[\\;?#\x00-\x1f]", path)


@pytest.mark.parametrize(
    ("raw", "mount", "path", "served"),
    [
        (b"/private", "", "/private", "/private"),
        (b"/api/private", "/api", "/private", "/private"),
        (b"/api", "/api", "", "/"),
        (b"/api/", "/api", "/", "/"),
        (b"/pri%76ate", "", "/private", "/private"),
        (b"/private", "", None, "/private"),
    ],
)
def test_rules_judge_what_the_router_sees(raw: bytes, mount: str, path: str | None, served: str) -> None:
    assert Incoming("GET", raw, [], mount, path).served_path() == served


@pytest.mark.parametrize(
    ("raw", "mount", "path"),
    [
        (b"/public", "", "/private"),
        (b"/public/private", "", "/private"),
        (b"/private", "/api", "/private"),
        (b"/apiprivate", "/api", "private"),
        (b"/api/private", "/api/", "private"),
        (b"/", "", ""),
    ],
)
def test_a_path_that_the_server_has_changed_is_refused(raw: bytes, mount: str, path: str) -> None:
    with pytest.raises(AmbiguousPathError, match="is not the path that would be served"):
        Incoming("GET", raw, [], mount, path).served_path()


def test_a_request_is_shown_without_its_headers() -> None:
    assert repr(Incoming("GET", b"/", [(b"authorization", b"Bearer secret")])) == "<GET with 1 headers>"
