# SPDX-License-Identifier: Apache-2.0
"""An object's bytes as an HTTP answer: the same for `alt=media`, `/download/…` and the public address."""

import base64

from podpass.sandbox.google.message import Answer, Fault
from podpass.sandbox.google.service import Call
from podpass.sandbox.google.storage.byte_range import UnsatisfiableRangeError, select
from podpass.sandbox.google.storage.resources import readable_by_all
from podpass.sandbox.store import Record

_OWN_HEADERS = {"content-disposition": "contentDisposition", "content-encoding": "contentEncoding", "content-language": "contentLanguage"}


def media_answer(call: Call, record: Record) -> Answer:
    """Send an object's bytes, or the range of them that is asked for.

    What anybody may read, caches may keep for an hour, unless the object itself says otherwise [K].

    Raises:
        Fault: 416.
    """
    value, media = record.value, call.universe.store.blob(record.value["blob"])
    headers = {
        "content-type": value["contentType"],
        "cache-control": value.get("cacheControl") or ("public, max-age=3600" if readable_by_all(call) else "private, max-age=0"),
        "etag": f'"{base64.b64decode(value["md5Hash"]).hex()}"',
        "accept-ranges": "bytes",
        "x-goog-generation": str(value["generation"]),
        "x-goog-metageneration": str(value["metageneration"]),
        "x-goog-hash": f"crc32c={value['crc32c']},md5={value['md5Hash']}",
        "x-goog-storage-class": value["storageClass"],
        "x-goog-stored-content-encoding": value.get("contentEncoding", "identity"),
        "x-goog-stored-content-length": str(len(media)),
    }
    headers |= {name: value[kept] for name, kept in _OWN_HEADERS.items() if kept in value}
    headers |= {f"x-goog-meta-{name}": str(text) for name, text in (value.get("metadata") or {}).items()}
    try:
        chosen = select(call.request.headers.get("range", ""), len(media))
    except UnsatisfiableRangeError:
        reason, size = "requestedRangeNotSatisfiable", {"content-range": f"bytes */{len(media)}"}
        raise Fault(416, "OUT_OF_RANGE", "Request range not satisfiable", reason=reason, headers=size) from None
    if chosen is None:
        return Answer(200, media, headers)
    first, last = chosen
    return Answer(206, media[first : last + 1], {**headers, "content-range": f"bytes {first}-{last}/{len(media)}"})
