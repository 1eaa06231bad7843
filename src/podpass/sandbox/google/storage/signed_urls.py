# SPDX-License-Identifier: Apache-2.0
"""Signed URLs, V4: a query that a service account has signed stands for that account until it expires (google-behaviour: storage).

Judged: form, time, that every `x-goog-` header is signed, the signature by the account's own key over verb, path, query and headers; then
IAM asks what the account may, as for a token. Only the XML API's addresses (`/BUCKET/OBJECT`) take them [R].
"""

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import parse_qsl, quote

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from podpass.sandbox.google.caller import Caller
from podpass.sandbox.google.message import Fault, Request
from podpass.sandbox.google.storage.refusals import API_SEGMENTS
from podpass.sandbox.google.universe import Universe

_ALGORITHM: Final = "GOOG4-RSA-SHA256"
_MEMBERS: Final = tuple(f"X-Goog-{name}" for name in ("Credential", "Date", "Expires", "SignedHeaders", "Signature"))
_CREDENTIAL: Final = re.compile(r"(?P<email>[^/]+)/(?P<scope>(?P<day>\d{8})/[a-z0-9-]+/storage/goog4_request)")
_LONGEST: Final = timedelta(days=7)
_EARLY: Final = timedelta(minutes=15)  # [K]
_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2})+")


def signer_of(universe: Universe, request: Request) -> Caller | None:
    """Return the account that has signed a request's query; None for a request that is not signed so.

    Raises:
        Fault: It is signed, and not well.
    """
    pairs = parse_qsl(request.query, keep_blank_values=True)
    given = dict(pairs)
    if "X-Goog-Algorithm" not in given or request.path.split("/")[1] in API_SEGMENTS:
        return None
    if len(given) != len(pairs) or given["X-Goog-Algorithm"] != _ALGORITHM or not all(name in given for name in _MEMBERS):
        raise _malformed(f"The query must have {', '.join(_MEMBERS)}, once each, and X-Goog-Algorithm={_ALGORITHM}.")
    credential = _CREDENTIAL.fullmatch(given["X-Goog-Credential"])
    if not credential or not given["X-Goog-Date"].startswith(credential["day"]):
        raise _malformed("X-Goog-Credential must be EMAIL/DAY/REGION/storage/goog4_request with the day of X-Goog-Date.")
    _check_time(given, universe.clock.now())
    names = given["X-Goog-SignedHeaders"].split(";")
    _check_headers(names, request.headers)
    canonical = _canonical(request, pairs, names)
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join((_ALGORITHM, given["X-Goog-Date"], credential["scope"], digest))
    _check_signature(universe, credential["email"], given["X-Goog-Signature"], text)
    caller = universe.identities.account(credential["email"])
    if caller is None:
        raise _mismatch()
    return caller


def _check_time(given: Mapping[str, str], now: datetime) -> None:
    try:
        began = datetime.strptime(given["X-Goog-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        life = timedelta(seconds=int(given["X-Goog-Expires"]))
    except (ValueError, OverflowError):
        raise _malformed("X-Goog-Date must be like 20260301T120000Z, X-Goog-Expires a number of seconds.") from None
    if not timedelta(0) < life <= _LONGEST:
        raise _malformed("X-Goog-Expires must be between 1 and 604800 seconds.")  # [R]
    if began > now + _EARLY:
        raise _malformed("X-Goog-Date lies in the future.")
    if now >= began + life:
        ended = (began + life).strftime("%Y-%m-%dT%H:%M:%S+0000")
        raise Fault(400, "INVALID_ARGUMENT", f"Request signature expired at: {ended}", reason="ExpiredToken")  # [M]


def _check_headers(names: list[str], headers: Mapping[str, str]) -> None:
    if "host" not in names or names != sorted({name.lower() for name in names}):
        raise _malformed("X-Goog-SignedHeaders must name host, in small letters, in order, each once.")
    for name in headers:
        if name.startswith("x-goog-") and name not in names:
            text = f"Header was included in the request, but not in signedheaders. ParameterName: {name}"
            raise Fault(400, "INVALID_ARGUMENT", text, reason="MalformedSecurityHeader")  # [M]
    for name in names:
        if name not in headers:
            text = f"Header was included in signedheaders, but not in the request. ParameterName: {name}"
            raise Fault(400, "INVALID_ARGUMENT", text, reason="MalformedSecurityHeader")  # [M]


def _canonical(request: Request, pairs: list[tuple[str, str]], names: list[str]) -> str:
    """Write a request in the one form that is signed (Cloud Storage: canonical requests [R])."""
    query = sorted((quote(name, safe=""), quote(value, safe="")) for name, value in pairs if name != "X-Goog-Signature")
    payload = request.headers.get("x-goog-content-sha256", "UNSIGNED-PAYLOAD")
    if payload != "UNSIGNED-PAYLOAD" and payload != hashlib.sha256(request.body).hexdigest():
        raise _malformed("The body does not have the digest that x-goog-content-sha256 says.")
    return "\n".join(
        (
            request.verb,
            request.path,
            "&".join(f"{name}={value}" for name, value in query),
            *(f"{name}:{' '.join(request.headers[name].split())}" for name in names),
            "",
            ";".join(names),
            payload,
        )
    )


def _check_signature(universe: Universe, email: str, signature: str, text: str) -> None:
    key = universe.account_key(email)
    if key is None or not _HEX.fullmatch(signature):
        raise _mismatch()
    try:
        key.public_key.verify(bytes.fromhex(signature), text.encode(), padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        raise _mismatch() from None


def _malformed(text: str) -> Fault:
    return Fault(400, "INVALID_ARGUMENT", text, reason="AuthenticationRequired")  # [?]


def _mismatch() -> Fault:
    text = "The request signature we calculated does not match the signature you provided. Check your Google secret key and signing method."
    return Fault(403, "PERMISSION_DENIED", text, reason="SignatureDoesNotMatch")  # [M]
