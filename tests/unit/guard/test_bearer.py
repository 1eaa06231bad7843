# SPDX-License-Identifier: Apache-2.0
import pytest

from podpass.errors import MalformedTokenError, SeveralCredentialsError
from podpass.guard.bearer import read_token

AUTH, SERVERLESS = b"authorization", b"x-serverless-authorization"


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ([], None),
        ([(b"x-other", b"Bearer a.b.c")], None),
        ([(AUTH, b"Bearer a.b.c")], b"a.b.c"),
        ([(AUTH, b"bearer a.b.c")], b"a.b.c"),
        ([(AUTH, b"BEARER   a.b.c  ")], b"a.b.c"),
        ([(AUTH, b" Bearer a.b.c")], b"a.b.c"),
        ([(AUTH, b"Basic YTpi")], None),
        ([(AUTH, b'Digest username="a", realm="b"')], None),
        ([(AUTH, b"")], None),
        ([(AUTH, b"Bearera.b.c")], None),
        ([(SERVERLESS, b"Bearer a.b.c")], None),
    ],
)
def test_token_is_what_stands_behind_bearer(headers: list[tuple[bytes, bytes]], token: bytes | None) -> None:
    assert read_token(headers) == token


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ([(SERVERLESS, b"Bearer s.s.s"), (AUTH, b"Bearer a.a.a")], b"s.s.s"),
        ([(AUTH, b"Bearer a.a.a"), (AUTH, b"Basic x"), (SERVERLESS, b"Bearer s.s.s")], b"s.s.s"),
        ([(AUTH, b"Bearer a.a.a")], b"a.a.a"),
        ([(SERVERLESS, b"Basic x"), (AUTH, b"Bearer a.a.a")], None),
    ],
)
def test_the_serverless_header_goes_first_where_the_policy_says_so(headers: list[tuple[bytes, bytes]], token: bytes | None) -> None:
    assert read_token(headers, serverless_first=True) == token


@pytest.mark.parametrize(
    "headers",
    [
        [(AUTH, b"Bearer a.a.a"), (AUTH, b"Bearer a.a.a")],
        [(AUTH, b"Basic x"), (AUTH, b"Bearer a.a.a")],
        [(AUTH, b"Bearer a.a.a,Bearer b.b.b")],
        [(AUTH, b"Basic x, bearer a.a.a")],
        [(AUTH, b"Bearer a.a.a, b")],
    ],
)
def test_two_credentials_are_refused(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(SeveralCredentialsError, match="more than one credential"):
        read_token(headers)


@pytest.mark.parametrize("value", [b"Bearer", b"Bearer ", b"bearer \t"])
def test_bearer_without_a_token_is_malformed(value: bytes) -> None:
    with pytest.raises(MalformedTokenError, match="Nothing stands behind the word Bearer"):
        read_token([(AUTH, value)])


def test_a_token_is_read_from_one_serverless_header_only() -> None:
    with pytest.raises(SeveralCredentialsError):
        read_token([(SERVERLESS, b"Bearer a.a.a"), (SERVERLESS, b"Bearer b.b.b")], serverless_first=True)
