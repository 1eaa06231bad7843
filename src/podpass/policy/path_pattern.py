# SPDX-License-Identifier: Apache-2.0
"""Patterns of paths: `/orders`, `/orders/*`, `/orders/**`.

`*` stands for one segment, whatever is in it; `**` for any number of segments, none included, and at most once. A slash at the end of a
pattern or of a path does not count: `/orders` and `/orders/` are one place to the rules, since many routers serve them alike.

Which of two patterns is the more specific one is decided from the left, segment by segment: a word goes before `*`, `*` before the end,
and the end before `**`. After a `**` in the same place, the pattern with more segments after it goes first.
"""

from dataclasses import dataclass, field
from typing import Final, Self

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


@dataclass(frozen=True, slots=True)
class PathPattern:
    """One pattern. Equal patterns match the same paths; the order of patterns is the order of `rank`, the most specific first.

    Attributes:
        before: The segments before `**`, or all of them.
        after: The segments after `**`; None where there is no `**`.
    """

    before: Segments
    after: Segments | None = None
    rank: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ranks = [_rank(segment) for segment in self.before]
        if self.after is None:
            ranks.append(_END)
        else:
            ranks += [_MANY, -len(self.after), *map(_rank, self.after)]
        object.__setattr__(self, "rank", tuple(ranks))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a pattern.

        Raises:
            ConfigError: It does not begin with a slash; a `*` stands for less than a segment; a second `**`; or it can match no path that
                a guard lets through.
        """
        if not text.startswith("/"):
            raise _refused(text, "It does not begin with '/'.", f"Write /{text}.")
        segments = segments_of(text)
        for segment in segments:
            _check(text, segment)
        if segments.count(ANY_NUMBER) > 1:
            raise _refused(text, "It has '**' more than once.", "Write two patterns, or one '**'.")
        if ANY_NUMBER not in segments:
            return cls(segments)
        at = segments.index(ANY_NUMBER)
        before, after = segments[:at], segments[at + 1 :]
        # `**/*` and `*/**` match the same paths: one spelling for both, so that the same place is not decided by two rules.
        while after and after[0] == ANY_SEGMENT:
            before, after = (*before, ANY_SEGMENT), after[1:]
        return cls(before, after)

    @property
    def is_literal(self) -> bool:
        """Whether it matches one path only."""
        return self.after is None and ANY_SEGMENT not in self.before

    def matches(self, path: Segments) -> bool:
        """Tell whether a path is of this pattern."""
        if self.after is None:
            return len(path) == len(self.before) and _agree(self.before, path)
        if len(path) < len(self.before) + len(self.after):
            return False
        return _agree(self.before, path) and _agree(self.after, path[len(path) - len(self.after) :])

    def __str__(self) -> str:
        segments = self.before if self.after is None else (*self.before, ANY_NUMBER, *self.after)
        return "/" + "/".join(segments)


def _agree(pattern: Segments, path: Segments) -> bool:
    return all(wanted in (ANY_SEGMENT, found) for wanted, found in zip(pattern, path, strict=False))


def _rank(segment: str) -> int:
    return _ONE if segment == ANY_SEGMENT else _WORD


def _check(text: str, segment: str) -> None:
    if not segment or segment in {".", ".."}:
        raise _refused(text, "A guard refuses paths with empty segments, '.' and '..'.", "Write the path as it is served.")
    if "*" in segment and segment not in {ANY_SEGMENT, ANY_NUMBER}:
        raise _refused(
            text, f"In {segment!r} the '*' stands for less than a segment.", "Write * for a whole segment, or ** for any number."
        )
    if "%" in segment:
        raise _refused(text, "It is percent-encoded.", "Write the path decoded, as text.")
    if not _IMPOSSIBLE.isdisjoint(segment) or not segment.isprintable():
        raise _refused(text, "A guard refuses paths with '\\', ';', '?', '#' and control characters.", "Write the path alone.")


def _refused(text: str, why: str, next_step: str) -> ConfigError:
    return ConfigError(f"{text[:200]!r} is not a pattern of paths.", why, next_step, code="config.path-pattern")
