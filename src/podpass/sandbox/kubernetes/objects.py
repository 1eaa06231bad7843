# SPDX-License-Identifier: Apache-2.0
"""The life of objects, the same for all kinds: made, changed, deleted, with the rules that `metadata` brings along.

Everything here is synchronous and runs on the API server's loop, so that a change is one step.
"""

import copy
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

from podpass.clock import Clock
from podpass.sandbox.kubernetes import managed, schema
from podpass.sandbox.kubernetes.kind import Json, Kind, check_labels, check_name, timestamp
from podpass.sandbox.kubernetes.kinds import NAMESPACE, POD
from podpass.sandbox.kubernetes.status import (
    StatusError,
    already_exists,
    conflict,
    forbidden,
    invalid,
    invalid_value,
    not_found,
    required,
    unsupported_value,
)
from podpass.sandbox.store import Record, Store

_SUFFIX_LETTERS: Final = "bcdfghjklmnpqrstvwxz2456789"  # apimachinery's rand: no vowels, so no words


@dataclass(slots=True)
class Write:
    """How a write was asked for; what to warn of comes back in it.

    Args:
        manager: Who writes.
        dry_run: Whether nothing is stored.
        directive: What becomes of unknown members.
        applied: Whether this is a server-side apply, which has settled who owns what.
        warnings: Sentences for the user.
    """

    manager: str = "unknown"
    dry_run: bool = False
    directive: schema.Directive = "Warn"
    applied: bool = False
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Deletion:
    """How an object is to be deleted."""

    grace_s: int | None = None
    propagation: str = "Background"
    uid: str = ""
    resource_version: str = ""
    dry_run: bool = False

    @classmethod
    def of(cls, options: Mapping[str, Any], *, dry_run: bool) -> "Deletion":
        """Read DeleteOptions."""
        preconditions = options.get("preconditions") or {}
        propagation = options.get("propagationPolicy") or ("Orphan" if options.get("orphanDependents") else "Background")
        if propagation not in {"Background", "Foreground", "Orphan"}:
            cause = unsupported_value("propagationPolicy", str(propagation), ("Foreground", "Background", "Orphan", "nil"))
            raise invalid("DeleteOptions", "meta.k8s.io", "", [cause])
        grace, uid, version = options.get("gracePeriodSeconds"), preconditions.get("uid", ""), preconditions.get("resourceVersion", "")
        return cls(grace, propagation, uid, version, dry_run or bool(options.get("dryRun")))


def key_of(namespace: str, name: str) -> str:
    """Return the store's key of an object; those without namespace begin with the slash."""
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
        record = self.store.get(kind.plural, key_of(namespace, name))
        return read_back(record) if record else None

    def select(self, kind: Kind, namespace: str = "") -> list[Json]:
        """Return all objects of a kind, or those in a namespace, in the order of their keys."""
        return [read_back(record) for record in self.store.select(kind.plural, f"{namespace}/" if namespace else "")]

    def create(self, kind: Kind, namespace: str, body: Json, write: Write) -> Json:
        """Make an object.

        Raises:
            StatusError: The body or its circumstances do not allow it.
        """
        obj = self._read(kind, body, write)
        metadata = obj["metadata"]
        self._place(kind, namespace, metadata)
        if metadata.pop("resourceVersion", ""):
            raise StatusError(500, "resourceVersion should not be set on objects to be created")
        for name in ("deletionTimestamp", "deletionGracePeriodSeconds", "generation"):
            metadata.pop(name, None)
        metadata |= {"uid": str(uuid4()), "creationTimestamp": self.now} | ({"generation": 1} if kind.versioned else {})
        kind.default(obj)
        if not write.applied:  # what the server adds after this is nobody's
            managed.note_update(None, obj, write.manager, "", self.now)
        kind.start(obj)
        kind.admit(self, obj)
        self._check(kind, obj, None)
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
        new = self._read(kind, edit(copy.deepcopy(old)), write)
        self._same_object(kind, old, new)
        new = _joined(kind, old, new, part)
        kind.default(new)
        self._check(kind, new, old)
        if new == old:
            return old
        if kind.versioned and new.get("spec") != old.get("spec"):
            new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
        if not write.applied:
            managed.note_update(old, new, write.manager, part, self.now)
        if self._released(kind, new) and not write.dry_run:
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
        metadata = obj["metadata"]
        for wanted, actual, what in (
            (deletion.uid, metadata["uid"], "UID"),
            (deletion.resource_version, metadata["resourceVersion"], "ResourceVersion"),
        ):
            if wanted and wanted != actual:
                why = f"Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {actual}"
                raise conflict(kind.plural, kind.group, name, why)
        if deletion.dry_run:
            return obj, True
        self.before_deletion(obj, deletion)
        self._mark(kind, obj, deletion)
        if self._released(kind, obj):
            self.remove(kind, obj)
            return obj, True
        obj = self._put(kind, obj, int(metadata["resourceVersion"]))
        self.after_mark(kind, obj)
        return obj, self.find(kind, namespace, name) is None

    def remove(self, kind: Kind, obj: Json) -> None:
        """Take an object out of the store and do what follows from it."""
        self.store.delete(kind.plural, key_of(obj["metadata"].get("namespace", ""), obj["metadata"]["name"]))
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
        if self._released(kind, obj):
            self.remove(kind, obj)
            return obj
        return self._put(kind, obj, int(obj["metadata"]["resourceVersion"]))

    def _mark(self, kind: Kind, obj: Json, deletion: Deletion) -> None:
        metadata = obj["metadata"]
        grace_s = self._grace_s(kind, obj, deletion.grace_s)
        if "deletionTimestamp" in metadata:
            grace_s = min(grace_s, metadata["deletionGracePeriodSeconds"])
        metadata["deletionTimestamp"] = timestamp(self.clock.now() + timedelta(seconds=grace_s))
        metadata["deletionGracePeriodSeconds"] = grace_s
        if kind.versioned:
            metadata["generation"] = metadata.get("generation", 0) + 1
        if kind is NAMESPACE:
            obj["status"] = {**(obj.get("status") or {}), "phase": "Terminating"}

    @staticmethod
    def _grace_s(kind: Kind, obj: Json, asked_s: int | None) -> int:
        """Only a pod on a node that still runs has somebody who must say that it has ended."""
        if kind is not POD or not obj["spec"].get("nodeName") or obj["status"].get("phase") in {"Succeeded", "Failed"}:
            return 0
        return max(0, obj["spec"]["terminationGracePeriodSeconds"] if asked_s is None else asked_s)

    @staticmethod
    def _released(kind: Kind, obj: Json) -> bool:
        """Say whether nothing holds a deleted object back any more."""
        metadata = obj["metadata"]
        if "deletionTimestamp" not in metadata or metadata.get("finalizers"):
            return False
        return not obj["spec"].get("finalizers") if kind is NAMESPACE else metadata["deletionGracePeriodSeconds"] == 0

    def _read(self, kind: Kind, body: Json, write: Write) -> Json:
        for member, wanted in (("apiVersion", kind.api_version), ("kind", kind.name)):
            got = body.setdefault(member, wanted)
            if got != wanted:
                text = f"the {'API version' if member == 'apiVersion' else member} in the data ({got}) does not match the expected {wanted}"
                raise StatusError(400, text)
        reading = schema.read(body, kind.model, write.directive)
        write.warnings += reading.warnings
        reading.value.setdefault("metadata", {})
        if reading.causes:
            raise invalid(kind.name, kind.group, reading.value["metadata"].get("name", ""), reading.causes)
        return reading.value

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
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + "".join(secrets.choice(_SUFFIX_LETTERS) for _ in range(5))
        if not metadata.get("name"):
            raise invalid(kind.name, kind.group, "", [required("metadata.name", "name or generateName is required")])

    @staticmethod
    def _check(kind: Kind, obj: Json, old: Json | None) -> None:
        metadata = obj["metadata"]
        causes = [] if old else check_name(kind, metadata["name"])
        causes += check_labels(metadata.get("labels") or {})
        causes += kind.check(obj, old)
        if causes:
            raise invalid(kind.name, kind.group, metadata["name"], causes)

    @staticmethod
    def _same_object(kind: Kind, old: Json, new: Json) -> None:
        """Refuse a write on another version, or under another name or uid."""
        before, after = old["metadata"], new["metadata"]
        name = before["name"]
        if after.setdefault("name", name) != name:
            raise StatusError(400, f"the name of the object ({after['name']}) does not match the name on the URL ({name})")
        if after.get("namespace", before.get("namespace")) != before.get("namespace"):
            raise StatusError(400, "the namespace of the provided object does not match the namespace sent on the request")
        if after.get("resourceVersion") not in {None, "", before["resourceVersion"]}:
            if not after["resourceVersion"].isdecimal():
                raise invalid(
                    kind.name, kind.group, name, [invalid_value("metadata.resourceVersion", after["resourceVersion"], "must be a number")]
                )
            raise conflict(kind.plural, kind.group, name)
        if after.get("uid", before["uid"]) != before["uid"]:
            why = f"Precondition failed: UID in precondition: {after['uid']}, UID in object meta: {before['uid']}"
            raise conflict(kind.plural, kind.group, name, why)

    def _put(self, kind: Kind, obj: Json, expect: int, *, dry_run: bool = False) -> Json:
        if dry_run:
            return obj
        stored = {**obj, "metadata": {name: value for name, value in obj["metadata"].items() if name != "resourceVersion"}}
        key = key_of(obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        return read_back(self.store.put(kind.plural, key, stored, expect=expect))


def _joined(kind: Kind, old: Json, new: Json, part: str) -> Json:
    """Keep of the old object what this write may not touch."""
    kept = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "resourceVersion", "namespace")
    metadata = new["metadata"]
    own = {name: old["metadata"][name] for name in kept if name in old["metadata"]}
    fields = metadata.get("managedFields") or old["metadata"].get("managedFields", [])
    if part:
        joined = {**old, "metadata": {**old["metadata"], "managedFields": fields}}
        if part == "finalize":
            return {**joined, "spec": new.get("spec", {})}
        return {**joined, "status": new.get("status", {})}
    new["metadata"] = {**{name: value for name, value in metadata.items() if name not in kept}, **own, "managedFields": fields}
    untouched = ("status",) if kind.has_status else ()
    for member in (*untouched, "spec") if kind is NAMESPACE else untouched:
        new.pop(member, None)
        if member in old:
            new[member] = old[member]
    return new
