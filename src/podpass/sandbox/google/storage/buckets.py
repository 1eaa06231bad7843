# SPDX-License-Identifier: Apache-2.0
"""Buckets: create, get, list, patch, delete, policy, and two questions that `rm -r` asks before it deletes."""

import re
from typing import Any
from urllib.parse import parse_qsl

from podpass.sandbox.google.message import Answer, Fault
from podpass.sandbox.google.policy_methods import requested_version
from podpass.sandbox.google.service import Call, Public, method
from podpass.sandbox.google.storage.listing import page
from podpass.sandbox.google.storage.preconditions import check_preconditions
from podpass.sandbox.google.storage.refusals import left_out, public_access_prevented, refused
from podpass.sandbox.google.storage.rendering import bucket_json, moment
from podpass.sandbox.google.storage.resources import (
    BUCKET,
    OBJECT,
    PUBLIC_MEMBERS,
    SESSION,
    bucket_of,
    bucket_record,
    bucket_resource,
    prevented,
    project_of,
    uniform,
)
from podpass.sandbox.google.storage.scopes import FULL, READ
from podpass.sandbox.store import Json

_NAME = re.compile(
    r"(?!goog)(?!.*google)[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]"
)  # naming rules [R]; dotted names of other people's domains aside
_MULTI_REGIONS = frozenset({"US", "EU", "ASIA"})
# What may be set. Anything else would have a meaning that this universe does not have, so it is refused rather than forgotten.
_SETTABLE = frozenset({"iamConfiguration", "labels", "softDeletePolicy"})


@method(id="storage.buckets.insert", verb="POST", path="/storage/v1/b", permission="storage.buckets.create", on=project_of)
def insert_bucket(call: Call) -> Json:
    """Create a bucket."""
    body = call.json()
    name = str(body.pop("name", ""))
    if not _NAME.fullmatch(name):
        raise refused(f"Invalid bucket name: '{name}'")
    known = call.universe.store.get(BUCKET, name)
    if known:
        raise Fault(409, "ALREADY_EXISTS", _taken(call.on.project == known.value["project"]))
    location = str(body.pop("location", "US")).upper()
    now = moment(call)
    value: Json = {
        "name": name,
        "project": call.on.project,
        "location": location,
        "locationType": "multi-region" if location in _MULTI_REGIONS else "region",
        "storageClass": body.pop("storageClass", "STANDARD"),
        "iamConfiguration": {"uniformBucketLevelAccess": {"enabled": False}, "publicAccessPrevention": "inherited"},
        "timeCreated": now,
        "updated": now,
        "metageneration": 1,
    }
    _change(value, body)
    call.universe.store.put(BUCKET, name, value, expect=0)
    call.universe.policies.seed(bucket_resource(name, call.on.project), _first_policy(value))
    return bucket_json(call, value)


@method(id="storage.buckets.list", verb="GET", path="/storage/v1/b", permission="storage.buckets.list", on=project_of, scopes=READ)
def list_buckets(call: Call) -> Json:
    """List a project's buckets."""
    prefix = call.query.get("prefix", "")
    records = [record for record in call.universe.store.select(BUCKET, prefix) if record.value["project"] == call.on.project]
    chosen, token = page(call.query, [record.key for record in records])
    items = [bucket_json(call, record.value) for record in records if record.key in chosen]
    return {"kind": "storage#buckets", **({"items": items} if items else {}), **token}


@method(id="storage.buckets.get", verb="GET", path="/storage/v1/b/{bucket}", permission="storage.buckets.get", on=bucket_of, scopes=READ)
def get_bucket(call: Call) -> Json:
    """Show a bucket."""
    record = bucket_record(call)
    check_preconditions(call.query, record.value, reading=True)
    return bucket_json(call, record.value)


@method(id="storage.buckets.patch", verb="PATCH", path="/storage/v1/b/{bucket}", permission="storage.buckets.update", on=bucket_of)
def patch_bucket(call: Call) -> Json:
    """Change what the body names."""
    record = bucket_record(call)
    check_preconditions(call.query, record.value)
    _change(record.value, call.json())
    record.value["metageneration"] += 1
    record.value["updated"] = moment(call)
    call.universe.store.put(BUCKET, record.key, record.value, expect=record.revision)
    return bucket_json(call, record.value)


@method(id="storage.buckets.delete", verb="DELETE", path="/storage/v1/b/{bucket}", permission="storage.buckets.delete", on=bucket_of)
def delete_bucket(call: Call) -> Answer:
    """Delete an empty bucket."""
    record = bucket_record(call)
    check_preconditions(call.query, record.value)
    if call.universe.store.select(OBJECT, f"{record.key}/"):
        raise Fault(409, "FAILED_PRECONDITION", "The bucket you tried to delete is not empty.")
    for session in call.universe.store.select(SESSION, f"{record.key}/"):
        call.universe.store.delete(SESSION, session.key)
        if "blob" in session.value:  # a session that has ended has none
            call.universe.store.drop_blob(session.value["blob"])
    call.universe.store.delete(BUCKET, record.key, expect=record.revision)
    call.universe.policies.forget(call.on)
    return Answer(204)


@method(
    id="storage.buckets.getIamPolicy",
    verb="GET",
    path="/storage/v1/b/{bucket}/iam",
    permission="storage.buckets.getIamPolicy",
    on=bucket_of,
    scopes=FULL,
)
def get_bucket_policy(call: Call) -> Json:
    """Show a bucket's policy."""
    return _policy(call, call.universe.policies.read(call.on, requested_version(call)))


@method(
    id="storage.buckets.setIamPolicy",
    verb="PUT",
    path="/storage/v1/b/{bucket}/iam",
    permission="storage.buckets.setIamPolicy",
    on=bucket_of,
    scopes=FULL,
)
def set_bucket_policy(call: Call) -> Json:
    """Set a bucket's policy, which comes bare."""
    policy = call.json()
    bucket = bucket_record(call).value
    members = {member for binding in policy.get("bindings") or () for member in binding.get("members") or ()}
    if prevented(bucket) and members & PUBLIC_MEMBERS:
        raise public_access_prevented()
    if not uniform(bucket) and any(binding.get("condition") for binding in policy.get("bindings") or ()):
        # [K] the rule; [?] the text
        raise refused("Conditional bindings are only supported on buckets with uniform bucket-level access enabled.")
    return _policy(call, call.universe.policies.write(call.on, policy))


@method(
    id="storage.buckets.testIamPermissions",
    verb="GET",
    path="/storage/v1/b/{bucket}/iam/testPermissions",
    permission=Public("it tells the caller only what the caller itself may do", authenticated=True),
    on=bucket_of,
    scopes=READ,
)
def test_bucket_permissions(call: Call) -> Json:
    """Tell which of the asked permissions the caller has."""
    asked = [value for name, value in parse_qsl(call.request.query) if name == "permissions"]
    return {"kind": "storage#testIamPermissionsResponse", "permissions": [each for each in asked if call.may(each, call.on)]}


@method(
    id="storage.buckets.getStorageLayout",
    verb="GET",
    path="/storage/v1/b/{bucket}/storageLayout",
    permission="storage.objects.list",
    on=bucket_of,
    scopes=READ,
)
def get_storage_layout(call: Call) -> Json:
    """Tell where a bucket is, and that it has no real folders."""
    bucket = bucket_record(call).value
    place = {name: bucket[name] for name in ("location", "locationType")}
    return {"kind": "storage#storageLayout", "bucket": bucket["name"], **place, "hierarchicalNamespace": {"enabled": False}}


@method(
    id="storage.managedFolders.list",
    verb="GET",
    path="/storage/v1/b/{bucket}/managedFolders",
    permission="storage.managedFolders.list",
    on=bucket_of,
    scopes=READ,
)
def list_managed_folders(call: Call) -> Json:  # noqa: ARG001 - there are never any
    """List a bucket's managed folders."""
    return {"kind": "storage#managedFolders"}


def _taken(own: bool) -> str:  # noqa: FBT001 - its one caller says it
    if own:
        return "Your previous request to create the named bucket succeeded and you already own it."
    return (
        "The requested bucket name is not available. The bucket namespace is shared by all users of the system. "
        "Please select a different name and try again."
    )


def _change(value: Json, body: Json) -> None:
    """Apply what a create or patch asks for; null takes a member away."""
    unknown = {name for name, wanted in body.items() if name not in _SETTABLE and wanted not in (None, value.get(name))}
    if unknown:
        raise left_out(f"bucket member {', '.join(sorted(unknown))}")
    _change_access(value["iamConfiguration"], body.pop("iamConfiguration", None) or {})
    for name in _SETTABLE & body.keys():
        value[name] = body[name]
    for name in [name for name, wanted in value.items() if wanted is None]:
        del value[name]


def _change_access(access: Json, wanted: Json) -> None:
    level: Any = wanted.get("uniformBucketLevelAccess") or wanted.get("bucketPolicyOnly")
    if level:
        access["uniformBucketLevelAccess"] = {"enabled": bool(level.get("enabled"))}
    prevention = wanted.get("publicAccessPrevention", access["publicAccessPrevention"])
    if prevention not in {"enforced", "inherited", "unspecified"}:
        raise refused(f"Invalid value for publicAccessPrevention: {prevention}")  # [?]
    access["publicAccessPrevention"] = "inherited" if prevention == "unspecified" else prevention


def _first_policy(bucket: Json) -> list[Json]:
    """Return the policy of a new bucket: the project's basic roles hold it, and its objects too where access is uniform [K]."""
    team = [f"projectEditor:{bucket['project']}", f"projectOwner:{bucket['project']}"]
    viewers = [f"projectViewer:{bucket['project']}"]
    kinds = ("Bucket", "Object") if uniform(bucket) else ("Bucket",)
    rows = ((f"legacy{kind}{part}", members) for kind in kinds for part, members in (("Owner", team), ("Reader", viewers)))
    return [{"role": f"roles/storage.{role}", "members": members} for role, members in rows]


def _policy(call: Call, policy: Json) -> Json:
    return {"kind": "storage#policy", "resourceId": call.on.path, **policy}
