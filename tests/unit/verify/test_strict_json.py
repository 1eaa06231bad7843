# SPDX-License-Identifier: Apache-2.0
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpass.verify import strict_json

_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | _text
_values = st.recursive(_scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text, inner, max_size=4), max_leaves=12)


@given(st.dictionaries(_text, _values, max_size=5), st.booleans(), st.sampled_from([None, 1]))
def test_any_spelling_of_an_object_is_read(value: dict[str, Any], ascii_only: bool, indent: int | None) -> None:  # noqa: FBT001 - drawn
    assert strict_json.parse_object(json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()) == value


@given(st.dictionaries(_text, _values, min_size=1, max_size=5), st.data())
def test_a_member_twice_is_refused_wherever_it_stands(value: dict[str, Any], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(value)))
    again = json.dumps({name: data.draw(_values)}, ensure_ascii=data.draw(st.booleans()))[1:-1]
    text = json.dumps(value, ensure_ascii=data.draw(st.booleans()))[:-1] + "," + again + "}"
    for wrapped in (text, f'{{"outer":{text}}}', f'{{"outer":[0,{{"inner":{text}}}]}}'):
        with pytest.raises(ValueError, match="one of its JSON objects has a member twice"):
            strict_json.parse_object(wrapped.encode())


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        pytest.param(b'{"a":1,"a":1}', "has a member twice", id="same-value-twice"),
        pytest.param(b'{"a":1,"\\u0061":2}', "has a member twice", id="same-name-escaped"),
        pytest.param(b'{"a":{"b":1,"b":2}}', "has a member twice", id="nested"),
        pytest.param(b'{"a":[{"b":1,"b":2}]}', "has a member twice", id="in-a-list"),
        pytest.param(b'{"":1,"":2}', "has a member twice", id="empty-name"),
        pytest.param(b'{"a":1e2,"a":3}', "has a member twice", id="beside-an-odd-number"),
        pytest.param(b"[]", "it is not a JSON object", id="list"),
        pytest.param(b'"a"', "it is not a JSON object", id="string"),
        pytest.param(b"null", "it is not a JSON object", id="null"),
        pytest.param(b"", "it is not JSON", id="empty"),
        pytest.param(b"{}{}", "it is not JSON", id="two-objects"),
        pytest.param(b"{}\0", "it is not JSON", id="nul-after"),
        pytest.param(b'{"a":NaN}', "it is not JSON", id="nan"),
        pytest.param(b'{"a":Infinity}', "it is not JSON", id="infinity"),
        pytest.param(b'{"a":1e999}', "it is not JSON", id="number-out-of-range"),
        pytest.param(b'{"a":' + b"9" * 5000 + b"}", "it is not JSON", id="5000-digits"),
        pytest.param(b'{"a":01}', "it is not JSON", id="leading-zero"),
        pytest.param(b"{'a':1}", "it is not JSON", id="single-quotes"),
        pytest.param(b'{"a":1,}', "it is not JSON", id="trailing-comma"),
        pytest.param(b'{"a":"\x01"}', "it is not JSON", id="control-character"),
        pytest.param(b'{"a":"\\ud800"}', "it is not JSON", id="lone-surrogate"),
        pytest.param(b"\xef\xbb\xbf{}", "it is not JSON", id="byte-order-mark"),
        pytest.param("{}".encode("utf-16"), "it is not JSON", id="utf-16"),
        pytest.param(b'{"a":"\xff"}', "it is not UTF-8", id="not-utf-8"),
        pytest.param(b'{"a":"\xc0\x80"}', "it is not UTF-8", id="overlong-nul"),
        pytest.param(b'{"a":"\xed\xa0\x80"}', "it is not UTF-8", id="surrogate-in-utf-8"),
        pytest.param(b'{"a":' + b"[" * 40 + b"]" * 40 + b"}", "nested deeper than 32 levels", id="41-levels"),
        pytest.param(b'{"a":' + b"[" * 12000 + b"]" * 12000 + b"}", "it is not JSON", id="deeper-than-the-stack"),
    ],
)
def test_what_is_not_one_plain_object_is_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        strict_json.parse_object(raw)


@pytest.mark.parametrize(("levels", "admitted"), [(32, True), (33, False)])
@pytest.mark.parametrize("kind", ["list", "object"])
def test_the_nesting_limit_is_exact(levels: int, admitted: bool, kind: str) -> None:  # noqa: FBT001 - a table's column
    opening, closing = ("[", "]") if kind == "list" else ('{"a":', "}")
    inner = levels - 1
    raw = ('{"a":' + opening * (inner - 1) + ("[]" if kind == "list" else "{}") + closing * (inner - 1) + "}").encode()
    if admitted:
        assert strict_json.parse_object(raw)
    else:
        with pytest.raises(ValueError, match="nested deeper"):
            strict_json.parse_object(raw)


def test_many_brackets_side_by_side_are_no_nesting() -> None:
    value = {"a": [[] for _ in range(100)], "b": "{[" * 100}
    assert strict_json.parse_object(json.dumps(value).encode()) == value


def test_a_refusal_quotes_nothing_of_the_text() -> None:
    with pytest.raises(ValueError, match="member twice") as caught:
        strict_json.parse_object(b'{"hunter2":"hunter2","hunter2":"hunter2"}')
    assert "hunter2" not in str(caught.value)
