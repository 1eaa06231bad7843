# SPDX-License-Identifier: Apache-2.0
"""IAM Credentials: tokens of service accounts for whoever may act as them (google-behaviour: credentials, errors)."""

import base64
import re
from datetime import timedelta

import msgspec

from podpass.sandbox.google.caller import CLOUD_PLATFORM
from podpass.sandbox.google.message import Fault, invalid, not_found, unimplemented
from podpass.sandbox.google.service import Call, Public, Service, method, methods_of
from podpass.sandbox.google.service_accounts import account_resource
from podpass.sandbox.google.signing import SigningKey
from podpass.sandbox.store import Json

_ID = "iamcredentials.projects"
_ACCOUNT = "/v1/projects/{project}/serviceAccounts/{account}"
_POOL = "/v1/projects/{project}/locations/global/workloadIdentityPools/{pool}"
_LIFETIME = re.compile(r"(\d{1,9})(?:\.\d{1,9})?s")
_LONGEST_S = 3600
_ID_TOKEN_S = 3600
_LONGEST_JWT_S = 12 * 3600  # signJwt [R]
_STANDARD = str.maketrans("-_", "+/")


def _account(call: Call) -> Json:
    """Read the account; whoever got here has the permission, and so may learn that there is none."""
    if call.json().get("delegates"):
        raise unimplemented(call.request)
    email = call.on.name.rpartition("/")[2]
    record = call.universe.store.get("serviceAccount", email)
    if record is None:
        raise not_found(f"Not found; Gaia id not found for email {email}")
    if record.value.get("disabled"):
        raise Fault(400, "FAILED_PRECONDITION", "Service account is disabled.")  # [?]
    return record.value


def _lifetime_s(body: Json) -> int:
    found = _LIFETIME.fullmatch(str(body.get("lifetime") or "3600s"))
    if not found:
        raise invalid(f"Invalid value at 'lifetime' (type.googleapis.com/google.protobuf.Duration), {body['lifetime']!r}")  # [K]
    seconds = int(found[1])
    if seconds == 0:
        raise invalid("Lifetime of access token must be larger then zero.")  # sic [M]
    if seconds > _LONGEST_S:
        raise invalid(  # [?] the wording; what it says [M]
            "The requested lifetime is too long: access tokens cannot have lifetimes of more than 1 hour. To allow up to 12 hours, add the "
            "service account to the constraint constraints/iam.allowServiceAccountCredentialLifetimeExtension."
        )
    return seconds


@method(
    id=f"{_ID}.serviceAccounts.generateAccessToken",
    verb="POST",
    path=_ACCOUNT + ":generateAccessToken",
    permission="iam.serviceAccounts.getAccessToken",
    on=account_resource,
)
def generate_access_token(call: Call) -> Json:
    """Issue an access token of the account."""
    account, body = _account(call), call.json()
    scopes = body.get("scope")
    if not isinstance(scopes, list) or not scopes:
        raise invalid("Scope required.")  # [?]
    lifetime_s = _lifetime_s(body)
    token = call.universe.identities.account_token(account, [str(each) for each in scopes], lifetime_s)
    expires = call.universe.clock.now() + timedelta(seconds=lifetime_s)
    # Neither fraction nor offset: google-auth reads no other form (google-behaviour: credentials).
    return {"accessToken": token, "expireTime": expires.strftime("%Y-%m-%dT%H:%M:%SZ")}


@method(
    id=f"{_ID}.serviceAccounts.generateIdToken",
    verb="POST",
    path=_ACCOUNT + ":generateIdToken",
    permission="iam.serviceAccounts.getOpenIdToken",
    on=account_resource,
)
def generate_id_token(call: Call) -> Json:
    """Issue an ID token of the account, signed by Google."""
    account, body = _account(call), call.json()
    audience = body.get("audience")
    if not isinstance(audience, str) or not audience:
        raise invalid("Audience required.")  # [?]
    now = int(call.universe.clock.now().timestamp())
    unique_id = account["uniqueId"]
    claims: Json = {
        "aud": audience,
        "azp": unique_id,
        "exp": now + _ID_TOKEN_S,
        "iat": now,
        "iss": "https://accounts.google.com",
        "sub": unique_id,
    }
    if body.get("includeEmail"):
        claims |= {"email": account["email"], "email_verified": True}
    return {"token": call.universe.signing_key.sign(claims)}


@method(
    id=f"{_ID}.serviceAccounts.signBlob",
    verb="POST",
    path=_ACCOUNT + ":signBlob",
    permission="iam.serviceAccounts.signBlob",
    on=account_resource,
)
def sign_blob(call: Call) -> Json:
    """Sign bytes with the key that Google manages for the account."""
    account, body = _account(call), call.json()
    try:
        payload = base64.b64decode(str(body.get("payload", "")).translate(_STANDARD), validate=True)
    except ValueError:
        raise invalid("Invalid value at 'payload' (TYPE_BYTES), Base64 decoding failed.") from None  # [K]
    key = _key(call, account)
    return {"keyId": key.kid, "signedBlob": base64.b64encode(key.sign_bytes(payload)).decode()}


@method(
    id=f"{_ID}.serviceAccounts.signJwt",
    verb="POST",
    path=_ACCOUNT + ":signJwt",
    permission="iam.serviceAccounts.signJwt",
    on=account_resource,
)
def sign_jwt(call: Call) -> Json:
    """Sign a JWT's claims with the key that Google manages for the account."""
    account, body = _account(call), call.json()
    try:
        claims = msgspec.json.decode(str(body.get("payload", "")), type=Json)
    except msgspec.DecodeError:
        raise invalid("Invalid payload: it is not a JSON object.") from None  # [?]
    expires, now = claims.get("exp", 0), int(call.universe.clock.now().timestamp())
    if "exp" in claims and not (type(expires) is int and now <= expires <= now + _LONGEST_JWT_S):
        raise invalid("Invalid payload: exp must be a whole number, not in the past and at most 12 hours ahead.")  # the rule [R], words [?]
    key = _key(call, account)
    return {"keyId": key.kid, "signedJwt": key.sign(claims)}


def _key(call: Call, account: Json) -> SigningKey:
    key = call.universe.account_key(account["email"])
    assert key is not None
    return key


_EVERYWHERE = Public("where a token may be used is no secret", authenticated=True)


@method(id=f"{_ID}.serviceAccounts.getAllowedLocations", verb="GET", path=_ACCOUNT + "/allowedLocations", permission=_EVERYWHERE)
def account_locations(_call: Call) -> Json:
    """Say that an account may be used everywhere."""
    return {"locations": [], "encodedLocations": "0x0"}


@method(
    id=f"{_ID}.locations.workloadIdentityPools.getAllowedLocations", verb="GET", path=_POOL + "/allowedLocations", permission=_EVERYWHERE
)
def pool_locations(_call: Call) -> Json:
    """Say that a pool's workloads may be anywhere."""
    return {"locations": [], "encodedLocations": "0x0"}


SERVICE = Service(
    name="iamcredentials.googleapis.com",
    title="IAM Service Account Credentials API",
    discovery="iamcredentials.v1",
    # What the client libraries ask for when they impersonate (google-behaviour: STS).
    scopes=(CLOUD_PLATFORM, "https://www.googleapis.com/auth/iam"),
    methods=methods_of(__name__),
)
