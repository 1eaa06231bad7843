# SPDX-License-Identifier: Apache-2.0
"""Forms: each reads one kind of node to a value, notes what does not fit, and writes its own JSON Schema.

A form never stops at the first mistake. What it cannot read is `BROKEN`; a record with a broken required field is broken itself, one with
a broken optional field is built with that field's default, so that the rest of the file can still be judged.

A validation library would give the schema too, but it builds nothing from a file with one mistake, so the rules that compare two fields
would keep silent until everything else is right.
"""

import difflib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from collections.abc import Mapping as Map
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Final, Generic, TypeVar

from podpass.config import tree
from podpass.config.mistakes import Report
from podpass.config.tree import Entry, Node
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


def _wrong_type(node: Node, path: str, report: Report, wanted: str, hint: str = "") -> Broken:
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
            return _wrong_type(node, path, report, "text")
        if node.kind == "null":
            hint = "Write the word none, or remove the key." if self.none_means_none else "Write a value, or remove the key."
            return _wrong_type(node, path, report, "text", hint)
        try:
            value = self.parse(node.text)
            return value if node.kind == "str" else _wrong_type(node, path, report, "text", f'Put it in quotes: "{node.text}".')
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
            return _wrong_type(node, path, report, f"a whole number of {self.unit}", hint)
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
        return _wrong_type(node, path, report, "true or false")

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
            return _wrong_type(node, path, report, "a list", "Begin each item with '- '.")
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
            return _wrong_type(node, path, report, "a mapping")
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


@dataclass(frozen=True)
class Field:
    """One key of a record.

    Attributes:
        key: As written in the file; the builder gets it in snake case.
        form: What its value looks like.
        says: One sentence for the schema.
        required: Whether the file must have it.
        default: For the schema; the builder has its own.
    """

    key: str
    form: Form[object]
    says: str
    required: bool = False
    default: object = None

    @property
    def name(self) -> str:
        """What the builder calls it: `displayName` -> `display_name`."""
        return re.sub(r"[A-Z]", lambda found: f"_{found[0].lower()}", self.key)


@dataclass(frozen=True)
class Record(Form[T_co]):
    """A mapping with known keys, handed to `build` by name.

    Attributes:
        build: Its ConfigError becomes a mistake at the whole record, unless something in it is wrong already.
        fields: The known keys.
        is_partial: Build without the required fields that are missing or broken, so that the rest can be judged.
        is_located: Hand the record's own path to `build`, as `path`.
        keywords: What the schema says besides.
    """

    build: Callable[..., T_co]
    fields: tuple[Field, ...]
    is_partial: bool = False
    is_located: bool = False
    keywords: Schema = field(default_factory=dict)

    def read(self, node: Node, path: str, report: Report) -> T_co | Broken:
        """Read the known keys, note the unknown and the missing ones."""
        if not isinstance(node, tree.Mapping):
            return _wrong_type(node, path, report, "a mapping", f"Known keys: {', '.join(self._keys)}.")
        report.positions.setdefault(path, node.position)
        entries = {entry.key: entry for entry in node.entries}
        meant = {self._unknown(entry, path, report, entries) for entry in node.entries if entry.key not in self._keys}
        values: dict[str, object] = {}
        is_whole = True
        for wanted in self.fields:
            if wanted.key in entries:
                value = self._value(wanted, entries[wanted.key], path, report)
                is_whole = is_whole and not (value is BROKEN and wanted.required)
                values |= {} if value is BROKEN else {wanted.name: value}
            elif wanted.required:
                is_whole = False
                if wanted.key not in meant:
                    self._missing(wanted, node, path, report)
        return self._built(values, node, path, report) if is_whole or self.is_partial else BROKEN

    def _built(self, values: dict[str, object], node: tree.Mapping, path: str, report: Report) -> T_co | Broken:
        try:
            return self.build(**values, path=path) if self.is_located else self.build(**values)
        except ConfigError as error:
            if report.is_sound(path):
                report.add(node.position, path, f"{error.what} {error.why}".strip(), error.next_step, code=error.full_code)
            return BROKEN

    def field(self, key: str) -> Field:
        """Return the declaration of a known key."""
        return next(known for known in self.fields if known.key == key)

    @property
    def _keys(self) -> list[str]:
        return [known.key for known in self.fields]

    def _value(self, wanted: Field, entry: Entry, path: str, report: Report) -> object:
        value_path = f"{path}.{entry.key}" if path else entry.key
        report.positions[value_path] = entry.value.position
        return wanted.form.read(entry.value, value_path, report)

    def _missing(self, wanted: Field, node: tree.Mapping, path: str, report: Report) -> None:
        report.add(node.position, path, f"The key {wanted.key!r} is missing.", wanted.says, code="config.missing-key")

    def _unknown(self, entry: Entry, path: str, report: Report, present: Map[str, Entry]) -> str | None:
        """Note an unknown key and return the known one that was probably meant."""
        meant = nearest(entry.key, [key for key in self._keys if key not in present])
        if entry.key == "<<":
            message, hint = "Merge keys are not read.", "Write the values out."
        else:
            message = f"The key {entry.key!r} is unknown."
            hint = f"Did you mean {meant!r}?" if meant else self._elsewhere(entry.key, report)
        report.add(entry.position, f"{path}.{entry.key}" if path else entry.key, message, hint, code="config.unknown-key")
        return meant

    def _elsewhere(self, key: str, report: Report) -> str:
        home = report.homes.get(key)
        return f"{key!r} belongs in {home}." if home else f"Known keys: {', '.join(self._keys)}."

    def homes(self, path: str = "") -> Iterator[tuple[str, str]]:
        """Yield each key of this record, and of the records in it, with the path of the mapping that it belongs in."""
        for known in self.fields:
            yield known.key, path or "the top of the file"
            form = known.form.item if isinstance(known.form, ListOf) else known.form
            if isinstance(form, Record):
                yield from form.homes(f"{path}.{known.key}" if path else known.key)

    def schema(self) -> Schema:
        """Return an object that knows its keys."""
        properties: Schema = {}
        for known in self.fields:
            default: Schema = {} if known.default is None else {"default": known.default}
            properties[known.key] = {**known.form.schema(), "description": known.says, **default}
        required: Schema = {"required": names} if (names := [known.key for known in self.fields if known.required]) else {}
        return {"type": "object", "additionalProperties": False, **required, **self.keywords, "properties": properties}


def nearest(word: str, known: list[str]) -> str | None:
    """Return the known word that was probably meant: another spelling of the same letters, or nearly the same ones."""
    plain = {_plain(candidate): candidate for candidate in known}
    close = difflib.get_close_matches(_plain(word), plain, n=1, cutoff=0.7)
    return plain[close[0]] if close else None


def _plain(word: str) -> str:
    return word.replace("_", "").replace("-", "").casefold()


def one_of(*words: str) -> Text[str]:
    """Return the form of one of these words."""

    def parse(text: str) -> str:
        if text in words:
            return text
        meant = nearest(text, list(words))
        hint = f"Did you mean {meant!r}?" if meant else f"Write one of: {', '.join(words)}."
        raise ConfigError(f"{text!r} is not one of the values known here.", "", hint, code="config.choice")

    return Text(parse, {"enum": list(words)})
