# SPDX-License-Identifier: Apache-2.0
"""Attribute mapping and attribute condition: CEL over the claims of a token."""

from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

from podpass.cel import Environment, Expression, Kind

SUBJECT = "google.subject"
GROUPS = "google.groups"
CUSTOM_PREFIX = "attribute."

_CLAIMS = {"assertion": Kind.ANY_MAP}
# IAM v1 reference, attributeCondition: the claims, and what the mapping made of them.
_CLAIMS_AND_ATTRIBUTES = {**_CLAIMS, "google": Kind.ANY_MAP, "attribute": Kind.STRING_MAP}

AttributeValue = str | tuple[str, ...]


@cache
def _environment(*, with_attributes: bool) -> Environment:
    return Environment(_CLAIMS_AND_ATTRIBUTES if with_attributes else _CLAIMS)


@lru_cache(maxsize=512)
def compile_mapping(expression: str) -> Expression:
    """Compile the expression of one attribute; it sees `assertion`.

    Raises:
        ExpressionError: Not an expression over these variables.
    """
    return _environment(with_attributes=False).compile(expression)


@lru_cache(maxsize=512)
def compile_condition(expression: str) -> Expression:
    """Compile an attribute condition; it sees `assertion`, `google` and `attribute`.

    Raises:
        ExpressionError: Not an expression over these variables.
    """
    return _environment(with_attributes=True).compile(expression)


def condition_values(claims: Mapping[str, Any], attributes: Mapping[str, AttributeValue]) -> dict[str, object]:
    """Lay out the variables of a condition: `google.groups` is a list, and `attribute.x` is found as member `x`."""
    google = {name.removeprefix("google."): _cel(value) for name, value in attributes.items() if name.startswith("google.")}
    custom = {name.removeprefix(CUSTOM_PREFIX): value for name, value in attributes.items() if name.startswith(CUSTOM_PREFIX)}
    return {"assertion": claims, "google": google, "attribute": custom}


def _cel(value: AttributeValue) -> object:
    return list(value) if isinstance(value, tuple) else value
