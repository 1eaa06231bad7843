# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpass.cel import Environment, Kind
from podpass.errors import ConfigError, EvaluationError, ExpressionError

ENVIRONMENT = Environment({"assertion": Kind.ANY_MAP, "attribute": Kind.STRING_MAP, "groups": Kind.STRING_LIST})
REQUEST = Environment(
    {"request.time": Kind.TIMESTAMP, "resource.name": Kind.STRING, "resource.type": Kind.STRING, "resource.service": Kind.STRING}
)
CLAIMS = {
    "sub": "system:serviceaccount:shop:checkout",
    "kubernetes.io": {"namespace": "shop", "pod": {"name": "checkout-1"}},
    "groups": ["a", "b"],
    "n": 7,
    "f": 1.5,
    "yes": True,
    "none": None,
}


def value_of(text: str, claims: Any = CLAIMS) -> object:  # noqa: ANN401 - any JSON
    return ENVIRONMENT.compile(text).evaluate({"assertion": claims, "attribute": {"ns": "shop"}, "groups": ["a"]})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("assertion.sub", CLAIMS["sub"]),
        ("assertion['kubernetes.io'].namespace", "shop"),
        ("assertion['kubernetes.io']['pod']['name']", "checkout-1"),
        ("assertion.groups", ["a", "b"]),
        ("assertion.groups.map(g, g + '!')", ["a!", "b!"]),
        ("assertion.n", 7),
        ("assertion.n == 7.0", True),
        ("assertion.f", 1.5),
        ("assertion.yes", True),
        ("assertion.none", None),
        ("has(assertion.missing)", False),
        ("has(assertion.missing) ? assertion.missing : 'fallback'", "fallback"),
        ("true || assertion.missing", True),
        ("b'ab'", b"ab"),
        ("attribute.ns == 'shop' && 'a' in groups", True),
        ("assertion.sub.split(':')[2]", "shop"),
        ("assertion.sub.startsWith('system:serviceaccount:')", True),
        ("assertion.sub.matches('^system:serviceaccount:[a-z]+:checkout$')", True),
        ("assertion.sub.extract('system:serviceaccount:{ns}:')", "shop"),
        ("assertion.sub.extract('{all}')", CLAIMS["sub"]),
        ("assertion.sub.extract('shop:{rest}')", "checkout"),
        ("assertion.sub.extract('nowhere:{rest}')", ""),
        ("assertion.sub.extract('system:{rest}/')", ""),
        ("assertion.sub.extract('no braces')", ""),
        ("assertion.sub.extract('system:{brace')", ""),
        ("assertion.sub.extract('system:')", ""),
    ],
)
def test_expressions_have_the_values_of_googles_cel(text: str, value: object) -> None:
    assert value_of(text) == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("assertion.missing", 'Key not found in map : "missing".'),
        ("assertion.sub == 'x' || assertion.missing", 'Key not found in map : "missing".'),
        ("attribute.missing", 'Key not found in map : "missing".'),
        ("assertion.sub.split(':')[9]", "Index error: index=9 size=4."),
        ("1 + assertion.sub", "No matching overloads found : _+_(int64, string)."),
        ("1 / 0 == 1", "divide by zero."),
    ],
)
def test_an_expression_without_value_is_an_error_and_never_true(text: str, why: str) -> None:
    with pytest.raises(EvaluationError) as caught:
        value_of(text)
    assert caught.value.what == f"The expression {text!r} has no value here."
    assert caught.value.why == why
    guard = "Guard a member that may be missing: has(assertion.x) ? assertion.x : ''."
    assert caught.value.next_step == (guard if why.startswith("Key not found") else "")
    assert caught.value.full_code == "expression.no-value"
    assert not ENVIRONMENT.compile(text).is_true({"assertion": CLAIMS, "attribute": {}})


@pytest.mark.parametrize(
    ("text", "truth"), [("true", True), ("assertion.yes", True), ("false", False), ("'true'", False), ("1", False), ("[1]", False)]
)
def test_only_the_boolean_true_is_true(text: str, truth: bool) -> None:  # noqa: FBT001 - a table's column
    assert ENVIRONMENT.compile(text).is_true({"assertion": CLAIMS}) is truth


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"sub": "admin\0x"}, "A string holds the character NUL."),
        ({"sub": "x", "other": {"deep": ["admin\0x"]}}, "A string holds the character NUL."),
        ({"sub": "x", "na\0me": 1}, "A string holds the character NUL."),
        ({"sub": "x\ud800"}, "A string holds a lone surrogate."),
        ({"sub": "x", "n": 2**63}, "An integer does not fit into 64 bits."),
        ({"sub": "x", "n": -(2**63) - 1}, "An integer does not fit into 64 bits."),
        ({"sub": "x", "n": object()}, "A value of type object is not known to CEL."),
    ],
)
def test_values_that_cel_would_change_are_refused(claims: object, why: str) -> None:
    # The library ends a string at its first NUL: 'admin\0x' would be judged, and mapped, as 'admin'.
    with pytest.raises(EvaluationError) as caught:
        value_of("assertion.sub", claims)
    assert caught.value.why == why


@given(st.text(max_size=40))
def test_a_string_comes_back_unchanged_or_not_at_all(text: str) -> None:
    try:
        assert value_of("assertion.s", {"s": text}) == text
    except EvaluationError:
        assert "\0" in text or any("\ud800" <= character <= "\udfff" for character in text)


@given(st.integers(-(2**63), 2**63 - 1))
def test_an_integer_of_64_bits_comes_back_unchanged(number: int) -> None:
    assert value_of("assertion.n", {"n": number}) == number


def test_evaluation_is_bounded() -> None:
    with pytest.raises(EvaluationError, match="Iteration budget exceeded"):
        value_of("assertion.l.all(a, assertion.l.all(b, assertion.l.all(c, a + b + c >= 0)))", {"l": list(range(1000))})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("assertion.sub ==", "Line 1, column 17: Syntax error: mismatched input '<EOF>'"),
        ("", "Line 1, column 1: Syntax error: mismatched input '<EOF>'"),
        ("token.sub", "Line 1, column 6: undeclared reference to 'token.sub'."),
        ("assertion.sub.nothing()", "Line 1, column 22: undeclared reference to 'nothing'."),
        ("attribute.ns == 1", "Line 1, column 14: found no matching overload for '_==_' applied to '(string, int)'."),
        ("'a' + 1 == 'b'", "Line 1, column 5: found no matching overload for '_+_' applied to '(string, int)'."),
        ("+".join(["1"] * 100), "Exceeded max recursion depth of 32 when parsing."),
        ("(" * 500 + "1" + ")" * 500, "Expression recursion limit exceeded. limit: 32."),
        ("'a\0b'", "A string holds the character NUL."),
        ("'\ud800'", "A string holds a lone surrogate."),
    ],
)
def test_what_is_no_expression_is_refused_with_its_place(text: str, why: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        ENVIRONMENT.compile(text)
    assert why in caught.value.why
    assert caught.value.what.startswith(f"{text!r} is not an expression")
    assert caught.value.full_code == "config.expression"
    assert isinstance(caught.value, ConfigError)


def test_message_of_an_expression_that_cannot_be_used() -> None:
    with pytest.raises(ExpressionError) as caught:
        ENVIRONMENT.compile("token.sub")
    assert str(caught.value) == (
        "'token.sub' is not an expression that can be used here. Line 1, column 6: undeclared reference to 'token.sub'. "
        "The language is CEL: https://cel.dev."
    )


@pytest.mark.parametrize(
    ("text", "kind", "may"),
    [
        ("assertion.sub", Kind.STRING, True),
        ("assertion.sub", Kind.BOOL, True),
        ("assertion.sub", Kind.STRING_LIST, True),
        ("assertion.groups.map(g, g)", Kind.STRING_LIST, True),
        ("['a']", Kind.STRING_LIST, True),
        ("'a'", Kind.STRING, True),
        ("'a'", Kind.BOOL, False),
        ("1", Kind.STRING, False),
        ("['a']", Kind.STRING, False),
        ("[1]", Kind.STRING_LIST, False),
        ("attribute", Kind.STRING_MAP, True),
    ],
)
def test_the_checked_type_tells_what_may_come_out(text: str, kind: Kind, may: bool) -> None:  # noqa: FBT001 - a table's column
    assert ENVIRONMENT.compile(text).may_yield(kind) is may


def test_conditions_of_iam_see_the_request_by_its_dotted_names() -> None:
    condition = REQUEST.compile(
        "request.time < timestamp('2026-06-01T00:00:00Z') && resource.name.startsWith('projects/_/buckets/reports')"
        " && resource.type == 'storage.googleapis.com/Bucket' && request.time.getHours('Europe/Berlin') == 6"
    )
    values = {
        "request.time": datetime(2026, 1, 1, 5, 30, tzinfo=UTC),
        "resource.name": "projects/_/buckets/reports",
        "resource.type": "storage.googleapis.com/Bucket",
        "resource.service": "storage.googleapis.com",
    }
    assert condition.may_yield(Kind.BOOL)
    assert condition.is_true(values)
    assert not condition.is_true({**values, "request.time": datetime(2026, 7, 1, 4, 30, tzinfo=UTC)})
    assert not condition.is_true({**values, "resource.name": "projects/_/buckets/other"})
    assert not condition.is_true({})


def test_an_expression_shows_its_text() -> None:
    assert repr(ENVIRONMENT.compile("assertion.sub")) == "Expression('assertion.sub')"


def test_without_the_library_the_extra_is_named_and_verification_still_works() -> None:
    script = (
        "import sys\n"
        "sys.modules['cel_expr_python'] = None\n"
        "import podpass.verify, podpass.cel, podpass.wif\n"
        "from podpass.errors import ConfigError\n"
        "try: podpass.cel.Environment({})\n"
        "except ConfigError as error: print(error.full_code, '|', error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "config.missing-extra | An attribute mapping or condition cannot be evaluated. "
        "Expressions need the package cel-expr-python, which is not installed. "
        "Install podpass with its extra: pip install 'podpass[policy]'.\n"
    )


def test_the_library_is_not_loaded_before_it_is_needed() -> None:
    script = "import sys, podpass.verify, podpass.cel, podpass.wif; print([name for name in sys.modules if name.startswith('cel_expr')])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
