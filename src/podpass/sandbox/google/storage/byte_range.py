# SPDX-License-Identifier: Apache-2.0
"""Byte ranges: `Content-Range` of a resumable upload's chunks, `Range` of a download."""

import re
from dataclasses import dataclass
from typing import Self

_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class UnsatisfiableRangeError(ValueError):
    """The range lies wholly outside of the object."""


@dataclass(frozen=True, slots=True)
class ContentRange:
    """Which bytes of the whole a request carries.

    Attributes:
        first: Offset of the first byte; None when the request carries none (`bytes */N`).
        total: Size of the whole, once the client knows it.
    """

    first: int | None
    total: int | None

    @classmethod
    def parse(cls, header: str, length: int) -> Self:
        """Read `bytes F-L/T`, `bytes F-L/*`, `bytes */T` or `bytes */*` of a request with `length` bytes.

        Raises:
            ValueError: Another form, or a range that is not `length` bytes long.
        """
        found = _CONTENT_RANGE.fullmatch(header.strip())
        if not found:
            raise ValueError("Failed to parse Content-Range header.")
        total = None if found[3] == "*" else int(found[3])
        if found[1] is None:
            return cls(None, total)
        first, last = int(found[1]), int(found[2])
        if not 0 < last - first + 1 == length or (total is not None and last >= total):
            raise ValueError("Failed to parse Content-Range header.")
        return cls(first, total)


def select(header: str, size: int) -> tuple[int, int] | None:
    """Return the first and the last offset that a `Range` header asks for, or None where all is sent.

    A header of another form, several ranges included, is ignored, as RFC 9110, 14.2 allows.

    Raises:
        UnsatisfiableRangeError: Nothing of an object of `size` bytes lies in the range.
    """
    found = _RANGE.fullmatch(header.strip())
    if not found or not (found[1] or found[2]):
        return None
    if found[1]:
        first, last = int(found[1]), int(found[2] or size)
        if last < first:
            return None
    else:
        first, last = max(size - int(found[2]), 0), size
    last = min(last, size - 1)
    if first > last:
        raise UnsatisfiableRangeError(header)
    return first, last
