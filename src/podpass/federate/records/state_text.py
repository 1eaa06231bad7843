# SPDX-License-Identifier: Apache-2.0
"""The text in which a rotation's state is kept: JSON with a version and a kind. What it says is `Rotation`'s and `IssuerMove`'s. Pure.

Whoever may write config maps can write any text there: it is read, or refused with one error, whatever it is.
"""

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from podpass.errors import ConfigError

VERSION: Final = "podpass.dev/v1alpha1"
LONGEST_TOKEN: Final = timedelta(seconds=1 << 32)
"""Kubernetes gives no token a longer life than 2^32 s; the longest that is met in life is a year."""
_UNREADABLE: Final = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, ConfigError)

S = TypeVar("S")


def write(kind: str, state: Mapping[str, object]) -> str:
    """Write a state of a kind."""
    return json.dumps({"apiVersion": VERSION, "kind": kind, **state}, indent=1)


def read(text: str, kind: str, build: Callable[[dict[str, Any]], S], *, origin: str) -> S:
    """Read what `write` wrote.

    Args:
        text: It.
        kind: Which kind it has to be.
        build: Makes the state of the parsed text; ConfigError, ValueError, KeyError, TypeError and the like mean that it is none.
        origin: Where it was found, in words.

    Raises:
        ConfigError: It is none, or one of another version or kind.
    """
    try:
        value = json.loads(text)
        if (value["apiVersion"], value["kind"]) != (VERSION, kind):
            raise ValueError(value["apiVersion"])
        return build(value)
    except _UNREADABLE as error:
        raise _unreadable(origin, f"apiVersion {VERSION} and kind {kind}") from error


def kind_of(text: str, *, origin: str) -> str:
    """Return the kind of a state's text.

    Raises:
        ConfigError: It has none.
    """
    try:
        return str(json.loads(text)["kind"])
    except _UNREADABLE as error:
        raise _unreadable(origin, "a kind") from error


def moment(value: object) -> datetime | None:
    """Read a moment; None stays None.

    Raises:
        ValueError: It is none, or has no time zone.
    """
    if value is None:
        return None
    found = datetime.fromisoformat(str(value))
    if found.tzinfo is None:
        raise ValueError(value)
    return found


def _unreadable(origin: str, form: str) -> ConfigError:
    return ConfigError(
        f"{origin} is not a rotation that this podpass can read.",
        f"It is JSON with {form}.",
        "Use the podpass that wrote it.",
        code="config.rotation",
    )
