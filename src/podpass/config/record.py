# SPDX-License-Identifier: Apache-2.0
"""The form of a mapping with known keys; what stands in it is read by the forms of `shape`."""

import re
from collections.abc import Callable, Iterator
from collections.abc import Mapping as Map
from dataclasses import dataclass, field

from podpass.config import tree
from podpass.config.mistakes import Report
from podpass.config.shape import BROKEN, Broken, Form, ListOf, Schema, T_co, wrong_type
from podpass.config.spelling import nearest
from podpass.config.tree import Entry, Node
from podpass.errors import ConfigError


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
            return wrong_type(node, path, report, "a mapping", f"Known keys: {', '.join(self._keys)}.")
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
