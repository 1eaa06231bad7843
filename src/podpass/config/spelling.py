# SPDX-License-Identifier: Apache-2.0
"""What a word that nobody knows was probably meant to be."""

import difflib


def nearest(word: str, known: list[str]) -> str | None:
    """Return the known word that was probably meant: another spelling of the same letters, or nearly the same ones."""
    plain = {_plain(candidate): candidate for candidate in known}
    close = difflib.get_close_matches(_plain(word), plain, n=1, cutoff=0.7)
    return plain[close[0]] if close else None


def _plain(word: str) -> str:
    return word.replace("_", "").replace("-", "").casefold()
