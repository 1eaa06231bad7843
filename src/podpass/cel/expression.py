# SPDX-License-Identifier: Apache-2.0
r"""The port: what podpass asks of a CEL library, over cel-expr-python.

The library is imported when the first environment is made: it weighs 14 MB and is missing where only tokens are verified. Three of its
habits matter here:

- a runtime error is not raised but returned as a value of type ERROR, which is true to Python;
- a string given to it ends at its first NUL, so that `admin\0x` would be judged as `admin`;
- a lone surrogate in a string makes every evaluation fail with a text that names nothing.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum
from functools import cache
from typing import Any, NamedTuple

from podpass.errors import ConfigError, EvaluationError, ExpressionError

_INT64 = range(-(2**63), 2**63)
# `<input>:LINE:COLUMN: text`; both are -1 for an expression as a whole.
_POSITION = re.compile(r"<input>:(?P<line>-?\d+):(?P<column>-?\d+): (?P<text>[^\n]*)")
_MISSING = "Key not found"
_STATUS = re.compile(r"^[A-Z_]+: |\s*\[[A-Z_]+\]$")


class Kind(Enum):
    """The types of variables and results, by the library's names."""

    BOOL = "BOOL"
    STRING = "STRING"
    TIMESTAMP = "TIMESTAMP"
    STRING_LIST = "LIST<STRING>"
    STRING_MAP = "MAP<STRING, STRING>"
    ANY_MAP = "MAP<STRING, DYN>"


# What the checker infers where values decide: these may turn out to be the wanted kind.
_OPEN_RESULTS = {Kind.STRING_LIST: {"LIST<DYN>", "DYN"}, Kind.STRING_MAP: {"MAP<DYN, DYN>", "MAP<STRING, DYN>", "DYN"}}


class _Library(NamedTuple):
    cel: Any
    strings: Any


@cache
def _library() -> _Library:
    try:
        from cel_expr_python import cel  # noqa: PLC0415 - an extra, and 14 MB: imported when an expression is first needed
        from cel_expr_python.ext import ext_strings  # noqa: PLC0415 - the same
    except ImportError as error:
        raise ConfigError(
            "An attribute mapping or condition cannot be evaluated.",
            "Expressions need the package cel-expr-python, which is not installed.",
            "Install podpass with its extra: pip install 'podpass[policy]'.",
            code="config.missing-extra",
        ) from error
    return _Library(cel, ext_strings)


class Expression:
    """A compiled expression. Evaluation is pure and may be repeated with other values."""

    __slots__ = ("_compiled", "result", "text")

    def __init__(self, text: str, compiled: Any) -> None:  # noqa: ANN401 - the library's object, seen by this file only
        self.text = text
        self._compiled = compiled
        self.result: str = compiled.return_type().name()

    def may_yield(self, kind: Kind) -> bool:
        """Tell whether the checked type is `kind`, or one that only the values decide."""
        return self.result == kind.value or self.result in _OPEN_RESULTS.get(kind, {"DYN"})

    def evaluate(self, values: Mapping[str, object]) -> object:
        """Return the result as str, bool, int, float, bytes, None, datetime, list or dict.

        Args:
            values: Variable to value: JSON values, and aware datetimes for TIMESTAMP variables. A variable may be missing when the
                expression does not come to need it.

        Raises:
            EvaluationError: No result: a missing member, types that do not fit, a budget exceeded, or a value that CEL cannot hold (an
                integer beyond 64 bits, a string with NUL or a lone surrogate).
        """
        reason = next(filter(None, map(_inadmissible, values.values())), None)
        if reason is not None:
            raise self._no_value(reason)
        try:
            value = self._compiled.eval(data=dict(values))
            if value.type().name() in {"ERROR", "UNKNOWN"}:
                raise self._no_value(_without_status(str(value.value())))
            result: object = value.plain_value()
        except (RuntimeError, TypeError, ValueError, OverflowError) as error:
            raise self._no_value(_without_status(str(error))) from error
        return bytes(result) if isinstance(result, bytearray) else result

    def is_true(self, values: Mapping[str, object]) -> bool:
        """Decide a condition: True for the boolean true alone; an error and any other value are False."""
        try:
            return self.evaluate(values) is True
        except EvaluationError:
            return False

    def _no_value(self, reason: str) -> EvaluationError:
        return EvaluationError(
            f"The expression {self.text!r} has no value here.",
            f"{reason}." if reason else "",
            "Guard a member that may be missing: has(assertion.x) ? assertion.x : ''." if reason.startswith(_MISSING) else "",
        )

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"


class Environment:
    """The variables that expressions may use, with their kinds; CEL's standard functions, its string functions, and `extract`.

    Args:
        variables: Name to kind. A name may have dots (`request.time`), which is how Google names the attributes of a request.

    Raises:
        ConfigError: The CEL library is not installed.
    """

    def __init__(self, variables: Mapping[str, Kind]) -> None:
        library = _library()
        types = {name: _type_of(library.cel, kind) for name, kind in variables.items()}
        extract = _member_function(library.cel, "extract", _extract)
        self._environment = library.cel.NewEnv(variables=types, extensions=[library.strings.ExtStrings()], functions=[extract])

    def compile(self, text: str) -> Expression:
        """Check an expression and make it ready.

        Raises:
            ExpressionError: Syntax, an unknown variable or function, types that can never fit, or deeper than the library reads.
        """
        try:
            if (reason := _inadmissible(text)) is not None:
                raise ExpressionError(f"{text!r} is not an expression.", f"{reason}.")
            return Expression(text, self._environment.compile(text))
        except RuntimeError as error:
            raise ExpressionError(
                f"{text!r} is not an expression that can be used here.",
                _position(str(error)),
                "The language is CEL: https://cel.dev.",
            ) from error


def _type_of(cel: Any, kind: Kind) -> Any:  # noqa: ANN401 - the library's objects, seen by this file only
    if kind is Kind.STRING_LIST:
        return cel.Type.List(cel.Type.STRING)
    if kind in {Kind.STRING_MAP, Kind.ANY_MAP}:
        return cel.Type.Map(cel.Type.STRING, cel.Type.STRING if kind is Kind.STRING_MAP else cel.Type.DYN)
    return getattr(cel.Type, kind.value)


def _member_function(cel: Any, name: str, implementation: Callable[[str, str], str]) -> Any:  # noqa: ANN401 - as above
    text = cel.Type.STRING
    overload = cel.Overload(id=f"string_{name}", return_type=text, parameters=[text, text], is_member=True, impl=implementation)
    return cel.FunctionDecl(name, [overload])


def _extract(value: str, template: str) -> str:
    """Cut out what stands where the template has `{name}`; empty when the template does not match or has no such place.

    Source:
        Google, IAM Conditions attribute reference, `extract`; used in attribute mappings too. [K]
    """
    before, _, rest = template.partition("{")
    _, closed, after = rest.partition("}")
    start = value.find(before)
    if not closed or start < 0:
        return ""
    start += len(before)
    end = value.find(after, start) if after else len(value)
    return value[start:end] if end >= 0 else ""


def _inadmissible(value: object) -> str | None:
    """Say why a value cannot go into an evaluation unchanged, or None."""
    if isinstance(value, str):
        if "\0" in value:
            return "A string holds the character NUL"
        return None if value.isascii() or _is_unicode(value) else "A string holds a lone surrogate"
    if value is None or isinstance(value, bool | float | datetime):
        return None
    if isinstance(value, int):
        return None if value in _INT64 else "An integer does not fit into 64 bits"
    if isinstance(value, Mapping):
        return next(filter(None, (_inadmissible(part) for pair in value.items() for part in pair)), None)
    if isinstance(value, list | tuple):
        return next(filter(None, map(_inadmissible, value)), None)
    return f"A value of type {type(value).__name__} is not known to CEL"


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _position(message: str) -> str:
    found = _POSITION.search(message)
    if not found:
        return _without_status(message).rstrip(".") + "."
    text = found["text"].removesuffix(" (in container '')").rstrip(".")
    return f"Line {found['line']}, column {found['column']}: {text}." if int(found["line"]) > 0 else f"{text}."


def _without_status(message: str) -> str:
    return _STATUS.sub("", message.partition("\n")[0]).strip()
