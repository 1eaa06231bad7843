# SPDX-License-Identifier: Apache-2.0
"""The security token service: a subject token in, a federated token out (google-behaviour: STS). `wif` judges; this answers."""

from collections.abc import Mapping

import msgspec

from podpass.errors import ConfigError
from podpass.names import PoolName, ProviderName
from podpass.sandbox.google.caller import CLOUD_PLATFORM
from podpass.sandbox.google.message import Answer, Fault, Query, Request, google_fault
from podpass.sandbox.google.resource import Resource, project_resource
from podpass.sandbox.google.service import Call, Public, Service, method, methods_of
from podpass.sandbox.store import Json
from podpass.wif import Provider, judge_exchange

_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - the name of a type
_SUBJECT_TOKENS = frozenset({"urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token"})
# The members of a JSON body and the fields of a form: one is the camel case of the other [R].
_FIELDS = {
    "grantType": "grant_type",
    "requestedTokenType": "requested_token_type",
    "subjectToken": "subject_token",
    "subjectTokenType": "subject_token_type",
    "tokenTypeHint": "token_type_hint",
}
_OPTIONS_LIMIT = 4096  # google-behaviour: STS [R]
_LAST_MOMENT_S = 2


def oauth_fault(fault: Fault, request: Request) -> Answer:
    """Render a refusal as an OAuth error; what Google's front ends say, in capitals, has Google's own form here, too [M]."""
    if fault.status.isupper():
        return google_fault(fault, request)
    return Answer.json({"error": fault.status, "error_description": fault.message}, fault.code, fault.headers)


def form(call: Call) -> Mapping[str, str]:
    """Read a body of either content type under the form's names; what is not text does not count.

    Raises:
        Fault: `invalid_request`.
    """
    if "json" not in call.request.headers.get("content-type", ""):
        return Query(call.request.body.decode(errors="replace"))
    try:
        body = msgspec.json.decode(call.request.body, type=Json)
    except msgspec.DecodeError:
        raise _bad("Invalid JSON payload received.") from None
    return {_FIELDS.get(name, name): value for name, value in body.items() if isinstance(value, str)}


def _bad(text: str) -> Fault:
    return Fault(400, "invalid_request", text)


def _check_shape(fields: Mapping[str, str]) -> None:
    if fields.get("grant_type") != _EXCHANGE:
        raise Fault(400, "unsupported_grant_type", f'Invalid value for "grant_type". It must be {_EXCHANGE}.')  # [?]
    if fields.get("requested_token_type") != _ACCESS_TOKEN:
        raise _bad(f'Invalid value for "requested_token_type". It must be {_ACCESS_TOKEN}.')  # [?]
    if fields.get("subject_token_type") not in _SUBJECT_TOKENS:
        raise _bad('Invalid value for "subject_token_type".')  # [?]
    if not fields.get("scope"):
        raise Fault(400, "invalid_scope", 'Invalid value for "scope". It is required for the credentials of a workload.')  # [?]
    if len(fields.get("options", "")) > _OPTIONS_LIMIT:
        raise _bad(f'Invalid value for "options". It has more than {_OPTIONS_LIMIT} characters.')  # [?]


def _project(call: Call) -> Resource:
    """Name the pool's project, which has to have this API on [R]; that it is this project is not known [?]."""
    try:
        name = ProviderName.parse(form(call).get("audience", ""))
    except (ConfigError, Fault):
        return project_resource("")  # the handler tells what is wrong
    return project_resource(call.universe.project_id(name.pool.project))


@method(id="sts.token", verb="POST", path="/v1/token", permission=Public("the subject token is the credential"), on=_project)
def exchange(call: Call) -> Json:
    """Exchange a subject token for a federated token."""
    if call.request.headers.get("authorization", "").lower().startswith("bearer"):
        raise _bad("A bearer token cannot authenticate a token exchange.")  # [?] the text; that it can be refused [R]
    fields = form(call)
    _check_shape(fields)
    universe, now = call.universe, call.universe.clock.now()
    audience, subject_token = fields.get("audience", ""), fields.get("subject_token", "")
    judgement = judge_exchange(
        audience, subject_token, lambda name: find_provider(call, name), lambda issuer: universe.issuer_keys.of(issuer, call.ask), now
    )
    if judgement.refusal:
        raise Fault(judgement.refusal.http_status, judgement.refusal.code, judgement.refusal.description)
    pool, lifetime_s = numbered(call, ProviderName.parse(audience)).pool, judgement.expires_in_s
    token = universe.identities.federated_token(pool, judgement, fields["scope"].split(), lifetime_s or _LAST_MOMENT_S)
    answer: Json = {"access_token": token, "issued_token_type": _ACCESS_TOKEN, "token_type": "Bearer"}
    return answer if lifetime_s is None else {**answer, "expires_in": lifetime_s}


def numbered(call: Call, name: ProviderName) -> ProviderName:
    """Return the name with the project's number, as Google writes it."""
    project = call.universe.project(name.pool.project)
    number = project["projectNumber"] if project else name.pool.project
    return PoolName(number, name.pool.pool).provider(name.provider)


def find_provider(call: Call, name: ProviderName) -> Provider | None:
    """Read a provider, by its project's number or id, with the state of its pool; None when either is not there."""
    name = numbered(call, name)
    pool = call.universe.store.get("pool", str(name.pool))
    provider = call.universe.store.get("provider", str(name))
    if pool is None or provider is None:
        return None
    value, oidc = provider.value, provider.value.get("oidc", {})
    return Provider(
        name=name,
        issuer_uri=oidc.get("issuerUri", ""),
        attribute_mapping=value.get("attributeMapping", {}),
        attribute_condition=value.get("attributeCondition"),
        allowed_audiences=tuple(oidc.get("allowedAudiences", ())),
        jwks_json=oidc.get("jwksJson"),
        disabled=bool(value.get("disabled")),
        deleted=value["state"] != "ACTIVE",
        pool_disabled=bool(pool.value.get("disabled")),
        pool_deleted=pool.value["state"] != "ACTIVE",
    )


@method(
    id="sts.introspect",
    verb="POST",
    path="/v1/introspect",
    permission=Public("whoever has a token may ask what it is"),
    undocumented="google-behaviour: STS [R]: v1/introspect, called by gcloud for accounts without impersonation",
)
def introspect(call: Call) -> Json:
    """Say whose a federated token is."""
    token = form(call).get("token", "")
    facts, caller = call.universe.identities.facts(token), call.universe.identities.bearer(token)
    if facts is None or caller is None:
        return {"active": False}
    return {
        "active": True,
        "username": caller.name,
        "sub": facts.get("subject", caller.name),
        "scope": " ".join(facts["scopes"]),
        "iss": "https://sts.googleapis.com/",
        "iat": facts["iat"],
        "exp": facts["exp"],
        "client_id": "",
    }


SERVICE = Service(
    name="sts.googleapis.com",
    title="Security Token Service API",
    discovery="sts.v1",
    scopes=(CLOUD_PLATFORM,),
    methods=methods_of(__name__),
    fault=oauth_fault,
)
