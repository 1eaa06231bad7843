# SPDX-License-Identifier: Apache-2.0
"""Conditions of IAM bindings: CEL over the resource and the moment of the request. What cannot be evaluated grants nothing."""

from datetime import datetime
from functools import cache

from podpass.cel import Environment, Expression, Kind
from podpass.errors import ExpressionError
from podpass.sandbox.google.message import invalid
from podpass.sandbox.google.resource import Resource
from podpass.sandbox.store import Json

# IAM Conditions attribute reference [R]; tags and access levels are not known here, so that expressions with them do not compile.
_VARIABLES = {
    "request.time": Kind.TIMESTAMP,
    "resource.name": Kind.STRING,
    "resource.service": Kind.STRING,
    "resource.type": Kind.STRING,
}


@cache
def _environment() -> Environment:
    return Environment(_VARIABLES)


@cache
def _compiled(expression: str) -> Expression:
    return _environment().compile(expression)


def holds(expression: str, resource: Resource, now: datetime) -> bool:
    """Tell whether a condition is true of a resource now."""
    values = {
        "request.time": now,
        "resource.name": resource.path,
        "resource.service": resource.type.partition("/")[0],
        "resource.type": resource.type,
    }
    return _compiled(expression).is_true(values)


def check_condition(condition: Json) -> None:
    """Refuse a condition that has no title or does not compile to a boolean.

    Raises:
        Fault: 400.
    """
    if not condition.get("title"):
        raise invalid("A condition needs a title.")  # [?] the text; the rule [R]
    try:
        sound = _compiled(str(condition.get("expression", ""))).may_yield(Kind.BOOL)
    except ExpressionError as error:
        raise invalid(f"Condition expression compilation failed. Error message: {error.why}") from None  # [?]
    if not sound:
        raise invalid("Condition expression compilation failed. Error message: the result is not a boolean.")  # [?]
