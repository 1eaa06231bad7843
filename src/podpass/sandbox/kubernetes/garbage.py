# SPDX-License-Identifier: Apache-2.0
"""What follows when objects go: their dependents go too, owners that waited for them are released, namespaces run empty.

A real cluster does this in the controller manager, a moment later; here it is part of the same step.
"""

from collections.abc import Iterator
from typing import Final

from podpass.sandbox.kubernetes.kind import Json, Kind
from podpass.sandbox.kubernetes.kinds import KINDS, NAMESPACE
from podpass.sandbox.kubernetes.objects import Objects
from podpass.sandbox.kubernetes.options import Deletion

_FOREGROUND: Final = "foregroundDeletion"


class CollectedObjects(Objects):
    """Objects of which none outlives its last owner or its namespace."""

    def after_creation(self, kind: Kind, obj: Json) -> None:
        """Delete at once what was made for an owner that is no more."""
        if _owners(obj) and not any(self._owner(obj, reference) for reference in _owners(obj)):
            self._delete(kind, obj)

    def before_deletion(self, obj: Json, deletion: Deletion) -> None:
        """Free the dependents, or have the object wait for them."""
        if deletion.propagation == "Orphan":
            for kind, dependent in self._dependents(obj):
                self._disown(kind, dependent, obj)
        elif deletion.propagation == "Foreground" and any(self._dependents(obj)):
            metadata = obj["metadata"]
            metadata["finalizers"] = list(dict.fromkeys([*metadata.get("finalizers", ()), _FOREGROUND]))

    def after_mark(self, kind: Kind, obj: Json) -> None:
        """Empty a namespace; delete the dependents of an object that waits for them."""
        if kind is NAMESPACE:
            for content_kind, content in list(self._contents(obj["metadata"]["name"])):
                self._delete(content_kind, content)
            self._finish_namespace(obj["metadata"]["name"])
        elif _FOREGROUND in obj["metadata"].get("finalizers", ()):
            for dependent_kind, dependent in list(self._dependents(obj)):
                self._delete(dependent_kind, dependent)

    def after_removal(self, obj: Json) -> None:
        """Follow the references in both directions, then look at the namespace."""
        for kind, dependent in list(self._dependents(obj)):
            others = [reference for reference in _owners(dependent) if reference["uid"] != obj["metadata"]["uid"]]
            if any(self._owner(dependent, reference) for reference in others):
                self._disown(kind, dependent, obj)
            else:
                self._delete(kind, dependent)
        for reference in _owners(obj):
            self._release(obj, reference)
        if namespace := obj["metadata"].get("namespace"):
            self._finish_namespace(namespace)

    def _delete(self, kind: Kind, obj: Json) -> None:
        metadata = obj["metadata"]
        if self.find(kind, metadata.get("namespace", ""), metadata["name"]):
            self.delete(kind, metadata.get("namespace", ""), metadata["name"], Deletion(uid=metadata["uid"]))

    def _release(self, obj: Json, reference: Json) -> None:
        """Let an owner go that has waited for the last of its dependents."""
        found = self._owner(obj, reference)
        if found and _FOREGROUND in found[1]["metadata"].get("finalizers", ()) and not any(self._dependents(found[1])):
            found[1]["metadata"]["finalizers"].remove(_FOREGROUND)
            self.amend(*found)

    def _finish_namespace(self, name: str) -> None:
        namespace = self.find(NAMESPACE, "", name)
        if namespace and "deletionTimestamp" in namespace["metadata"] and not any(self._contents(name)):
            namespace["spec"] = {}
            self.amend(NAMESPACE, namespace)

    def _contents(self, namespace: str) -> Iterator[tuple[Kind, Json]]:
        return ((kind, obj) for kind in KINDS if kind.namespaced for obj in self.select(kind, namespace))

    def _dependents(self, obj: Json) -> Iterator[tuple[Kind, Json]]:
        uid = obj["metadata"]["uid"]
        return (
            (kind, other)
            for kind in KINDS
            for other in self.select(kind, obj["metadata"].get("namespace", ""))
            if any(reference["uid"] == uid for reference in _owners(other))
        )

    def _owner(self, obj: Json, reference: Json) -> tuple[Kind, Json] | None:
        """Find an owner: one of the same name but another uid is another object."""
        for kind in KINDS:
            if (kind.api_version, kind.name) == (reference["apiVersion"], reference["kind"]):
                owner = self.find(kind, obj["metadata"].get("namespace", "") if kind.namespaced else "", reference["name"])
                return (kind, owner) if owner and owner["metadata"]["uid"] == reference["uid"] else None
        return None

    def _disown(self, kind: Kind, dependent: Json, owner: Json) -> None:
        rest = [reference for reference in _owners(dependent) if reference["uid"] != owner["metadata"]["uid"]]
        dependent["metadata"]["ownerReferences"] = rest
        self.amend(kind, dependent)


def _owners(obj: Json) -> list[Json]:
    return obj["metadata"].get("ownerReferences") or []
