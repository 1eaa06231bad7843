# SPDX-License-Identifier: Apache-2.0
"""Who set which field: `metadata.managedFields`, and server-side apply, which lives by it. Pure.

A field is a path of FieldsV1 elements: `f:name` a member, `k:{…}` an item of a merged list, `v:…` an item of a set, `.` the item itself.
Simpler than the real server in one point: every list without a merge key is one field, every map is many.
"""

import copy
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from podpass.sandbox.kubernetes.patch import MERGE_KEYS, PRIMITIVE_SETS, strategic_merge_patch
from podpass.sandbox.kubernetes.status import StatusError

Json = dict[str, Any]
Path = tuple[str, ...]

# What the server itself writes is nobody's.
_OWNERLESS = {"apiVersion", "kind"}
_OWNERLESS_METADATA = {
    *("name", "namespace", "uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"),
    *("deletionTimestamp", "deletionGracePeriodSeconds", "generateName", "selfLink"),
}


@dataclass(slots=True)
class Entry:
    """The fields that one manager set in one way."""

    manager: str
    operation: str
    api_version: str
    subresource: str
    time: str
    paths: set[Path] = field(default_factory=set)

    @property
    def who(self) -> tuple[str, str, str]:
        """What tells one entry from another."""
        return self.manager, self.operation, self.subresource

    def __str__(self) -> str:
        within = f' with subresource "{self.subresource}"' if self.subresource else ""
        return f'"{self.manager}"{within}' + (f" using {self.api_version} at {self.time}" if self.operation == "Update" else "")


def leaves(obj: Json) -> dict[Path, Any]:
    """Return every field of an object that can have an owner, with its value."""
    metadata = {name: value for name, value in obj.get("metadata", {}).items() if name not in _OWNERLESS_METADATA}
    rest = {name: value for name, value in obj.items() if name not in _OWNERLESS | {"metadata"}}
    return dict(_leaves((), {**rest, **({"metadata": metadata} if metadata else {})}))


def _leaves(prefix: Path, value: Any, name: str = "") -> Iterator[tuple[Path, Any]]:  # noqa: ANN401 - JSON
    key = MERGE_KEYS.get(name)
    if isinstance(value, dict) and value:
        for member, item in value.items():
            yield from _leaves((*prefix, f"f:{member}"), item, member)
    elif isinstance(value, list) and value and name in PRIMITIVE_SETS:
        yield from (((*prefix, f"v:{json.dumps(item)}"), item) for item in value)
    elif isinstance(value, list) and value and key and all(isinstance(item, dict) and key in item for item in value):
        for item in value:
            place = (*prefix, f"k:{json.dumps({key: item[key]}, separators=(',', ':'))}")
            yield (*place, "."), None
            yield from _leaves(place, item)
    else:
        yield prefix, value


def note_update(old: Json | None, new: Json, manager: str, subresource: str, now: str) -> None:
    """Record in `new` that `manager` changed what differs from `old`; others lose what it changed."""
    before, after = leaves(old or {}), leaves(new)
    changed = {path for path in after if path not in before or before[path] != after[path]}
    gone = before.keys() - after.keys()
    entries = _entries(new)
    for entry in entries:
        entry.paths -= changed | gone
    if changed:
        mine = _mine(entries, Entry(manager, "Update", new["apiVersion"], subresource, now))
        mine.paths |= changed
        mine.time = now
    _write(new, entries)


def apply(live: Json, config: Json, manager: str, subresource: str, now: str, *, force: bool) -> Json:
    """Return the live object with what `manager` declares; what it declared before and no longer does goes, unless another holds it.

    Raises:
        StatusError: 409, another manager holds a field with another value and `force` is off.
    """
    wanted, present = leaves(config), leaves(live)
    result = copy.deepcopy(live)
    entries = _entries(result)
    mine = _mine(entries, Entry(manager, "Apply", config["apiVersion"], subresource, now))
    others = [entry for entry in entries if entry is not mine]
    differing = {path for path, value in wanted.items() if path in present and present[path] != value}
    conflicts = [(entry, path) for entry in others for path in sorted(entry.paths & differing)]
    if conflicts and not force:
        raise _conflict(conflicts)
    for entry in others:
        entry.paths -= differing
    held = {path for entry in others for path in entry.paths}
    # A whole item (".") goes before its fields: without the one that it is found by, nobody finds the others.
    for path in sorted(mine.paths - wanted.keys() - held, key=lambda path: (-len(path), path[-1] != ".", path)):
        if path[-1] != "." or not any(other[: len(path) - 1] == path[:-1] for other in held):
            _remove(result, path)
    if mine.paths != wanted.keys() or differing:
        mine.time, mine.paths = now, set(wanted)
    result = strategic_merge_patch(result, config)
    _write(result, entries)
    return result


def _mine(entries: list[Entry], entry: Entry) -> Entry:
    for known in entries:
        if known.who == entry.who:
            return known
    entries.append(entry)
    return entry


def _remove(obj: Json, path: Path) -> None:
    """Take a field away, and the parents that it leaves empty."""
    parents: list[tuple[Any, Any]] = []
    value: Any = obj
    for element in path:
        if element == ".":
            break
        key = _key(value, element)
        if key is None:
            return
        parents.append((value, key))
        value = value[key]
    for depth, (parent, key) in enumerate(reversed(parents)):
        if depth and parent[key]:
            return
        del parent[key]


def _key(value: Any, element: str) -> Any:  # noqa: ANN401 - a member's name or an item's place
    if element.startswith("f:"):
        return element[2:] if isinstance(value, dict) and element[2:] in value else None
    wanted = json.loads(element[2:])
    matches = [item == wanted if element[0] == "v" else wanted.items() <= item.items() for item in value]
    return matches.index(True) if True in matches else None


def _conflict(conflicts: list[tuple[Entry, Path]]) -> StatusError:
    causes = [{"reason": "FieldManagerConflict", "message": f"conflict with {entry}", "field": _shown(path)} for entry, path in conflicts]
    if len(conflicts) == 1:
        text = f"conflict with {conflicts[0][0]}: {_shown(conflicts[0][1])}"
    else:
        groups = itertools.groupby(conflicts, key=lambda row: str(row[0]))
        text = "\n".join(f"conflicts with {who}:\n" + "\n".join(f"- {_shown(path)}" for _, path in rows) for who, rows in groups)
    return StatusError(409, f"Apply failed with {len(conflicts)} conflict{'s' * (len(conflicts) > 1)}: {text}", causes=causes)


def _shown(path: Path) -> str:
    parts = []
    for element in path:
        if element.startswith("k:"):
            ((key, value),) = json.loads(element[2:]).items()
            parts.append(f"[{key}={json.dumps(value)}]")
        elif element != ".":
            parts.append(f".{element[2:]}" if element[0] == "f" else f"[={element[2:]}]")
    return "".join(parts)


def _entries(obj: Json) -> list[Entry]:
    return [
        Entry(
            row.get("manager", ""),
            row.get("operation", "Update"),
            row.get("apiVersion", ""),
            row.get("subresource", ""),
            row.get("time", ""),
            set(_paths(row.get("fieldsV1") or {})),
        )
        for row in obj["metadata"].get("managedFields") or []
    ]


def _paths(fields: Json, prefix: Path = ()) -> Iterator[Path]:
    for element, below in fields.items():
        if below:
            yield from _paths(below, (*prefix, element))
        else:
            yield (*prefix, element)


def _write(obj: Json, entries: list[Entry]) -> None:
    rows = []
    for entry in entries:
        fields: Json = {}
        for path in sorted(entry.paths):
            place = fields
            for element in path:
                place = place.setdefault(element, {})
        head = {"manager": entry.manager, "operation": entry.operation, "apiVersion": entry.api_version, "time": entry.time}
        below = {"subresource": entry.subresource} if entry.subresource else {}
        if entry.paths:
            rows.append({**head, "fieldsType": "FieldsV1", "fieldsV1": fields, **below})
    obj["metadata"]["managedFields"] = rows
