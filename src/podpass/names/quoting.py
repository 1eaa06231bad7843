# SPDX-License-Identifier: Apache-2.0
"""Other people's texts in our messages."""

import re
from typing import Final

_LIMIT_CHARS: Final = 200
# What a terminal would obey, not show: C0 without tab and line feed, DEL, C1.
_CONTROL: Final = dict.fromkeys([*(set(range(0x20)) - {0x09, 0x0A}), *range(0x7F, 0xA0)], "\N{REPLACEMENT CHARACTER}")


def printable(text: str) -> str:
    """Return a text with the characters replaced that a terminal would obey: others may have written parts of it."""
    return text.translate(_CONTROL)


def at_odds(text: str) -> str:
    """Say what an id has that ids of a-z, 0-9 and '-' have not: up to five of its other characters; where it has none, its length."""
    others = list(dict.fromkeys(re.findall("[^-a-z0-9]", text)))
    return ", ".join(map(repr, others[:5])) if others else f"{len(text)} characters"


def quoted(text: str) -> str:
    """Quote a value for a message: control characters escaped, at most 200 characters of it."""
    return repr(text) if len(text) <= _LIMIT_CHARS else f"{text[:_LIMIT_CHARS]!r}… ({len(text)} characters)"
