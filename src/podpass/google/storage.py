# SPDX-License-Identifier: Apache-2.0
"""Cloud Storage's JSON API: buckets, their IAM policy, small objects."""

import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode

from podpass.errors import UnexpectedAnswerError
from podpass.google.policy import CONDITIONS_VERSION, Policy
from podpass.google.rest import GoogleClient, Json, Request, segment

_SERVICE = "storage"
LIMIT_OBJECT_BYTES: Final = 1024 * 1024
"""podpass reads and writes an issuer's documents, nothing larger."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A small object with what podpass cares for.

    Attributes:
        content: All of it.
        generation: Which writing of it this is; a precondition for the next one.
        cache_control: How long others may keep it.
        content_type: What it is.
        metadata: The writer's own notes.
    """

    content: bytes
    generation: str
    cache_control: str = ""
    content_type: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


def get_bucket(client: GoogleClient, bucket: str) -> Json | None:
    """Return a bucket; None where there is none."""
    return client.find(_bucket_request("GET", bucket, "look up", "get"))


def create_bucket(client: GoogleClient, project: str, bucket: str, body: Json) -> Json:
    """Create a bucket (`location`, `iamConfiguration`, `labels`) and return it.

    Raises:
        GoogleRefusedError: Among others 409: bucket names are shared by everybody, and this one is taken.
    """
    return client.call(
        Request(
            "POST",
            _SERVICE,
            "/storage/v1/b",
            f"create the bucket {bucket}",
            query={"project": project},
            body={"name": bucket, **body},
            permission="storage.buckets.create",
            # A repeated creation is refused as taken; who creates looks then whether it was its own.
            is_repeatable=True,
        )
    )


def delete_bucket(client: GoogleClient, bucket: str) -> bool:
    """Delete an empty bucket; False where there is none. A bucket with objects in it is refused with 409."""
    return client.find(_bucket_request("DELETE", bucket, "delete", "delete")) is not None


def missing_permissions(client: GoogleClient, bucket: str, permissions: Iterable[str]) -> frozenset[str]:
    """Return which of these permissions the caller lacks on the bucket."""
    wanted = frozenset(permissions)
    asked = urlencode([("permissions", name) for name in sorted(wanted)])
    path = f"/storage/v1/b/{segment(bucket)}/iam/testPermissions?{asked}"
    answer = client.call(Request("GET", _SERVICE, path, f"ask what the operator may do with the bucket {bucket}"))
    return wanted - frozenset(answer.get("permissions", []))


def list_objects(client: GoogleClient, bucket: str) -> list[str]:
    """Return the names of a bucket's objects, first page only: podpass asks whether there are others than its own."""
    answer = client.call(
        Request(
            "GET",
            _SERVICE,
            f"/storage/v1/b/{segment(bucket)}/o",
            f"list the objects of the bucket {bucket}",
            query={"maxResults": "1000", "projection": "noAcl"},
            permission="storage.objects.list",
        )
    )
    return [str(item.get("name")) for item in answer.get("items", [])]


def get_object(client: GoogleClient, bucket: str, name: str) -> StoredObject | None:
    """Return an object with its content; None where it is not there, or went while it was read."""
    found = client.find(_object_request("GET", bucket, name, "read", "get"))
    if found is None:
        return None
    if int(found.get("size") or 0) > LIMIT_OBJECT_BYTES:
        raise UnexpectedAnswerError(f"The object {name} of the bucket {bucket} has {found['size']} bytes.", "podpass did not write that.")
    generation = str(found.get("generation", ""))
    query = {"alt": "media", **({"generation": generation} if generation else {})}
    content = client.find_content(_object_request("GET", bucket, name, "read", "get", query=query))
    if content is None:
        return None
    return StoredObject(
        content, generation, str(found.get("cacheControl", "")), str(found.get("contentType", "")), dict(found.get("metadata") or {})
    )


def put_object(client: GoogleClient, bucket: str, name: str, stored: StoredObject) -> str:
    """Write an object and return its new generation.

    `stored.generation` is the precondition: what is there now must be that writing; `0`: nothing may be there; empty: whatever is there.

    Raises:
        GoogleRefusedError: Among others 412 (`FaultKind.ABORTED`): the precondition does not hold.
    """
    metadata = {"name": name, "contentType": stored.content_type, "cacheControl": stored.cache_control, "metadata": dict(stored.metadata)}
    precondition = {"ifGenerationMatch": stored.generation} if stored.generation else {}
    boundary = secrets.token_hex(16)
    answer = client.call(
        Request(
            "POST",
            _SERVICE,
            f"/upload/storage/v1/b/{segment(bucket)}/o",
            f"write the object {name} of the bucket {bucket}",
            query={"uploadType": "multipart", **precondition},
            content=_multipart(json.dumps({key: value for key, value in metadata.items() if value}), stored, boundary),
            headers={"content-type": f"multipart/related; boundary={boundary}"},
            permission="storage.objects.create",
            # With a precondition a repeated write is refused, and who writes looks whose it is; without one it writes the same again.
            is_repeatable=True,
        )
    )
    return str(answer.get("generation", ""))


def delete_object(client: GoogleClient, bucket: str, name: str, *, generation: str = "") -> bool:
    """Delete an object, or only this writing of it; False where it is not there."""
    query = {"ifGenerationMatch": generation} if generation else {}
    return client.find(_object_request("DELETE", bucket, name, "delete", "delete", query=query)) is not None


@dataclass(frozen=True, slots=True)
class BucketPolicy:
    """The IAM policy of a bucket; a `PolicyHolder`."""

    client: GoogleClient
    bucket: str

    def __str__(self) -> str:
        return f"the bucket {self.bucket}"

    def read_policy(self) -> Policy:
        """Return the policy with its conditions."""
        return self.client.call(
            Request(
                "GET",
                _SERVICE,
                f"/storage/v1/b/{segment(self.bucket)}/iam",
                f"read the IAM policy of {self}",
                query={"optionsRequestedPolicyVersion": str(CONDITIONS_VERSION)},
                permission="storage.buckets.getIamPolicy",
            )
        )

    def write_policy(self, policy: Policy) -> Policy:
        """Write the whole policy under its etag."""
        return self.client.call(
            Request(
                "PUT",
                _SERVICE,
                f"/storage/v1/b/{segment(self.bucket)}/iam",
                f"change the IAM policy of {self}",
                body=policy,
                permission="storage.buckets.setIamPolicy",
                is_repeatable=False,
            )
        )


def _bucket_request(verb: str, bucket: str, words: str, permission: str) -> Request:
    doing = f"{words} the bucket {bucket}"
    return Request(verb, _SERVICE, f"/storage/v1/b/{segment(bucket)}", doing, permission=f"storage.buckets.{permission}")


def _object_request(verb: str, bucket: str, name: str, words: str, permission: str, *, query: Mapping[str, str] | None = None) -> Request:
    return Request(
        verb,
        _SERVICE,
        f"/storage/v1/b/{segment(bucket)}/o/{segment(name)}",
        f"{words} the object {name} of the bucket {bucket}",
        query=query or {},
        permission=f"storage.objects.{permission}",
    )


def _multipart(metadata: str, stored: StoredObject, boundary: str) -> bytes:
    head = f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{metadata}\r\n"
    body = f"--{boundary}\r\nContent-Type: {stored.content_type or 'application/octet-stream'}\r\n\r\n"
    return head.encode() + body.encode() + stored.content + f"\r\n--{boundary}--\r\n".encode()
