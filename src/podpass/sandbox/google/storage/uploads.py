# SPDX-License-Identifier: Apache-2.0
"""Objects come in whole (`media`), with their metadata in front (`multipart`), or in chunks to a session's own address (`resumable`)."""

import secrets
from dataclasses import dataclass
from typing import Self

from podpass.sandbox.google.message import Answer, Fault
from podpass.sandbox.google.resource import Resource
from podpass.sandbox.google.service import Call, Public, method
from podpass.sandbox.google.storage.byte_range import ContentRange
from podpass.sandbox.google.storage.checksums import crc32c_base64, md5_base64
from podpass.sandbox.google.storage.preconditions import check_preconditions
from podpass.sandbox.google.storage.refusals import left_out, public_access_prevented, refused, uniform_access
from podpass.sandbox.google.storage.related import MalformedRelatedError, RelatedUpload
from podpass.sandbox.google.storage.rendering import moment, object_json
from podpass.sandbox.google.storage.resources import (
    OBJECT,
    PREDEFINED_ACLS,
    SESSION,
    addressed_bucket,
    bucket_of,
    bucket_record,
    named_object,
    object_key,
    prevented,
    uniform,
)
from podpass.sandbox.google.storage.scopes import WRITE
from podpass.sandbox.store import Json, Record

_ID = "storage.objects.insert"
_GUIDE = "Resumable uploads: https://cloud.google.com/storage/docs/performing-resumable-uploads"
_QUANTUM = 256 * 1024  # a session keeps whole quanta of what is not the end [R]
_NAME_LIMIT_BYTES = 1024  # naming rules [R]
_SETTABLE = ("cacheControl", "contentDisposition", "contentEncoding", "contentLanguage", "contentType", "customTime", "metadata")
_CHECKSUMS = {"crc32c": crc32c_base64, "md5Hash": md5_base64}
_CONDITIONS = tuple(f"if{counter}{suffix}" for counter in ("Generation", "Metageneration") for suffix in ("Match", "NotMatch"))
_SESSION_IS_AUTHORITY = Public("the address of an upload session is a secret that stands for whoever began it")  # [R]


@dataclass(frozen=True, slots=True)
class Upload:
    """An object on its way in.

    Attributes:
        metadata: What the client says of it.
        media: Its bytes; empty at the beginning of a session.
    """

    metadata: Json
    media: bytes

    @classmethod
    def read(cls, call: Call) -> Self:
        """Read the body by the query's `uploadType`.

        Raises:
            Fault: 400: not of that form, no name, or a name that no object can have.
        """
        kind, headers, body = call.query.get("uploadType"), call.request.headers, call.request.body
        if kind == "multipart":
            try:
                related = RelatedUpload.parse(headers.get("content-type", ""), body)
            except MalformedRelatedError as error:
                raise refused(str(error), "badContent") from error
            metadata, media_type, media = related.metadata, related.media_type, related.media
        elif kind == "media":
            metadata, media_type, media = {}, headers.get("content-type"), body
        elif kind == "resumable":
            metadata, media_type, media = call.json(), headers.get("x-upload-content-type"), b""
        else:
            raise refused(f"Invalid value for uploadType: {kind!r}.")  # [?]
        name = call.query.get("name") or metadata.get("name")
        if not isinstance(name, str) or not 0 < len(name.encode()) <= _NAME_LIMIT_BYTES or "\r" in name or "\n" in name:
            raise refused("Required" if not name else f"Invalid object name: {name!r}")  # [?]
        content_type = metadata.get("contentType") or media_type or "application/octet-stream"
        return cls({**metadata, "name": name, "contentType": content_type}, media)


def upload_target(call: Call) -> Resource:
    """Name the object that an upload would make."""
    return named_object(call, Upload.read(call).metadata["name"])


def addressed_upload(call: Call) -> Resource:
    """Name the object that an upload to a public address would make."""
    addressed_bucket(call)
    return named_object(call, call.params["object"])


def insert_object(call: Call) -> Answer | Json:
    """Take an object in, or begin a session."""
    upload = Upload.read(call)
    draft = _draft(call, upload.metadata)
    existing = call.universe.store.get(OBJECT, object_key(draft["bucket"], draft["name"]))
    check_preconditions(draft["conditions"], existing.value if existing else None)
    if existing:
        call.require("storage.objects.delete", call.on)
    if call.query.get("uploadType") != "resumable":
        return object_json(call, _write(call, draft, upload.media))
    session = f"{draft['bucket']}/{secrets.token_urlsafe(48)}"
    call.universe.store.put(SESSION, session, {**draft, "blob": call.universe.store.add_blob(b"")})
    upload_id = session.rpartition("/")[2]
    location = f"{call.origin}{call.request.path}?uploadType=resumable&upload_id={upload_id}"
    return Answer(200, b"", {"location": location, "x-guploader-uploadid": upload_id})


@method(
    id="storage.xml.putObject",
    verb="PUT",
    path="/{bucket}/{object=**}",
    permission="storage.objects.create",
    on=addressed_upload,
    scopes=WRITE,
    undocumented="XML API, PUT Object: https://cloud.google.com/storage/docs/xml-api/put-object-upload",
)
def put_object(call: Call) -> Answer:
    """Take an object in by its public address, as whoever holds a signed URL does."""
    headers, name = call.request.headers, call.params["object"]
    draft = _draft(call, {"name": name, "contentType": headers.get("content-type") or "application/octet-stream"})
    if call.universe.store.get(OBJECT, object_key(draft["bucket"], name)):
        call.require("storage.objects.delete", call.on)
    value = _write(call, draft, call.request.body)
    return Answer(200, b"", {"etag": f'"{value["md5Hash"]}"', "x-goog-generation": str(value["generation"])})


def continue_upload(call: Call) -> Answer | Json:
    """Take a chunk, or none: answer 308 with what is kept so far, or the object once it is whole."""
    store = call.universe.store
    session = _session(call)
    if "object" in session.value:
        return object_json(call, session.value["object"])
    held, body = store.blob(session.value["blob"]), call.request.body
    part = _part(call)
    if part.first is not None:
        if part.first > len(held):
            raise refused(
                f"Invalid request.  According to the Content-Range header, the upload offset is {part.first} byte(s), "
                f"which exceeds already uploaded size of {len(held)} byte(s)."
            )
        held += body[len(held) - part.first :]
    if len(held) == part.total:
        value = _write(call, session.value, held)
        store.put(SESSION, session.key, {"object": value})
    else:
        held = held[: len(held) // _QUANTUM * _QUANTUM]
        value = None
        store.put(SESSION, session.key, {**session.value, "blob": store.add_blob(held)})
    store.drop_blob(session.value["blob"])
    return object_json(call, value) if value else Answer(308, b"", {"range": f"bytes=0-{len(held) - 1}"} if held else {})


# gcloud begins sessions at an address of their own.
_PATHS = ("/upload/storage/v1/b/{bucket}/o", "/resumable/upload/storage/v1/b/{bucket}/o")
INSERT_METHODS = tuple(
    method(id=_ID, verb="POST", path=path, permission="storage.objects.create", on=upload_target, scopes=WRITE)(insert_object)
    for path in _PATHS
)
SESSION_METHODS = tuple(
    method(id=_ID, verb="PUT", path=path, permission=_SESSION_IS_AUTHORITY, on=bucket_of, undocumented=_GUIDE)(continue_upload)
    for path in _PATHS
)


def _session(call: Call) -> Record:
    session = call.universe.store.get(SESSION, f"{call.params['bucket']}/{call.query.get('upload_id', '')}")
    if session is None:
        raise Fault(404, "NOT_FOUND", "Upload session not found.")  # [?]
    return session


def _part(call: Call) -> ContentRange:
    header, length = call.request.headers.get("content-range"), len(call.request.body)
    if header is None:
        return ContentRange(0, length)
    try:
        return ContentRange.parse(header, length)
    except ValueError as error:
        raise refused(str(error)) from error


def _draft(call: Call, metadata: Json) -> Json:
    """Decide everything about an object but its bytes; whoever makes it owns it and so may share it [K]."""
    bucket, acl = bucket_record(call).value, call.query.get("predefinedAcl", "")
    if metadata.get("acl"):
        raise left_out("object ACL of its own: use predefinedAcl")
    if acl:
        if acl not in PREDEFINED_ACLS:
            raise refused(f"Invalid argument: predefinedAcl {acl!r}.")  # [?]
        if uniform(bucket):
            raise uniform_access()
        if prevented(bucket) and acl in {"publicRead", "authenticatedRead"}:
            raise public_access_prevented()
    return {
        **{name: metadata[name] for name in _SETTABLE if metadata.get(name) is not None},
        "bucket": bucket["name"],
        "name": metadata["name"],
        "storageClass": metadata.get("storageClass") or bucket["storageClass"],
        "acl": acl or "projectPrivate",
        "owners": sorted(member for member in call.caller.members if member.startswith(("user:", "serviceAccount:"))),
        "conditions": {name: call.query[name] for name in _CONDITIONS if name in call.query},
        "expected": {name: metadata[name] for name in _CHECKSUMS if metadata.get(name)},
    }


def _write(call: Call, draft: Json, media: bytes) -> Json:
    store, key = call.universe.store, object_key(draft["bucket"], draft["name"])
    existing = store.get(OBJECT, key)
    check_preconditions(draft["conditions"], existing.value if existing else None)
    checksums = {name: checksum(media) for name, checksum in _CHECKSUMS.items()}
    for name, expected in draft["expected"].items():
        if expected != checksums[name]:
            label = {"crc32c": "CRC32C", "md5Hash": "MD5 hash"}[name]
            raise refused(f'Provided {label} "{expected}" doesn\'t match calculated {label} "{checksums[name]}".')  # [K]
    now = moment(call)
    previous = existing.value["generation"] if existing else 0
    value = {name: each for name, each in draft.items() if name not in {"conditions", "expected"}} | {
        "generation": max(int(call.universe.clock.now().timestamp() * 1_000_000), previous + 1),
        "metageneration": 1,
        "size": len(media),
        **checksums,
        "timeCreated": now,
        "updated": now,
        "blob": store.add_blob(media),
    }
    store.put(OBJECT, key, value, expect=existing.revision if existing else 0)
    if existing:
        store.drop_blob(existing.value["blob"])
    return value
