# SPDX-License-Identifier: Apache-2.0
import pytest

from podpass.sandbox.google.storage.byte_range import ContentRange, UnsatisfiableRangeError, select


@pytest.mark.parametrize(
    ("header", "length", "first", "total"),
    [
        ("bytes 0-11/12", 12, 0, 12),
        ("bytes 262144-262145/*", 2, 262144, None),
        ("bytes */12", 0, None, 12),
        ("bytes */*", 0, None, None),
    ],
)
def test_a_content_range_tells_offset_and_size(header: str, length: int, first: int | None, total: int | None) -> None:
    assert ContentRange.parse(header, length) == ContentRange(first, total)


@pytest.mark.parametrize(
    ("header", "length"),
    [("", 0), ("bytes 0-1", 2), ("bytes=0-1/2", 2), ("bytes 0-1/2", 3), ("bytes 3-2/9", 0), ("bytes 0-2/2", 3), ("bytes -1/2", 0)],
)
def test_a_content_range_that_does_not_fit_its_body_is_refused(header: str, length: int) -> None:
    with pytest.raises(ValueError, match=r"Failed to parse Content-Range header\."):
        ContentRange.parse(header, length)


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        ("bytes=0-3", (0, 3)),
        ("bytes=2-", (2, 9)),
        ("bytes=-3", (7, 9)),
        ("bytes=-99", (0, 9)),
        ("bytes=0-99", (0, 9)),
        ("bytes=0-1,3-4", None),
        ("bytes=5-2", None),
        ("bytes=-", None),
        ("lines=1-2", None),
    ],
)
def test_a_range_selects_bytes_of_ten(header: str, chosen: tuple[int, int] | None) -> None:
    assert select(header, 10) == chosen


@pytest.mark.parametrize(("header", "size"), [("bytes=10-", 10), ("bytes=0-5", 0), ("bytes=-0", 10), ("bytes=-5", 0)])
def test_a_range_outside_of_the_object_is_unsatisfiable(header: str, size: int) -> None:
    with pytest.raises(UnsatisfiableRangeError):
        select(header, size)
