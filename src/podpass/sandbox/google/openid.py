# SPDX-License-Identifier: Apache-2.0
"""What verifiers of Google's tokens read: the discovery document of `https://accounts.google.com`, and the keys of service accounts."""

from podpass.sandbox.google.message import Answer, not_found
from podpass.sandbox.google.service import Call, Public, Service, method, methods_of
from podpass.sandbox.google.signing import SigningKey
from podpass.sandbox.store import Json

_PUBLISHED = Public("Google publishes its keys")
_UNDISCOVERED = "no API of the discovery service: OpenID Connect Discovery 1.0"
_CACHED = {"cache-control": "public, max-age=3600"}


@method(
    id="openid.configuration",
    verb="GET",
    path="/.well-known/openid-configuration",
    permission=_PUBLISHED,
    undocumented=_UNDISCOVERED,
)
def configuration(_call: Call) -> Answer:
    """Say where Google's keys and endpoints are."""
    document: Json = {
        "issuer": "https://accounts.google.com",
        "authorization_endpoint": "https://accounts.google.com/o/oauth2/v2/auth",
        "token_endpoint": "https://oauth2.googleapis.com/token",
        "jwks_uri": "https://www.googleapis.com/oauth2/v3/certs",
        "response_types_supported": ["code", "token", "id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }
    return Answer.json(document, headers=_CACHED)


def _key(call: Call) -> SigningKey:
    key = call.universe.account_key(call.params["account"])
    if key is None:
        raise not_found()
    return key


def _account_jwks(call: Call) -> Answer:
    return Answer.json(_key(call).jwks(), headers=_CACHED)


def _account_certificates(call: Call) -> Answer:
    return Answer.json(_key(call).certificates(), headers=_CACHED)


ACCOUNT_KEYS = tuple(
    method(id=f"openid.accounts.{name}", verb="GET", path=path, permission=_PUBLISHED, undocumented=_UNDISCOVERED)(handler)
    for name, path, handler in (
        ("jwk", "/service_accounts/v1/jwk/{account}", _account_jwks),
        ("x509", "/service_accounts/v1/metadata/x509/{account}", _account_certificates),
        ("robot", "/robot/v1/metadata/x509/{account}", _account_certificates),
    )
)

SERVICE = Service(
    name="accounts.google.com",
    title="Google Accounts",
    hosts=("accounts.google.com", "www.googleapis.com"),
    scopes=(),
    methods=methods_of(__name__),
)
