# SPDX-License-Identifier: Apache-2.0
"""How Cloud Storage says no: JSON with an `errors` list on the API's paths, XML where an object is read at its public address.

Texts and reasons are the real service's [M] unless marked.
"""

from xml.sax.saxutils import escape

import msgspec

from podpass.sandbox.google.message import Answer, Fault, Request, google_fault
from podpass.sandbox.google.resource import Resource
from podpass.sandbox.google.service import Call

# First segments of the API's own paths; no bucket can be read at an address that begins with one.
API_SEGMENTS = frozenset({"storage", "upload", "resumable", "download", "batch", "discovery"})

_REASONS = {
    400: "invalid",
    401: "authError",
    403: "forbidden",
    404: "notFound",
    409: "conflict",
    412: "conditionNotMet",
    429: "rateLimitExceeded",
    501: "notImplemented",
}
_LOCATIONS = {401: "Authorization", 412: "If-Match"}
_NOUNS = {"Bucket": "Google Cloud Storage bucket", "Object": "Google Cloud Storage object", "Project": "Google Cloud project"}
_NO_BUCKET = "The specified bucket does not exist."
_XML_CODES = {
    400: ("InvalidArgument", "Invalid argument."),
    401: ("AuthenticationRequired", "Authentication required."),
    403: ("AccessDenied", "Access denied."),
    404: ("NoSuchKey", "The specified key does not exist."),
    416: ("InvalidRange", "The requested range cannot be satisfied."),
    501: ("NotImplemented", "A header or query you provided implies functionality that is not implemented."),
}
# Of signed URLs, by the fault's reason [M].
_XML_REASONS = {
    "ExpiredToken": "The provided token has expired.",
    "MalformedSecurityHeader": "Your request has a malformed header.",
    "SignatureDoesNotMatch": "Access denied.",
}
_UNIFORM = "when uniform bucket-level access is enabled. Read more at https://cloud.google.com/storage/docs/uniform-bucket-level-access"


def refused(message: str, reason: str = "invalid") -> Fault:
    """Make the 400 for a request that makes no sense."""
    return Fault(400, "INVALID_ARGUMENT", message, reason=reason)


def left_out(what: str) -> Fault:
    """Make the 501 for a part of a method that this universe does not have."""
    return Fault(501, "UNIMPLEMENTED", f"The sandbox's Cloud Storage has no {what}. It holds what podpass and its examples need.")


def no_bucket() -> Fault:
    """Make the 404 for a bucket that is not there."""
    return Fault(404, "NOT_FOUND", _NO_BUCKET)


def no_object(bucket: str, name: str) -> Fault:
    """Make the 404 for an object that is not there."""
    return Fault(404, "NOT_FOUND", f"No such object: {bucket}/{name}")


def condition_not_met(message: str = "At least one of the pre-conditions you specified did not hold.") -> Fault:
    """Make the 412 for a state that the caller, or the bucket's own rule, did not want."""
    return Fault(412, "FAILED_PRECONDITION", message)


def uniform_access() -> Fault:
    """Make the 400 for an object ACL where the bucket's policy alone decides."""
    return refused(f"Cannot insert legacy ACL for an object {_UNIFORM}")


def public_access_prevented() -> Fault:
    """Make the 412 for a public grant where public access prevention is enforced."""
    return condition_not_met(
        "The member bindings allUsers and allAuthenticatedUsers are not allowed since public access prevention is enforced."
    )


def denial(call: Call, permission: str, resource: Resource) -> Fault:
    """Refuse a permission: 401 for an anonymous caller [K], 403 for anybody else."""
    anonymous = call.caller.anonymous
    who = "Anonymous caller" if anonymous else call.caller.name
    message = (
        f"{who} does not have {permission} access to the {_NOUNS[resource.type.rpartition('/')[2]]}. "
        f"Permission '{permission}' denied on resource (or it may not exist)."
    )
    return Fault(401, "UNAUTHENTICATED", message, reason="required") if anonymous else Fault(403, "PERMISSION_DENIED", message)


def render(fault: Fault, request: Request) -> Answer:
    """Write a refusal in the form that belongs to the path."""
    return _json(fault, request) if request.path.split("/")[1] in API_SEGMENTS else _xml(fault)


def _json(fault: Fault, request: Request) -> Answer:
    short = fault.reason if fault.reason and not fault.reason.isupper() else _REASONS.get(fault.code, "backendError")
    entry = {"message": fault.message, "domain": "global", "reason": short}
    if fault.code in _LOCATIONS:
        entry |= {"locationType": "header", "location": _LOCATIONS[fault.code]}
    error = {"code": fault.code, "message": fault.message, "errors": [entry]}
    if fault.reason.isupper():  # an ErrorInfo that every Google API has, such as SERVICE_DISABLED
        error = msgspec.json.decode(google_fault(fault, request).body)["error"] | error
    return Answer.json({"error": error}, fault.code, fault.headers)


def _xml(fault: Fault) -> Answer:
    # The XML API answers an anonymous caller's refusal with 403, not 401 [K]; the text is the same [M].
    status = 403 if fault.reason == "required" else fault.code
    code, message = _XML_CODES.get(status, ("InternalError", "We encountered an internal error."))
    if fault.reason in _XML_REASONS:
        code, message = fault.reason, _XML_REASONS[fault.reason]
    details = f"<Details>{escape(fault.message)}</Details>"
    if fault.message == _NO_BUCKET:
        code, message, details = "NoSuchBucket", _NO_BUCKET, ""
    body = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{message}</Message>{details}</Error>"
    return Answer(status, body.encode(), {"content-type": "application/xml; charset=UTF-8", **fault.headers})
