# SPDX-License-Identifier: Apache-2.0
"""Buckets and objects as resources that permissions are checked on, and the records behind them."""

from dataclasses import replace

from podpass.sandbox.google.caller import ANONYMOUS
from podpass.sandbox.google.message import unimplemented
from podpass.sandbox.google.resource import Resource, project_resource
from podpass.sandbox.google.service import Call
from podpass.sandbox.google.storage.refusals import API_SEGMENTS, no_bucket, no_object, refused
from podpass.sandbox.store import Json, Record

BUCKET, OBJECT, SESSION = "storage.bucket", "storage.object", "storage.upload"
PUBLIC_MEMBERS = frozenset({"allUsers", "allAuthenticatedUsers"})

# A predefined ACL as the bindings that it stands for: who owns the object beside whoever made it, and who reads it [R].
_TEAM = ("projectOwner:{}", "projectEditor:{}")
PREDEFINED_ACLS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "authenticatedRead": ((), ("allAuthenticatedUsers",)),
    "bucketOwnerFullControl": (_TEAM, ()),
    "bucketOwnerRead": ((), _TEAM),
    "private": ((), ()),
    "projectPrivate": (_TEAM, ("projectViewer:{}",)),
    "publicRead": ((), ("allUsers",)),
}
_READER, _OWNER = "roles/storage.legacyObjectReader", "roles/storage.legacyObjectOwner"


def bucket_record(call: Call) -> Record:
    """Read the bucket that the path names.

    Raises:
        Fault: 404.
    """
    record = call.universe.store.get(BUCKET, call.params["bucket"])
    if record is None:
        raise no_bucket()
    return record


def bucket_resource(name: str, project: str) -> Resource:
    """Name a bucket as a resource."""
    return Resource(f"//storage.googleapis.com/projects/_/buckets/{name}", "storage.googleapis.com/Bucket", project_resource(project))


def bucket_of(call: Call) -> Resource:
    """Name the bucket of the path; where public access is prevented, the caller is not one of the public any more."""
    bucket = bucket_record(call).value
    if prevented(bucket):
        call.caller = replace(call.caller, members=call.caller.members - PUBLIC_MEMBERS)
    return bucket_resource(bucket["name"], bucket["project"])


def named_object(call: Call, name: str) -> Resource:
    """Name an object of the path's bucket, whether it exists or not; its ACL counts unless access is uniform."""
    parent = bucket_of(call)
    bucket = bucket_record(call).value
    record = call.universe.store.get(OBJECT, object_key(bucket["name"], name))
    grants = _acl(record.value, bucket["project"]) if record and not uniform(bucket) else ()
    return Resource(f"{parent.name}/objects/{name}", "storage.googleapis.com/Object", parent, grants)


def object_of(call: Call) -> Resource:
    """Name the object of the path.

    Raises:
        Fault: 404 where there is none, for a caller who may list the bucket and so may know it; others hear of their permission only [K].
    """
    resource = named_object(call, call.params["object"])
    assert resource.parent is not None
    bucket, name = call.params["bucket"], call.params["object"]
    if not call.universe.store.get(OBJECT, object_key(bucket, name)) and call.may("storage.objects.list", resource.parent):
        raise no_object(bucket, name)
    return resource


def addressed_object(call: Call) -> Resource:
    """Name the object of a public address."""
    addressed_bucket(call)
    return object_of(call)


def addressed_bucket(call: Call) -> Resource:
    """Name the bucket of a public address; what begins like a path of the API is none."""
    if call.params["bucket"] in API_SEGMENTS:
        raise unimplemented(call.request)
    return bucket_of(call)


def project_of(call: Call) -> Resource:
    """Name the project of the query, whose buckets are meant.

    Raises:
        Fault: 400 without a project or with an unknown one.
    """
    asked = call.query.get("project", "")
    if not asked:
        raise refused("Required parameter: project", "required")
    project = call.universe.project(asked)
    if project:
        return project_resource(project["projectId"])
    raise refused(f"Unknown project id: {asked}")  # [K]


def object_key(bucket: str, name: str) -> str:
    """Return the key of an object's record; a bucket's name has no slash."""
    return f"{bucket}/{name}"


def uniform(bucket: Json) -> bool:
    """Tell whether a bucket's policy alone decides about its objects."""
    enabled: bool = bucket["iamConfiguration"]["uniformBucketLevelAccess"]["enabled"]
    return enabled


def prevented(bucket: Json) -> bool:
    """Tell whether a bucket keeps the public out whatever its policies say."""
    setting: str = bucket["iamConfiguration"]["publicAccessPrevention"]
    return setting == "enforced"


def readable_by_all(call: Call) -> bool:
    """Tell whether anybody may read the object that a call is about."""
    return not prevented(bucket_record(call).value) and call.universe.policies.allows(ANONYMOUS, "storage.objects.get", call.on)


def _acl(value: Json, project: str) -> tuple[Json, ...]:
    team = tuple(member.format(project) for member in PREDEFINED_ACLS[value["acl"]][0])
    readers = tuple(member.format(project) for member in PREDEFINED_ACLS[value["acl"]][1])
    return {"role": _OWNER, "members": [*value["owners"], *team]}, {"role": _READER, "members": [*readers]}
