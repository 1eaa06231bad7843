# SPDX-License-Identifier: Apache-2.0
"""Forms: each reads one kind of node to a value, notes what does not fit, and writes its own JSON Schema.

A form never stops at the first mistake. What it cannot read is `BROKEN`; a record with a broken required field is broken itself, one with
a broken optional field is built with that field's default, so that the rest of the file can still be judged.

A validation library would give the schema too, but it builds nothing from a file with one mistake, so the rules that compare two fields
would keep silent until everything else is right.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from collections.abc import Mapping as Map
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Final, Generic, TypeVar

from podpass.config import tree
from podpass.config.mistakes import Report
from podpass.config.spelling import nearest
from podpass.config.tree import Node
from podpass.errors import ConfigError

T_co = TypeVar("T_co", covariant=True)
Schema = dict[str, object]


class Broken(Enum):
    """Stands for a value that could not be read; the mistake is in the report."""

    BROKEN = 0


BROKEN: Final = Broken.BROKEN


class Form(ABC, Generic[T_co]):
    """Reads one kind of value."""

    @abstractmethod
    def read(self, node: Node, path: str, report: Report) -> T_co | Broken:
        """Return the value, or note why there is none."""

    @abstractmethod
    def schema(self) -> Schema:
        """Return what an editor should know about it, as JSON Schema."""


def wrong_type(node: Node, path: str, report: Report, wanted: str, hint: str = "") -> Broken:
    """Note that a node is of another type than the one that is wanted."""
    report.add(node.position, path, f"This is {tree.describe(node)}; {wanted} is wanted.", hint, code="config.wrong-type")
    return BROKEN


@dataclass(frozen=True)
class Text(Form[T_co]):
    """Text that `parse` reads; its ConfigError becomes the mistake.

    Attributes:
        parse: From the text to the value.
        keywords: What the schema says: `pattern`, `maxLength`, `examples`.
        none_means_none: YAML's `null` is a likely slip for the word `none`; the hint then says so.
    """

    parse: Callable[[str], T_co]
    keywords: Schema = field(default_factory=dict)
    none_means_none: bool = False

    def read(self, node: Node, path: str, report: Report) -> T_co | Broken:
        """Read text that stands in quotes, or that YAML does not take for something else."""
        if not isinstance(node, tree.Scalar):
            return wrong_type(node, path, report, "text")
        if node.kind == "null":
            hint = "Write the word none, or remove the key." if self.none_means_none else "Write a value, or remove the key."
            return wrong_type(node, path, report, "text", hint)
        try:
            value = self.parse(node.text)
            return value if node.kind == "str" else wrong_type(node, path, report, "text", f'Put it in quotes: "{node.text}".')
        except ConfigError as error:
            report.add(node.position, path, " ".join(filter(None, (error.what, error.why))), error.next_step, code=error.full_code)
            return BROKEN

    def schema(self) -> Schema:
        """Return a string with its keywords."""
        return {"type": "string", **self.keywords}


@dataclass(frozen=True)
class Whole(Form[int]):
    """A whole number in a range, of a unit."""

    least: int
    most: int
    unit: str

    def read(self, node: Node, path: str, report: Report) -> int | Broken:
        """Read decimal digits; not text, not a fraction, not YAML's octal or sexagesimal forms."""
        if not isinstance(node, tree.Scalar) or node.kind != "int" or not node.text.isascii() or not node.text.lstrip("+-").isdigit():
            hint = "Remove the quotes." if isinstance(node, tree.Scalar) and node.kind == "str" and node.text.isdecimal() else ""
            return wrong_type(node, path, report, f"a whole number of {self.unit}", hint)
        value = int(node.text) if len(node.text) < 20 else self.most + 1  # noqa: PLR2004 - longer is out of every range
        if self.least <= value <= self.most:
            return value
        message = f"{node.text[:20]} is outside {self.least} to {self.most} {self.unit}."
        report.add(node.position, path, message, f"Write a number from {self.least} to {self.most}.", code="config.range")
        return BROKEN

    def schema(self) -> Schema:
        """Return an integer with its bounds."""
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


@dataclass(frozen=True)
class Truth(Form[bool]):
    """`true` or `false`."""

    def read(self, node: Node, path: str, report: Report) -> bool | Broken:
        """Read the two words alone; YAML's yes, no, on and off are refused."""
        if isinstance(node, tree.Scalar) and node.kind == "bool" and node.text in {"true", "false"}:
            return node.text == "true"
        return wrong_type(node, path, report, "true or false")

    def schema(self) -> Schema:
        """Return a boolean."""
        return {"type": "boolean"}


@dataclass(frozen=True)
class ListOf(Form[tuple[T_co, ...]]):
    """A list of one form; broken items are left out."""

    item: Form[T_co]
    at_least: int = 0

    def read(self, node: Node, path: str, report: Report) -> tuple[T_co, ...] | Broken:
        """Read each item under `path[INDEX]`."""
        if not isinstance(node, tree.Sequence):
            return wrong_type(node, path, report, "a list", "Begin each item with '- '.")
        if len(node.items) < self.at_least:
            report.add(node.position, path, "This list is empty.", f"Write at least {self.at_least} item.", code="config.empty")
            return BROKEN
        return tuple(value for value in self._items(node, path, report) if not isinstance(value, Broken))

    def _items(self, node: tree.Sequence, path: str, report: Report) -> Iterator[T_co | Broken]:
        for index, item in enumerate(node.items):
            item_path = f"{path}[{index}]"
            report.positions[item_path] = item.position
            yield self.item.read(item, item_path, report)

    def schema(self) -> Schema:
        """Return an array of the item's schema."""
        least: Schema = {"minItems": self.at_least} if self.at_least else {}
        return {"type": "array", "items": self.item.schema(), **least}


@dataclass(frozen=True)
class MapOf(Form[Map[str, T_co]]):
    """Keys of the writer's own choice, each judged by `check`, with values of one form; broken ones are left out.

    Attributes:
        check: Raises ConfigError for a key that cannot be.
        item: What the values look like.
        keywords: What the schema says about the keys.
    """

    check: Callable[[str], object]
    item: Form[T_co]
    keywords: Schema = field(default_factory=dict)

    def read(self, node: Node, path: str, report: Report) -> Map[str, T_co] | Broken:
        """Read every entry under `path.KEY`; a bad key is noted where it stands."""
        if not isinstance(node, tree.Mapping):
            return wrong_type(node, path, report, "a mapping")
        values: dict[str, T_co] = {}
        for entry in node.entries:
            entry_path = f"{path}.{entry.key}"
            report.positions[entry_path] = entry.value.position
            try:
                self.check(entry.key)
            except ConfigError as error:
                report.add(entry.position, entry_path, f"{error.what} {error.why}".strip(), error.next_step, code=error.full_code)
            value = self.item.read(entry.value, entry_path, report)
            if not isinstance(value, Broken):
                values[entry.key] = value
        return MappingProxyType(values)

    def schema(self) -> Schema:
        """Return an object with free keys."""
        return {"type": "object", "additionalProperties": self.item.schema(), **self.keywords}


def one_of(*words: str) -> Text[str]:
    """Return the form of one of these words."""

    def parse(text: str) -> str:
        if text in words:
            return text
        meant = nearest(text, list(words))
        hint = f"Did you mean {meant!r}?" if meant else f"Write one of: {', '.join(words)}."
        raise ConfigError(f"{text!r} is not one of the values known here.", "", hint, code="config.choice")

    return Text(parse, {"enum": list(words)})
