# SPDX-License-Identifier: Apache-2.0
"""Standard input and output as a command needs them, whatever it was started with: none at all, or an encoding that lacks our signs."""

import codecs
import io
import os
import sys
from pathlib import Path
from typing import Final, Literal, TextIO

_LIKE: Final = {"✓": "+", "✗": "x", "…": "..."}


def settle() -> None:
    """Open what was closed (`2>&-`, some supervisors), and write other signs where the encoding has not ours: in latin-1, for instance."""
    codecs.register_error("podpass", _alike)
    # In this order: each takes the lowest number that is free, and no connection comes to be 1 or 2.
    sys.stdin = sys.stdin or _nothing("r")
    sys.stdout = sys.stdout or _nothing("w")
    sys.stderr = sys.stderr or _nothing("w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="podpass")


def discard(stream: TextIO) -> None:
    """Let what is still to be written go nowhere: whoever was to have it has gone, or has no room."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _nothing(mode: Literal["r", "w"]) -> TextIO:
    return Path(os.devnull).open(mode, encoding="utf-8")


def _alike(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_LIKE.get(sign) or sign.encode("ascii", "backslashreplace").decode() for sign in text), error.end
