# SPDX-License-Identifier: Apache-2.0
"""YAML as nodes that know where they stand.

Stricter than YAML, as Kubernetes is: keys are text and stand once, and there are no tags of one's own. Aliases are followed, but not
without end: one that holds itself is a mistake, and so is a file that unfolds to more than `LIMIT_NODES` values.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from podpass.config.mistakes import Position, Report

# Generous for people (a workload is about 30 values), small for machines: an unfolded alias bomb stops here.
LIMIT_NODES = 20_000
LIMIT_BYTES = 1024 * 1024
LIMIT_DEPTH = 32

_TAG = "tag:yaml.org,2002:"
_KINDS = {
    "str": "text",
    "int": "a number",
    "float": "a number",
    "bool": "true or false",
    "null": "nothing",
    "timestamp": "a date",
    "merge": "a merge key",
    "value": "text",
}


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value.

    Attributes:
        text: As written, without its quotes.
        kind: `str`, `int`, `float`, `bool`, `null`, `timestamp`, `merge`: how YAML 1.1 understands it.
        position: Line and column.
    """

    text: str
    kind: str
    position: Position


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a mapping with its value."""

    key: str
    position: Position
    value: "Node"


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys and values, in the order of the file; no key stands twice."""

    entries: tuple[Entry, ...]
    position: Position


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    items: tuple["Node", ...]
    position: Position


Node = Scalar | Mapping | Sequence


def describe(node: Node) -> str:
    """Name what a node is, for a message: `a list`, `the number 5`, `nothing`."""
    match node:
        case Mapping():
            return "a mapping"
        case Sequence():
            return "a list"
        case Scalar(text, kind):
            kind_name = _KINDS.get(kind, "a value")
            return kind_name if kind == "null" else f"{kind_name} ({_short(text)})"


def _short(text: str, limit: int = 40) -> str:
    return repr(text if len(text) <= limit else f"{text[:limit]}…")


def read_documents(raw: bytes, report: Report) -> list[Node]:
    """Read every document of a file; what cannot be read is noted, and the documents before it are returned."""
    text = _decode(raw, report)
    if text is None:
        return []
    documents: list[Node] = []
    try:
        roots = yaml.compose_all(text, Loader=yaml.SafeLoader)
        documents.extend(_Unfolding(report).node(root, "", frozenset()) for root in roots if not _is_blank(root))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        position = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        words = " ".join(part for part in (error.context, error.problem) if part)
        cure = "Indent with spaces." if "'\\t'" in words else ""
        report.add(position, "", f"This is not YAML: {words}.", cure, code="config.not-yaml")
    except yaml.reader.ReaderError as error:
        position = _position(text, error.position)
        report.add(position, "", f"This is not YAML: the character U+{error.character:04X} is not allowed.", code="config.not-yaml")
    except (_TooMuchError, RecursionError):
        report.add(
            (1, 1),
            "",
            f"This unfolds to more than {LIMIT_NODES} values, or more than {LIMIT_DEPTH} deep.",
            "Write the values out instead of aliases of aliases.",
            code="config.too-large",
        )
    return documents


def _decode(raw: bytes, report: Report) -> str | None:
    if len(raw) > LIMIT_BYTES:
        report.add((1, 1), "", f"This file has {len(raw)} bytes; {LIMIT_BYTES} are read at most.", code="config.too-large")
        return None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8-sig", errors="replace")
        report.add(
            _position(before, len(before)),
            "",
            f"This is not UTF-8: the byte 0x{raw[error.start]:02x} begins no character.",
            "Save the file as UTF-8.",
            code="config.not-utf-8",
        )
        return None


def _position(text: str, offset: int) -> Position:
    line_start = text.rfind("\n", 0, offset) + 1
    return text.count("\n", 0, offset) + 1, offset - line_start + 1


def _is_blank(root: yaml.Node) -> bool:
    """Say whether a document is empty, as between two `---`; a written `null` is not."""
    return isinstance(root, yaml.ScalarNode) and root.tag == f"{_TAG}null" and not root.value


class _TooMuchError(Exception):
    """The file unfolds beyond the limit."""


class _Unfolding:
    """Turns PyYAML's nodes into ours, counting."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._count = 0

    def node(self, source: yaml.Node, path: str, above: frozenset[int]) -> Node:
        """Unfold one node and everything in it; `above` are the nodes that hold it."""
        self._count += 1
        if self._count > LIMIT_NODES or len(above) > LIMIT_DEPTH:
            raise _TooMuchError
        position = (source.start_mark.line + 1, source.start_mark.column + 1)
        if id(source) in above:
            self._report.add(position, path, "This alias holds itself.", "Write the value out.", code="config.alias")
            return Scalar("", "null", position)
        is_foreign = not source.tag.startswith(_TAG)
        if is_foreign:
            self._report.add(position, path, f"The tag {source.tag!r} is not read here.", "Remove it.", code="config.tag")
        match source:
            case yaml.MappingNode():
                return Mapping(tuple(self._entries(source, path, above | {id(source)})), position)
            case yaml.SequenceNode():
                items = (self.node(item, f"{path}[{index}]", above | {id(source)}) for index, item in enumerate(source.value))
                return Sequence(tuple(items), position)
            case _:
                return Scalar(source.value, "str" if is_foreign else source.tag.removeprefix(_TAG), position)

    def _entries(self, source: yaml.MappingNode, path: str, above: frozenset[int]) -> Iterator[Entry]:
        seen: dict[str, Position] = {}
        for key_node, value_node in source.value:
            position = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if not isinstance(key_node, yaml.ScalarNode):
                self._report.add(position, path, "A key is text; this one is a list or a mapping.", code="config.wrong-type")
                continue
            key = key_node.value
            key_path = f"{path}.{key}" if path else key
            if key in seen:
                first = seen[key]
                message = f"The key {key!r} is there twice, first in line {first[0]}."
                self._report.add(position, key_path, message, "Keep one of them.", code="config.duplicate-key")
                continue
            seen[key] = position
            yield Entry(key, position, self.node(value_node, key_path, above))
