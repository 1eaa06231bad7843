# SPDX-License-Identifier: Apache-2.0
"""Patterns of paths: `/orders`, `/orders/*`, `/orders/**`.

`*` stands for one segment, whatever is in it; `**` for any number of segments, none included, and only at the end. A slash at the end of a
pattern or of a path does not count: `/orders` and `/orders/` are one place to the rules, since many routers serve them alike.

Which of two patterns is the more specific one is decided from the left, segment by segment: a word goes before `*`, and both, like the end,
go before `**`. So a pattern that lies within another one always goes before it, and no two patterns that match one path are ever equal.
(With `**` in the middle this would not hold: `/**/a/b` lies within `/*/**`, and neither is the more specific one from the left.)
"""

from typing import Final, Self

import msgspec

from podpass.errors import ConfigError

ANY_SEGMENT: Final = "*"
ANY_NUMBER: Final = "**"
_WORD, _ONE, _END, _MANY = range(4)
# What cannot stand in a path that the guard lets through (guard/paths.py), so that no request could ever match it.
_IMPOSSIBLE: Final = frozenset("\\;?#")

Segments = tuple[str, ...]


def segments_of(path: str) -> Segments:
    """Split a decoded path that begins with a slash: `/a/b/` -> `a`, `b`; `/` -> nothing."""
    trimmed = path[1:-1] if path.endswith("/") else path[1:]
    return tuple(trimmed.split("/")) if trimmed else ()


class PathPattern(msgspec.Struct, frozen=True):
    """One pattern. The order of patterns is the order of `rank`, the most specific first.

    Attributes:
        segments: Words and `*`, without the `**` at the end.
        is_open: Whether there is one.
    """

    segments: Segments
    is_open: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a pattern.

        Raises:
            ConfigError: It does not begin with a slash; a `*` stands for less than a segment; a `**` is not at the end; or it can match no
                path that a guard lets through.
        """
        if not text.startswith("/"):
            raise _refused(text, "It does not begin with '/'.", f"Write /{text}.")
        segments = segments_of(text)
        is_open = bool(segments) and segments[-1] == ANY_NUMBER
        pattern = cls(segments[:-1] if is_open else segments, is_open)
        for segment in pattern.segments:
            _check(text, segment)
        return pattern

    @property
    def rank(self) -> tuple[int, ...]:
        """What patterns are ordered by."""
        ranks = [_ONE if segment == ANY_SEGMENT else _WORD for segment in self.segments]
        return (*ranks, _MANY if self.is_open else _END)

    @property
    def is_literal(self) -> bool:
        """Whether it matches one path only."""
        return not self.is_open and ANY_SEGMENT not in self.segments

    def matches(self, path: Segments) -> bool:
        """Tell whether a path is of this pattern."""
        if len(path) < len(self.segments) or (len(path) > len(self.segments) and not self.is_open):
            return False
        return all(wanted in (ANY_SEGMENT, found) for wanted, found in zip(self.segments, path, strict=False))

    def __str__(self) -> str:
        return "/" + "/".join((*self.segments, ANY_NUMBER) if self.is_open else self.segments)


def _check(text: str, segment: str) -> None:
    if not segment or segment in {".", ".."}:
        raise _refused(text, "A guard refuses paths with empty segments, '.' and '..'.", "Write the path as it is served.")
    if segment == ANY_NUMBER:
        raise _refused(text, "It has '**' before its end.", "Write ** at the end only; for single segments write *.")
    if "*" in segment and segment != ANY_SEGMENT:
        raise _refused(
            text, f"In {segment!r} the '*' stands for less than a segment.", "Write * for a whole segment, or ** at the end for any number."
        )
    if "%" in segment:
        raise _refused(text, "It is percent-encoded.", "Write the path decoded, as text.")
    if not _IMPOSSIBLE.isdisjoint(segment) or not segment.isprintable():
        raise _refused(text, "A guard refuses paths with '\\', ';', '?', '#' and control characters.", "Write the path alone.")


def _refused(text: str, why: str, next_step: str) -> ConfigError:
    return ConfigError(f"{text[:200]!r} is not a pattern of paths.", why, next_step, code="config.path-pattern")
