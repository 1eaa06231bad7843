# SPDX-License-Identifier: Apache-2.0
"""Google's OAuth endpoints, as far as a logged-in operator's tools need them: a refresh token for an access token, and Google's keys."""

from podpass.sandbox.google.caller import CLOUD_PLATFORM
from podpass.sandbox.google.identities import user_id
from podpass.sandbox.google.message import Answer, Fault
from podpass.sandbox.google.service import Call, Public, Service, method, methods_of
from podpass.sandbox.google.sts import form, oauth_fault
from podpass.sandbox.google.tokens import Tokens
from podpass.sandbox.store import Json

# gcloud's own OAuth client, the audience of a logged-in user's ID tokens; it is no secret [O].
GCLOUD_CLIENT = "32555940559.apps.googleusercontent.com"
_LIFETIME_S = 3599
_UNDISCOVERED = "no API of the discovery service: RFC 6749, OpenID Connect"
_CREDENTIAL = Public("the token in the request is the credential")
_CACHED = {"cache-control": "public, max-age=3600"}
_KEYS = Public("Google publishes its keys")
_SCOPES = [CLOUD_PLATFORM, "https://www.googleapis.com/auth/userinfo.email", "openid"]


def refresh_token(tokens: Tokens, email: str) -> str:
    """Make the refresh token of a user who is logged in."""
    return tokens.seal({"user": email}, "refresh")


@method(id="oauth2.token", verb="POST", path="/token", permission=_CREDENTIAL, undocumented=_UNDISCOVERED)
def token(call: Call) -> Json:
    """Give a new access token for a refresh token; no other grant is known here."""
    fields = form(call)
    if fields.get("grant_type") != "refresh_token":
        raise Fault(400, "unsupported_grant_type", f"Invalid grant_type: {fields.get('grant_type', '')}")
    facts = call.universe.tokens.open(fields.get("refresh_token", ""), "refresh")
    if facts is None:
        raise Fault(400, "invalid_grant", "Token has been expired or revoked.")
    scopes = fields.get("scope", "").split() or _SCOPES
    access = call.universe.identities.user_token(facts["user"], scopes, _LIFETIME_S)
    answer: Json = {"access_token": access, "expires_in": _LIFETIME_S, "scope": " ".join(scopes), "token_type": "Bearer"}
    if "openid" in scopes:
        answer["id_token"] = _id_token(call, facts["user"], fields.get("client_id", ""))
    return answer


def _id_token(call: Call, email: str, client: str) -> str:
    now = int(call.universe.clock.now().timestamp())
    claims = {"iss": "https://accounts.google.com", "azp": client, "aud": client, "sub": user_id(email)}
    who = {"hd": email.rpartition("@")[2], "email": email, "email_verified": True}
    return call.universe.signing_key.sign({**claims, **who, "iat": now, "exp": now + _LIFETIME_S + 1})


@method(id="oauth2.tokeninfo", verb="GET", path="/tokeninfo", permission=_CREDENTIAL, undocumented=_UNDISCOVERED)
def tokeninfo(call: Call) -> Json:
    """Say whose an access token is; federated tokens are not known here (google-behaviour: STS)."""
    caller = call.universe.identities.bearer(call.query.get("access_token", ""))
    if caller is None or caller.email is None:
        raise Fault(400, "invalid_token", "Invalid Value")
    left_s = caller.expires_at_s - int(call.universe.clock.now().timestamp())
    return {"email": caller.email, "email_verified": "true", "expires_in": str(left_s), "scope": " ".join(sorted(caller.scopes))}


@method(id="oauth2.certs", verb="GET", path="/oauth2/v1/certs", permission=_KEYS, undocumented=_UNDISCOVERED)
def certs(call: Call) -> Answer:
    """Publish Google's keys as certificates."""
    return Answer.json(call.universe.signing_key.certificates(), headers=_CACHED)


@method(id="oauth2.certs.v3", verb="GET", path="/oauth2/v3/certs", permission=_KEYS, undocumented=_UNDISCOVERED)
def certs_v3(call: Call) -> Answer:
    """Publish Google's keys as a JWKS."""
    return Answer.json(call.universe.signing_key.jwks(), headers=_CACHED)


SERVICE = Service(
    name="oauth2.googleapis.com",
    title="Google OAuth2 API",
    hosts=("oauth2.googleapis.com", "www.googleapis.com"),
    methods=methods_of(__name__),
    fault=oauth_fault,
)
