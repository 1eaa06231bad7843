# SPDX-License-Identifier: Apache-2.0
import itertools

import pytest

from podpass.errors import ConfigError
from podpass.policy.path_pattern import PathPattern, segments_of

MATCHES = [
    ("/", "/", True),
    ("/", "/a", False),
    ("/private", "/private", True),
    ("/private", "/private/", True),
    ("/private/", "/private", True),
    ("/private", "/Private", False),
    ("/private", "/private/a", False),
    ("/private/*", "/private", False),
    ("/private/*", "/private/", False),
    ("/private/*", "/private/a", True),
    ("/private/*", "/private/a/", True),
    ("/private/*", "/private/a/b", False),
    ("/*/b", "/a/b", True),
    ("/**", "/", True),
    ("/**", "/a/b/c", True),
    ("/a/**", "/a", True),
    ("/a/**", "/a/b/c", True),
    ("/a/**", "/b", False),
    ("/*/**", "/", False),
    ("/*/**", "/a", True),
    ("/größe", "/größe", True),
]


@pytest.mark.parametrize(("pattern", "path", "expected"), MATCHES)
def test_pattern_matches(pattern: str, path: str, expected: bool) -> None:  # noqa: FBT001 - a column of the table
    assert PathPattern.parse(pattern).matches(segments_of(path)) is expected


@pytest.mark.parametrize(
    ("path", "first", "second"),
    [
        ("/a/b", "/a/b", "/a/*"),
        ("/a/b", "/a/*", "/*/b"),
        ("/a/b", "/*/b", "/*/*"),
        ("/a", "/a", "/a/**"),
        ("/a", "/*", "/**"),
        ("/a/b/c", "/a/**", "/*/b/c"),
        ("/a/b/c", "/a/*/**", "/a/**"),
    ],
)
def test_the_more_specific_pattern_goes_first(path: str, first: str, second: str) -> None:
    patterns = [PathPattern.parse(text) for text in (second, first)]
    assert all(pattern.matches(segments_of(path)) for pattern in patterns)
    assert min(patterns, key=lambda pattern: pattern.rank) == PathPattern.parse(first)


def test_two_spellings_of_one_place_are_one_pattern() -> None:
    assert PathPattern.parse("/a/") == PathPattern.parse("/a")


PATTERNS = [
    PathPattern(segments, is_open)
    for length in range(4)
    for segments in itertools.product("ab*", repeat=length)
    for is_open in (False, True)
]
PATHS = [segments for length in range(5) for segments in itertools.product("abc", repeat=length)]
MATCHED = {pattern: {path for path in PATHS if pattern.matches(path)} for pattern in PATTERNS}


def test_of_two_patterns_for_one_path_one_is_the_more_specific() -> None:
    for first, second in itertools.combinations(PATTERNS, 2):
        if MATCHED[first] & MATCHED[second]:
            assert first.rank != second.rank, (first, second)


def test_a_pattern_within_another_one_goes_before_it() -> None:
    for first, second in itertools.permutations(PATTERNS, 2):
        if MATCHED[first] < MATCHED[second]:
            assert first.rank < second.rank, (first, second)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("private", "does not begin with '/'"),
        ("", "does not begin with '/'"),
        ("/a//b", "empty segments"),
        ("/a/../b", "empty segments"),
        ("/a/./b", "empty segments"),
        ("/a*", "less than a segment"),
        ("/a/***", "less than a segment"),
        ("/**/a", "before its end"),
        ("/**/**", "before its end"),
        ("/a%2fb", "percent-encoded"),
        ("/a;b", "';'"),
        ("/a?b=c", "'?'"),
        ("/a\\b", "control characters"),
        ("/a\tb", "control characters"),
    ],
)
def test_a_pattern_that_could_never_match_is_refused(text: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        PathPattern.parse(text)
    assert why in caught.value.why
    assert caught.value.full_code == "config.path-pattern"
