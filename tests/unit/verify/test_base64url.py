# SPDX-License-Identifier: Apache-2.0
import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpass.verify import base64url


@given(st.binary(max_size=80))
def test_what_is_encoded_decodes_to_itself(data: bytes) -> None:
    assert base64url.decode(base64url.encode(data).encode()) == data


@given(st.binary(max_size=80))
def test_encoding_is_that_of_the_standard_library_without_padding(data: bytes) -> None:
    assert base64url.encode(data) == base64.urlsafe_b64encode(data).decode().rstrip("=")


@given(st.text(alphabet="ABCDQgwAEIMkosw048_-+/= \n\t.!\0", max_size=12))
def test_each_byte_string_has_one_spelling_only(text: str) -> None:
    try:
        decoded = base64url.decode(text.encode())
    except ValueError:
        return
    assert base64url.encode(decoded) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param(b"A", "impossible length, 1 characters", id="length-1"),
        pytest.param(b"AAAAA", "impossible length, 5 characters", id="length-5"),
        pytest.param(b"AB", "the canonical form cannot end in", id="four-trailing-bits"),
        pytest.param(b"AAB", "the canonical form cannot end in", id="two-trailing-bits"),
        pytest.param(b"AA==", "outside unpadded base64url", id="padding"),
        pytest.param(b"AAA=", "outside unpadded base64url", id="one-padding"),
        pytest.param(b"AA+A", "outside unpadded base64url", id="plus"),
        pytest.param(b"AA/A", "outside unpadded base64url", id="slash"),
        pytest.param(b"AA A", "outside unpadded base64url", id="space"),
        pytest.param(b"AAA\n", "outside unpadded base64url", id="line-end"),
        pytest.param(b"AA\x00A", "outside unpadded base64url", id="nul"),
        pytest.param(b"AA!A", "outside unpadded base64url", id="stand-in"),
        pytest.param(b"AA\xffA", "outside unpadded base64url", id="not-ascii"),
    ],
)
def test_other_spellings_are_refused(text: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        base64url.decode(text)


@pytest.mark.parametrize(("text", "data"), [(b"", b""), (b"AA", b"\0"), (b"AAA", b"\0\0"), (b"-_-_", b"\xfb\xff\xbf")])
def test_canonical_spellings_are_read(text: bytes, data: bytes) -> None:
    assert base64url.decode(text) == data
