# SPDX-License-Identifier: Apache-2.0
"""Objects: get, download, list, delete. `uploads` makes them."""

from podpass.sandbox.google.message import Answer
from podpass.sandbox.google.service import Call, method
from podpass.sandbox.google.storage.listing import folded, page
from podpass.sandbox.google.storage.media import media_answer
from podpass.sandbox.google.storage.preconditions import check_preconditions
from podpass.sandbox.google.storage.refusals import left_out, no_object
from podpass.sandbox.google.storage.rendering import object_json
from podpass.sandbox.google.storage.resources import OBJECT, addressed_bucket, addressed_object, bucket_of, object_key, object_of
from podpass.sandbox.google.storage.scopes import READ
from podpass.sandbox.store import Json, Record

# Choices of a list that this universe does not make; "softDeleted=False" and the like are no choice.
_LEFT_OUT = ("endOffset", "filter", "matchGlob", "softDeleted", "startOffset")


@method(
    id="storage.objects.list",
    verb="GET",
    path="/storage/v1/b/{bucket}/o",
    permission="storage.objects.list",
    on=bucket_of,
    scopes=READ,
)
def list_objects(call: Call) -> Json:
    """List a bucket's objects, one level deep where a delimiter is given."""
    for name in _LEFT_OUT:
        if call.query.get(name, "").lower() not in {"", "false"}:
            raise left_out(f"list parameter {name}")
    bucket, prefix = call.params["bucket"], call.query.get("prefix", "")
    records = {record.value["name"]: record for record in call.universe.store.select(OBJECT, object_key(bucket, prefix))}
    delimiter = call.query.get("delimiter", "")
    chosen, token = page(call.query, folded(records, prefix, delimiter))
    rows = [name for name in records if name in chosen and not (delimiter and delimiter in name[len(prefix) :])]
    items, prefixes = [object_json(call, records[name].value) for name in rows], sorted(chosen.difference(rows))
    found = {name: each for name, each in (("prefixes", prefixes), ("items", items)) if each}
    return {"kind": "storage#objects", **found, **token}


def get_object(call: Call) -> Answer | Json:
    """Show an object, or send its bytes with `alt=media`."""
    record = object_record(call)
    check_preconditions(call.query, record.value, reading=True)
    return media_answer(call, record) if call.query.get("alt") == "media" else object_json(call, record.value)


# At its own address, and at that which Google's clients download from.
GET_METHODS = tuple(
    method(id="storage.objects.get", verb="GET", path=path, permission="storage.objects.get", on=object_of, scopes=READ)(get_object)
    for path in ("/storage/v1/b/{bucket}/o/{object=*}", "/download/storage/v1/b/{bucket}/o/{object=*}")
)


@method(
    id="storage.objects.delete",
    verb="DELETE",
    path="/storage/v1/b/{bucket}/o/{object=*}",
    permission="storage.objects.delete",
    on=object_of,
)
def delete_object(call: Call) -> Answer:
    """Delete an object."""
    record = object_record(call)
    check_preconditions(call.query, record.value)
    return _delete(call, record)


@method(
    id="storage.xml.getObject",
    verb="GET",
    path="/{bucket}/{object=**}",
    permission="storage.objects.get",
    on=addressed_object,
    scopes=READ,
    undocumented="XML API, GET Object: https://cloud.google.com/storage/docs/xml-api/get-object-download",
)
def read_object(call: Call) -> Answer:
    """Send the bytes of an object at its public address."""
    return media_answer(call, object_record(call))


@method(
    id="storage.xml.deleteObject",
    verb="DELETE",
    path="/{bucket}/{object=**}",
    permission="storage.objects.delete",
    on=addressed_object,
    undocumented="XML API, DELETE Object: https://cloud.google.com/storage/docs/xml-api/delete-object",
)
def delete_addressed_object(call: Call) -> Answer:
    """Delete an object by its public address."""
    return _delete(call, object_record(call))


@method(
    id="storage.xml.listObjects",
    verb="GET",
    path="/{bucket}",
    permission="storage.objects.list",
    on=addressed_bucket,
    scopes=READ,
    undocumented="XML API, GET Bucket: https://cloud.google.com/storage/docs/xml-api/get-bucket-list",
)
def list_bucket(call: Call) -> Answer:
    """Refuse to list at the public address; who may not list is told so before this."""
    raise left_out(f"XML list of bucket {call.params['bucket']}: use the JSON API")


def _delete(call: Call, record: Record) -> Answer:
    call.universe.store.delete(OBJECT, record.key, expect=record.revision)
    call.universe.store.drop_blob(record.value["blob"])
    return Answer(204)


def object_record(call: Call) -> Record:
    """Read the object that the path names, in the generation that the query names.

    Raises:
        Fault: 404.
    """
    bucket, name = call.params["bucket"], call.params["object"]
    record = call.universe.store.get(OBJECT, object_key(bucket, name))
    if record is None or call.query.get("generation", "") not in {"", str(record.value["generation"])}:
        raise no_object(bucket, name)
    return record
