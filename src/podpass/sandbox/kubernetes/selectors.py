# SPDX-License-Identifier: Apache-2.0
"""Label and field selectors: text in, a test of an object out."""

import re
from collections.abc import Callable, Iterable
from typing import Any

from podpass.sandbox.kubernetes.status import StatusError

Test = Callable[[dict[str, Any]], bool]

_SET = re.compile(r"(?P<key>\S+)\s+(?P<operator>in|notin)\s*\((?P<values>[^)]*)\)")
_EQUALITY = re.compile(r"(?P<key>[^\s=!]+)\s*(?P<operator>==|=|!=)\s*(?P<values>[^\s=!]*)")
_EXISTENCE = re.compile(r"(?P<operator>!?)\s*(?P<key>[^\s=!(),]+)")
_TOP_LEVEL_COMMA = re.compile(r",(?![^(]*\))")


def at(value: Any, path: str) -> Any:  # noqa: ANN401 - JSON
    """Return what is at a dotted path, or None."""
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def label_test(selector: str) -> Test:
    """Read a label selector: equality, set and existence terms joined by commas.

    Raises:
        StatusError: 400, a term is of no known form.
    """
    terms = [_label_term(term.strip()) for term in _TOP_LEVEL_COMMA.split(selector) if term.strip()]

    def test(obj: dict[str, Any]) -> bool:
        labels = obj["metadata"].get("labels") or {}
        return all(term(labels) for term in terms)

    return test


def _label_term(term: str) -> Callable[[dict[str, str]], bool]:
    found = _SET.fullmatch(term) or _EQUALITY.fullmatch(term) or _EXISTENCE.fullmatch(term)
    if found is None:
        raise StatusError(400, f"unable to parse requirement: found '{term}', expected: a label selector")
    key, operator = found["key"], found["operator"]
    if found.re is _EXISTENCE:
        return (lambda labels: key not in labels) if operator else (lambda labels: key in labels)
    values = {value.strip() for value in found["values"].split(",")}
    if operator in {"!=", "notin"}:
        return lambda labels: labels.get(key) not in values
    return lambda labels: labels.get(key) in values


def field_test(selector: str, known: Iterable[str]) -> Test:
    """Read a field selector over the fields that a kind can be selected by; an absent field is the empty string.

    Raises:
        StatusError: 400, another field or form.
    """
    terms: list[tuple[str, bool, str]] = []
    for term in filter(None, selector.split(",")):
        found = _EQUALITY.fullmatch(term.strip())
        if found is None:
            raise StatusError(400, f"invalid field selector: {selector}: can't understand '{term}'")
        if found["key"] not in known:
            names = ", ".join(f'"{name}"' for name in known)
            raise StatusError(400, f'"{found["key"]}" is not a known field selector: only {names}')
        terms.append((found["key"], found["operator"] != "!=", found["values"]))

    def test(obj: dict[str, Any]) -> bool:
        return all((_text(at(obj, path)) == value) is equal for path, equal, value in terms)

    return test


def _text(value: Any) -> str:  # noqa: ANN401 - JSON
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)
