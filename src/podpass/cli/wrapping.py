# SPDX-License-Identifier: Apache-2.0
"""Lines that fit a terminal, and commands in them that stay whole, so that they can be copied."""

import re
import shutil
import textwrap
from typing import Final

from podpass.names.quoting import printable

WIDTH: Final = 80
_COMMAND: Final = re.compile(r"`[^`\n]+`")
_NO_BREAK_SPACE: Final = "\N{NO-BREAK SPACE}"


def width() -> int:
    """Return the width to write at: the terminal's, at most 80 columns."""
    return min(shutil.get_terminal_size((WIDTH, 24)).columns, WIDTH)


def wrap(text: str, *, first: int = 0, rest: int = 0, columns: int | None = None) -> str:
    """Wrap one paragraph; what stands in backticks is not torn apart.

    Args:
        text: The paragraph.
        first: How much of the first line is taken already.
        rest: How far the other lines are indented.
        columns: The width; None for the terminal's.
    """
    whole = _COMMAND.sub(lambda command: command[0].replace(" ", _NO_BREAK_SPACE), printable(text))
    wrapped = textwrap.fill(
        whole,
        max(columns or width(), rest + 20),
        initial_indent="x" * first,
        subsequent_indent=" " * rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return wrapped[first:].replace(_NO_BREAK_SPACE, " ")
