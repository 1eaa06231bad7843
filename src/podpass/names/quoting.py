# SPDX-License-Identifier: Apache-2.0
"""Other people's texts in our messages."""

from typing import Final

_LIMIT_CHARS: Final = 200


def quoted(text: str) -> str:
    """Quote a value for a message: control characters escaped, at most 200 characters of it."""
    return repr(text) if len(text) <= _LIMIT_CHARS else f"{text[:_LIMIT_CHARS]!r}… ({len(text)} characters)"
