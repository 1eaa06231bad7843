# SPDX-License-Identifier: Apache-2.0
"""The body of a multipart upload: an object's metadata and its media in one `multipart/related` message.

Python's `email` would alter the media (line ends, final newline) and fails on one of the two dialects that Google's own clients speak,
so the message is cut by its delimiters and nothing else is touched.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Self

_BOUNDARY = re.compile(r""";\s*boundary=(?:"([^"]+)"|([^;\s]+))""", re.IGNORECASE)


class MalformedRelatedError(ValueError):
    """Not a `multipart/related` message of two parts, the first one JSON."""


@dataclass(frozen=True, slots=True)
class RelatedUpload:
    """What a multipart upload carries.

    Attributes:
        metadata: The JSON object of the first part.
        media_type: The second part's own Content-Type, if it has one.
        media: The second part, byte for byte.
    """

    metadata: dict[str, Any]
    media_type: str | None
    media: bytes

    @classmethod
    def parse(cls, content_type: str, body: bytes) -> Self:
        """Cut `body` at the boundary that `content_type` names.

        gcloud and gsutil put the boundary in single quotes (which RFC 2046 would count as part of it) and end lines with a bare LF;
        Python's client uses double quotes and CRLF. [O]

        Raises:
            MalformedRelatedError: No boundary, no two parts, no end, or metadata that is not a JSON object.
        """
        delimiter = _delimiter(content_type, body)
        newline = b"\r\n" if body.startswith(b"\r\n", len(delimiter)) else b"\n"
        inner = newline + delimiter
        middle, end = body.find(inner), body.rfind(inner + b"--")
        if not 0 < middle < end:
            raise MalformedRelatedError("Missing end boundary in multipart body.")
        head, media = _cut(body[middle + len(inner) + len(newline) : end], newline)
        _, metadata = _cut(body[len(delimiter) + len(newline) : middle], newline)
        return cls(_json_object(metadata), head.get("content-type"), media)


def _delimiter(content_type: str, body: bytes) -> bytes:
    found = _BOUNDARY.search(content_type)
    named = (found[1] or found[2]) if found else ""
    for boundary in (named, named.strip("'")):
        if boundary and body.startswith(b"--" + boundary.encode()):
            return b"--" + boundary.encode()
    raise MalformedRelatedError("Multipart content-type does not name the boundary that the body begins with.")


def _cut(part: bytes, newline: bytes) -> tuple[dict[str, str], bytes]:
    """Separate a part's header fields, which may be none, from its content."""
    if part.startswith(newline):
        return {}, part[len(newline) :]
    head, separator, content = part.partition(newline * 2)
    if not separator:
        raise MalformedRelatedError("A part of the multipart body has no end of its header.")
    fields = (line.partition(":") for line in head.decode("latin-1").splitlines())
    return {name.strip().lower(): value.strip() for name, _, value in fields}, content


def _json_object(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text or b"{}")
    except ValueError as error:
        raise MalformedRelatedError("Parse Error") from error
    if not isinstance(value, dict):
        raise MalformedRelatedError("Parse Error")
    return value
