# SPDX-License-Identifier: Apache-2.0
"""A value that must not be seen by accident."""

import re
from typing import Generic, NoReturn, TypeVar, final

from podpass.names.quoting import printable

T = TypeVar("T", str, bytes)

# A JWS or JWT in compact form, Google's access and refresh tokens, and whatever stands behind the word Bearer or Basic.
_CREDENTIALS = r"eyJ[\w-]{8,}\.[\w-]+(\.[\w-]*)*|ya29\.[\w.-]+|1//[\w-]{20,}|(?<=Bearer )\S+|(?<=Basic )\S+"
# The search takes time by the square of what looks like the beginning of a token; no message is quoted at such a length anyway.
_READ_LIMIT_CHARS = 4096


def redact(text: str) -> str:
    """Return a neighbour's words with everything that looks like a token left out; for texts that end in errors and logs.

    Words beyond the first 4096 characters are left out, and characters that a terminal would obey are replaced.
    """
    return printable(re.sub(_CREDENTIALS, "…", text[:_READ_LIMIT_CHARS]))


@final
class Secret(Generic[T]):
    """Hold a token or key so that printing, logging or formatting shows its kind and length only."""

    __slots__ = ("_kind", "_unit", "_value")

    def __init__(self, value: T, kind: str) -> None:
        self._value: T = value
        self._kind = kind
        self._unit = {"bytes": "bytes", "str": "characters"}[type(value).__name__]

    def reveal(self) -> T:
        """Return the value itself; each call site is a place to review."""
        return self._value

    def __len__(self) -> int:
        return len(self._value)

    def __repr__(self) -> str:
        return f"<{self._kind}, {len(self._value)} {self._unit}>"

    __str__ = __repr__

    def __format__(self, format_spec: str) -> str:
        return format(repr(self), format_spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and bool(self._value == other._value)

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        message = "a Secret is not pickled: reveal it where it is needed"
        raise TypeError(message)
