# SPDX-License-Identifier: Apache-2.0
"""The life of objects, the same for all kinds: made, changed, deleted, by the rules of `object_rules`.

Everything here is synchronous and runs on the API server's loop, so that a change is one step.
"""

import copy
from collections.abc import Callable
from uuid import uuid4

from podpass.clock import Clock
from podpass.sandbox.kubernetes import managed, object_rules
from podpass.sandbox.kubernetes.kind import Json, Kind, timestamp
from podpass.sandbox.kubernetes.kinds import NAMESPACE
from podpass.sandbox.kubernetes.options import Deletion, Write
from podpass.sandbox.kubernetes.status import StatusError, already_exists, forbidden, not_found
from podpass.sandbox.store import Record, Store


def key_of(obj: Json) -> str:
    """Return the store's key of an object; those without namespace begin with the slash."""
    return _key(obj["metadata"].get("namespace", ""), obj["metadata"]["name"])


def _key(namespace: str, name: str) -> str:
    return f"{namespace}/{name}"


def read_back(record: Record) -> Json:
    """Return a stored object with the version it is at."""
    record.value["metadata"]["resourceVersion"] = str(record.revision)
    return record.value


class Objects:
    """All objects of one cluster.

    Args:
        store: Where they are; its revision is their resourceVersion.
        clock: Dates them.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self.clock = clock

    @property
    def now(self) -> str:
        """The present moment as objects carry it."""
        return timestamp(self.clock.now())

    def get(self, kind: Kind, namespace: str, name: str) -> Json:
        """Return an object.

        Raises:
            StatusError: 404.
        """
        found = self.find(kind, namespace, name)
        if found is None:
            raise not_found(kind.plural, kind.group, name)
        return found

    def find(self, kind: Kind, namespace: str, name: str) -> Json | None:
        """Return an object, or None."""
        record = self.store.get(kind.plural, _key(namespace, name))
        return read_back(record) if record else None

    def select(self, kind: Kind, namespace: str = "") -> list[Json]:
        """Return all objects of a kind, or those in a namespace, in the order of their keys."""
        return [read_back(record) for record in self.store.select(kind.plural, f"{namespace}/" if namespace else "")]

    def create(self, kind: Kind, namespace: str, body: Json, write: Write) -> Json:
        """Make an object.

        Raises:
            StatusError: The body or its circumstances do not allow it.
        """
        obj = object_rules.read(kind, body, write)
        metadata = obj["metadata"]
        self._place(kind, namespace, metadata)
        object_rules.begin(kind, metadata, str(uuid4()), self.now)
        kind.default(obj)
        if not write.applied:  # what the server adds after this is nobody's
            managed.note_update(None, obj, write.manager, "", self.now)
        kind.start(obj)
        kind.admit(self, obj)
        object_rules.check(kind, obj, None)
        if self.find(kind, metadata.get("namespace", ""), metadata["name"]):
            raise already_exists(kind.plural, kind.group, metadata["name"])
        stored = self._put(kind, obj, 0, dry_run=write.dry_run)
        if not write.dry_run:
            self.after_creation(kind, stored)
        return stored

    def change(self, kind: Kind, namespace: str, name: str, edit: Callable[[Json], Json], write: Write, part: str = "") -> Json:
        """Replace an object by what `edit` makes of it.

        Args:
            kind: The kind.
            namespace: Empty for kinds without.
            name: The object's name.
            edit: Gets a copy of the object, returns the whole new one.
            write: How it was asked for.
            part: The subresource that is written, such as `status`; the rest then stays.

        Raises:
            StatusError: 404, 409 for a stale resourceVersion, 422.
        """
        old = self.get(kind, namespace, name)
        new = object_rules.read(kind, edit(copy.deepcopy(old)), write)
        object_rules.check_same(kind, old, new)
        new = object_rules.joined(kind, old, new, part)
        kind.default(new)
        object_rules.check(kind, new, old)
        if new == old:
            return old
        object_rules.count_change(kind, old, new)
        if not write.applied:
            managed.note_update(old, new, write.manager, part, self.now)
        if object_rules.is_released(kind, new) and not write.dry_run:
            self.remove(kind, new)
            return new
        return self._put(kind, new, int(old["metadata"]["resourceVersion"]), dry_run=write.dry_run)

    def delete(self, kind: Kind, namespace: str, name: str, deletion: Deletion) -> tuple[Json, bool]:
        """Delete an object, at once or, where something must happen first, by marking it.

        Returns:
            The object as it is now, or was; and whether it is gone.

        Raises:
            StatusError: 404; 409, a precondition does not hold.
        """
        obj = self.get(kind, namespace, name)
        object_rules.check_preconditions(kind, obj["metadata"], deletion)
        if deletion.dry_run:
            return obj, True
        self.before_deletion(obj, deletion)
        object_rules.mark_deleted(kind, obj, deletion.grace_s, self.clock.now())
        if object_rules.is_released(kind, obj):
            self.remove(kind, obj)
            return obj, True
        obj = self._put(kind, obj, int(obj["metadata"]["resourceVersion"]))
        self.after_mark(kind, obj)
        return obj, self.find(kind, namespace, name) is None

    def remove(self, kind: Kind, obj: Json) -> None:
        """Take an object out of the store and do what follows from it."""
        self.store.delete(kind.plural, key_of(obj))
        self.after_removal(obj)

    def after_creation(self, kind: Kind, obj: Json) -> None:
        """Look at an object that has been stored."""

    def before_deletion(self, obj: Json, deletion: Deletion) -> None:
        """Look at, and change, an object that is about to be marked."""

    def after_mark(self, kind: Kind, obj: Json) -> None:
        """Look at a deleted object that something holds back."""

    def after_removal(self, obj: Json) -> None:
        """Look at an object that has gone."""

    def amend(self, kind: Kind, obj: Json) -> Json:
        """Write an object that the server itself has changed, without the rules for clients."""
        if object_rules.is_released(kind, obj):
            self.remove(kind, obj)
            return obj
        return self._put(kind, obj, int(obj["metadata"]["resourceVersion"]))

    def _place(self, kind: Kind, namespace: str, metadata: Json) -> None:
        """Settle namespace and name of a new object."""
        given = metadata.get("namespace", "")
        if given and given != namespace:
            raise StatusError(400, "the namespace of the provided object does not match the namespace sent on the request")
        if kind.namespaced:
            metadata["namespace"] = namespace
            home = self.get(NAMESPACE, "", namespace)
            if "deletionTimestamp" in home["metadata"]:
                why = f"unable to create new content in namespace {namespace} because it is being terminated"
                raise forbidden(kind.plural, kind.group, metadata.get("name", ""), why)
        object_rules.settle_name(kind, metadata)

    def _put(self, kind: Kind, obj: Json, expect: int, *, dry_run: bool = False) -> Json:
        if dry_run:
            return obj
        stored = {**obj, "metadata": {name: value for name, value in obj["metadata"].items() if name != "resourceVersion"}}
        return read_back(self.store.put(kind.plural, key_of(obj), stored, expect=expect))
