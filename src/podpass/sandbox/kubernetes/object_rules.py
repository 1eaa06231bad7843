# SPDX-License-Identifier: Apache-2.0
"""The rules that `metadata` brings along, the same for all kinds. Pure: `objects` keeps them."""

import secrets
from datetime import datetime, timedelta
from typing import Final

from podpass.sandbox.kubernetes import schema
from podpass.sandbox.kubernetes.kind import Json, Kind, check_labels, check_name, timestamp
from podpass.sandbox.kubernetes.kinds import NAMESPACE, POD
from podpass.sandbox.kubernetes.options import Deletion, Write
from podpass.sandbox.kubernetes.status import StatusError, conflict, invalid, invalid_value, required

_SUFFIX_LETTERS: Final = "bcdfghjklmnpqrstvwxz2456789"  # apimachinery's rand: no vowels, so no words
_GIVEN_BY_THE_SERVER: Final = ("deletionTimestamp", "deletionGracePeriodSeconds", "generation")
# What a write of the whole object leaves as it was.
_KEPT: Final = ("uid", "creationTimestamp", *_GIVEN_BY_THE_SERVER, "resourceVersion", "namespace")


def read(kind: Kind, body: Json, write: Write) -> Json:
    """Return a body as an object of a kind.

    Raises:
        StatusError: 400, it is of another kind; 422, a member has the wrong type, or is unknown where that is not allowed.
    """
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


def check(kind: Kind, obj: Json, old: Json | None) -> None:
    """Refuse names, labels and members that a kind does not have; `old` is None for a new object.

    Raises:
        StatusError: 422.
    """
    metadata = obj["metadata"]
    causes = [] if old else check_name(kind, metadata["name"])
    causes += check_labels(metadata.get("labels") or {})
    causes += kind.check(obj, old)
    if causes:
        raise invalid(kind.name, kind.group, metadata["name"], causes)


def begin(kind: Kind, metadata: Json, uid: str, now: str) -> None:
    """Give a new object what only the server gives.

    Raises:
        StatusError: 500, it comes with a version.
    """
    if metadata.pop("resourceVersion", ""):
        raise StatusError(500, "resourceVersion should not be set on objects to be created")
    for name in _GIVEN_BY_THE_SERVER:
        metadata.pop(name, None)
    metadata |= {"uid": uid, "creationTimestamp": now} | ({"generation": 1} if kind.versioned else {})


def settle_name(kind: Kind, metadata: Json) -> None:
    """Generate the name of a new object where that is asked for.

    Raises:
        StatusError: 422, there is neither a name nor the beginning of one.
    """
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = metadata["generateName"] + "".join(secrets.choice(_SUFFIX_LETTERS) for _ in range(5))
    if not metadata.get("name"):
        raise invalid(kind.name, kind.group, "", [required("metadata.name", "name or generateName is required")])


def check_same(kind: Kind, old: Json, new: Json) -> None:
    """Refuse a write on another version, or under another name or uid.

    Raises:
        StatusError: 400, 409 or 422.
    """
    before, after = old["metadata"], new["metadata"]
    name = before["name"]
    if after.setdefault("name", name) != name:
        raise StatusError(400, f"the name of the object ({after['name']}) does not match the name on the URL ({name})")
    if after.get("namespace", before.get("namespace")) != before.get("namespace"):
        raise StatusError(400, "the namespace of the provided object does not match the namespace sent on the request")
    if after.get("resourceVersion") not in {None, "", before["resourceVersion"]}:
        if not after["resourceVersion"].isdecimal():
            cause = invalid_value("metadata.resourceVersion", after["resourceVersion"], "must be a number")
            raise invalid(kind.name, kind.group, name, [cause])
        raise conflict(kind.plural, kind.group, name)
    if after.get("uid", before["uid"]) != before["uid"]:
        raise _precondition_failed(kind, name, "UID", after["uid"], before["uid"])


def check_preconditions(kind: Kind, metadata: Json, deletion: Deletion) -> None:
    """Refuse to delete another object than the one that is meant.

    Raises:
        StatusError: 409.
    """
    for wanted, actual, what in (
        (deletion.uid, metadata["uid"], "UID"),
        (deletion.resource_version, metadata["resourceVersion"], "ResourceVersion"),
    ):
        if wanted and wanted != actual:
            raise _precondition_failed(kind, metadata["name"], what, wanted, actual)


def _precondition_failed(kind: Kind, name: str, what: str, wanted: str, actual: str) -> StatusError:
    why = f"Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {actual}"
    return conflict(kind.plural, kind.group, name, why)


def joined(kind: Kind, old: Json, new: Json, part: str) -> Json:
    """Keep of the old object what this write may not touch; `part` is the subresource that is written, if one is."""
    metadata = new["metadata"]
    fields = metadata.get("managedFields") or old["metadata"].get("managedFields", [])
    if part:
        member = "spec" if part == "finalize" else "status"
        return {**old, "metadata": {**old["metadata"], "managedFields": fields}, member: new.get(member, {})}
    own = {name: old["metadata"][name] for name in _KEPT if name in old["metadata"]}
    new["metadata"] = {**{name: value for name, value in metadata.items() if name not in _KEPT}, **own, "managedFields": fields}
    untouched = ("status",) if kind.has_status else ()
    for member in (*untouched, "spec") if kind is NAMESPACE else untouched:
        new.pop(member, None)
        if member in old:
            new[member] = old[member]
    return new


def count_change(kind: Kind, old: Json, new: Json) -> None:
    """Count a change of the spec in `metadata.generation`."""
    if kind.versioned and new.get("spec") != old.get("spec"):
        new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1


def mark_deleted(kind: Kind, obj: Json, asked_s: int | None, now: datetime) -> None:
    """Mark an object as deleted; a second deletion can only shorten the time of the first."""
    metadata = obj["metadata"]
    grace_s = _grace_s(kind, obj, asked_s)
    if "deletionTimestamp" in metadata:
        grace_s = min(grace_s, metadata["deletionGracePeriodSeconds"])
    metadata["deletionTimestamp"] = timestamp(now + timedelta(seconds=grace_s))
    metadata["deletionGracePeriodSeconds"] = grace_s
    if kind.versioned:
        metadata["generation"] = metadata.get("generation", 0) + 1
    if kind is NAMESPACE:
        obj["status"] = {**(obj.get("status") or {}), "phase": "Terminating"}


def _grace_s(kind: Kind, obj: Json, asked_s: int | None) -> int:
    """Only a pod on a node that still runs has somebody who must say that it has ended."""
    if kind is not POD or not obj["spec"].get("nodeName") or obj["status"].get("phase") in {"Succeeded", "Failed"}:
        return 0
    return max(0, obj["spec"]["terminationGracePeriodSeconds"] if asked_s is None else asked_s)


def is_released(kind: Kind, obj: Json) -> bool:
    """Say whether nothing holds a deleted object back any more."""
    metadata = obj["metadata"]
    if "deletionTimestamp" not in metadata or metadata.get("finalizers"):
        return False
    return not obj["spec"].get("finalizers") if kind is NAMESPACE else metadata["deletionGracePeriodSeconds"] == 0
