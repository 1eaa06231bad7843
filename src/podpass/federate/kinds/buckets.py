# SPDX-License-Identifier: Apache-2.0
"""The bucket that publishes an issuer's documents, and the documents.

Bucket names are shared by all of Google's customers, and the name of a deleted bucket is anybody's. Whoever owns the bucket owns the
issuer; so a bucket is known by the number of its project: one of this name in another project is another bucket.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from podpass.federate.kinds.handler import appeared
from podpass.federate.model.change import Action, Change
from podpass.federate.model.marks import Mark
from podpass.federate.model.resource import ABSENT, JSON, Observed, Resource
from podpass.google import storage
from podpass.google.fault import FaultKind, GoogleRefusedError
from podpass.google.rest import GoogleClient
from podpass.google.storage import StoredObject

_TAKEN = {FaultKind.ALREADY_EXISTS, FaultKind.ABORTED}
_NOTHING_THERE = "0"


@dataclass(frozen=True, slots=True)
class Buckets:
    """Buckets: made with uniform access, so that one policy says who reads."""

    client: GoogleClient
    mark: Mark

    def read(self, identity: Mapping[str, JSON]) -> Observed:
        """Return a bucket."""
        found = storage.get_bucket(self.client, str(identity["bucket"]))
        if found is None:
            return ABSENT
        return Observed("present", {}, Mark.in_labels(found.get("labels")), uid=_uid(found))

    def make(self, change: Change, resource: Resource) -> str | None:
        """Create a bucket, and return its project's number; one that is adopted stays as it is."""
        if change.action is not Action.CREATE:
            return None
        project, bucket = str(change.identity["project"]), str(change.identity["bucket"])
        try:
            return _uid(storage.create_bucket(self.client, project, bucket, dict(resource.at_birth)))
        except GoogleRefusedError as error:
            if error.kind not in _TAKEN:
                raise
            found = self._found(change.identity)
            if not self.mark.signed(found.mark):
                raise
            return found.uid

    def _found(self, identity: Mapping[str, JSON]) -> Observed:
        try:
            return self.read(identity)
        except GoogleRefusedError:  # somebody else's bucket: its name is taken, and we may not look
            return ABSENT

    def take_away(self, change: Change) -> None:
        """Delete a bucket; Google refuses while other objects than ours are in it."""
        storage.delete_bucket(self.client, str(change.identity["bucket"]))


def _uid(bucket: Mapping[str, JSON]) -> str | None:
    return str(bucket["projectNumber"]) if "projectNumber" in bucket else None


@dataclass(frozen=True, slots=True)
class Objects:
    """Small objects, written whole."""

    client: GoogleClient
    mark: Mark

    def read(self, identity: Mapping[str, JSON]) -> Observed:
        """Return an object with its content."""
        found = storage.get_object(self.client, str(identity["bucket"]), str(identity["object"]))
        if found is None:
            return ABSENT
        content = found.content.decode("utf-8", "replace")
        body = {"content": content, "cacheControl": found.cache_control, "contentType": found.content_type}
        return Observed("present", body, Mark.in_labels(found.metadata))

    def make(self, change: Change, resource: Resource) -> None:
        """Write an object; a new one only where nothing is."""
        precondition = _NOTHING_THERE if change.action is Action.CREATE else ""
        try:
            self._write(change, resource, precondition)
        except GoogleRefusedError as error:
            if not precondition or error.kind not in _TAKEN:
                raise
            if not self.mark.signed(self.read(change.identity).mark):
                raise appeared(change, error) from error
            self._write(change, resource, "")

    def _write(self, change: Change, resource: Resource, generation: str) -> None:
        body = resource.body
        metadata = resource.at_birth["metadata"]
        stored = StoredObject(str(body["content"]).encode(), generation, str(body["cacheControl"]), str(body["contentType"]), metadata)
        storage.put_object(self.client, str(change.identity["bucket"]), str(change.identity["object"]), stored)

    def take_away(self, change: Change) -> None:
        """Delete an object."""
        storage.delete_object(self.client, str(change.identity["bucket"]), str(change.identity["object"]))
