# SPDX-License-Identifier: Apache-2.0
"""Two dumps of a universe, compared."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs.

    Attributes:
        differences: A line for each record that is there in one dump only, or is another.
        tombstones: What is soft-deleted now and was not before, by name.
    """

    differences: tuple[str, ...]
    tombstones: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether nothing but tombstones was added."""
        return not self.differences


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> Comparison:
    """Compare two dumps of `HostedSandbox.dump`, record by record."""
    then, now = dict(_records(before)), dict(_records(after))
    differences = tuple(_line(name, then, now) for name in sorted(then.keys() | now.keys()) if then.get(name) != now.get(name))
    known = set(before["google"]["tombstones"])
    return Comparison(differences, tuple(name for name in after["google"]["tombstones"] if name not in known))


def _records(dump: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for side, kinds in dump.items():
        for kind, records in kinds.items():
            if kind != "tombstones":
                yield from ((f"{side}: {kind} {key}", value) for key, value in records.items())


def _line(name: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    return f"{name} {'was there before' if name not in now else 'is new' if name not in then else 'has changed'}"
