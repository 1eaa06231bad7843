# SPDX-License-Identifier: Apache-2.0
"""Everything that the sandbox remembers: JSON records with a revision, compare-and-swap, and a bounded log of events.

Google's services take their etags from the revision, the Kubernetes API server its resourceVersion and its watches. Contents of storage
objects are blobs beside the records. Nothing here knows what a record means.
"""

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal
from uuid import uuid4

import msgspec

Json = dict[str, Any]  # a JSON object, as parsed; each service knows its members

_EVENT_LIMIT = 4096


class ConflictError(Exception):
    """The record is not at the revision that the writer had read."""


class CompactedError(Exception):
    """The event log does not reach back to the asked revision."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record at one revision. `value` is the reader's own copy."""

    kind: str
    key: str
    revision: int
    value: Json


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to a record; after a deletion `record` holds the last value under the revision of the deletion."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    record: Record


_GONE = b"null"


class _Line(msgspec.Struct):
    """One line of the journal; the value null: deleted."""

    revision: int
    kind: str
    key: str
    value: msgspec.Raw


class Store:
    """Hold records in memory and, given a directory, in an append-only journal that is compacted when it is opened.

    Args:
        directory: Where to keep records and blobs; None forgets them at the end.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._records: dict[str, dict[str, tuple[int, bytes]]] = {}
        self._events: deque[Event] = deque(maxlen=_EVENT_LIMIT)
        self._listeners: list[Callable[[Event], None]] = []
        self._blobs: dict[str, bytes] = {}
        self._lock = threading.RLock()
        self.revision = 0
        self._directory = directory
        self._journal = self._open(directory) if directory else None

    def get(self, kind: str, key: str) -> Record | None:
        """Read one record, or None."""
        found = self._records.get(kind, {}).get(key)
        return Record(kind, key, found[0], msgspec.json.decode(found[1])) if found else None

    def select(self, kind: str, prefix: str = "") -> list[Record]:
        """Read all records of a kind whose key begins with `prefix`, in the order of their keys."""
        with self._lock:
            rows = sorted((key, row) for key, row in self._records.get(kind, {}).items() if key.startswith(prefix))
        return [Record(kind, key, revision, msgspec.json.decode(raw)) for key, (revision, raw) in rows]

    def kinds(self) -> tuple[str, ...]:
        """Name the kinds of which there are records, in order."""
        return tuple(sorted(kind for kind, rows in self._records.items() if rows))

    def put(self, kind: str, key: str, value: Json, *, expect: int | None = None) -> Record:
        """Write a record.

        Args:
            kind: The kind.
            key: The key within the kind.
            value: The whole new value.
            expect: The revision that the writer has read; 0: there must be none yet; None: whatever there is.

        Raises:
            ConflictError: The record is at another revision.
        """
        raw = msgspec.json.encode(value)
        with self._lock:
            known = self._checked(kind, key, expect)
            self.revision += 1
            self._records.setdefault(kind, {})[key] = (self.revision, raw)
            record = Record(kind, key, self.revision, msgspec.json.decode(raw))
            self._commit(Event("MODIFIED" if known else "ADDED", record), raw)
        return record

    def delete(self, kind: str, key: str, *, expect: int | None = None) -> Record | None:
        """Take a record away; return its last value under the revision of the deletion, or None when there was none.

        Raises:
            ConflictError: The record is at another revision than `expect`.
        """
        with self._lock:
            known = self._checked(kind, key, expect)
            if known is None:
                return None
            del self._records[kind][key]
            self.revision += 1
            record = Record(kind, key, self.revision, msgspec.json.decode(known[1]))
            self._commit(Event("DELETED", record), _GONE)
        return record

    def since(self, revision: int, kind: str) -> list[Event]:
        """Return the events of a kind after `revision`.

        Raises:
            CompactedError: Events after `revision` have been forgotten.
        """
        with self._lock:
            oldest = self._events[0].record.revision if self._events else self.revision + 1
            if revision < oldest - 1:
                raise CompactedError
            return [event for event in self._events if event.record.revision > revision and event.record.kind == kind]

    @contextlib.contextmanager
    def listening(self, listener: Callable[[Event], None]) -> Iterator[None]:
        """Call `listener` with each event, in order, on the writer's thread and before the write returns."""
        with self._lock:
            self._listeners.append(listener)
        try:
            yield
        finally:
            with self._lock:
                self._listeners.remove(listener)

    def add_blob(self, content: bytes) -> str:
        """Keep bytes; return the id to ask for them by."""
        blob_id = uuid4().hex
        if self._directory:
            (self._directory / "blobs" / blob_id).write_bytes(content)
        else:
            self._blobs[blob_id] = content
        return blob_id

    def blob(self, blob_id: str) -> bytes:
        """Return the bytes of `add_blob`."""
        return (self._directory / "blobs" / blob_id).read_bytes() if self._directory else self._blobs[blob_id]

    def drop_blob(self, blob_id: str) -> None:
        """Forget bytes that no record names any more."""
        if self._directory:
            (self._directory / "blobs" / blob_id).unlink(missing_ok=True)
        self._blobs.pop(blob_id, None)

    def close(self) -> None:
        """Let go of the journal."""
        if self._journal:
            self._journal.close()

    def _checked(self, kind: str, key: str, expect: int | None) -> tuple[int, bytes] | None:
        known = self._records.get(kind, {}).get(key)
        if expect is not None and expect != (known[0] if known else 0):
            raise ConflictError
        return known

    def _commit(self, event: Event, raw: bytes) -> None:
        if self._journal:
            line = _Line(event.record.revision, event.record.kind, event.record.key, msgspec.Raw(raw))
            self._journal.write(msgspec.json.encode(line) + b"\n")
            self._journal.flush()
        self._events.append(event)
        for listener in tuple(self._listeners):
            listener(event)

    def _open(self, directory: Path) -> BinaryIO:
        (directory / "blobs").mkdir(parents=True, exist_ok=True)
        path = directory / "journal.jsonl"
        if path.exists():
            self._replay(path)
        compacted = path.with_suffix(".new")
        with compacted.open("wb") as file:
            for kind, rows in self._records.items():
                for key, (revision, raw) in rows.items():
                    file.write(msgspec.json.encode(_Line(revision, kind, key, msgspec.Raw(raw))) + b"\n")
            # The revision itself must never go back, even when the newest record was deleted.
            file.write(msgspec.json.encode(_Line(self.revision, "", "", msgspec.Raw(_GONE))) + b"\n")
        compacted.replace(path)
        return path.open("ab")

    def _replay(self, path: Path) -> None:
        lines = path.read_bytes().splitlines()
        for number, raw in enumerate(lines, 1):
            try:
                line = msgspec.json.decode(raw, type=_Line)
            except msgspec.DecodeError:
                if number == len(lines):
                    return  # of a process that was killed while it wrote
                raise
            self.revision = max(self.revision, line.revision)
            rows = self._records.setdefault(line.kind, {})
            rows.pop(line.key, None)
            if bytes(line.value) != _GONE:
                rows[line.key] = (line.revision, bytes(line.value))
