# SPDX-License-Identifier: Apache-2.0
"""The `token` subresource of service accounts: a TokenRequest in, a bound token out."""

from datetime import timedelta
from typing import Final
from uuid import uuid4

from podpass.sandbox.kubernetes.kind import Json, timestamp
from podpass.sandbox.kubernetes.kinds import NODE, POD, SECRET, SERVICE_ACCOUNT
from podpass.sandbox.kubernetes.kinds.pods import TOKEN_LIFE_S
from podpass.sandbox.kubernetes.objects import Objects
from podpass.sandbox.kubernetes.status import StatusError, conflict, invalid, invalid_value
from podpass.sandbox.token_issuer import TokenIssuer

_LEAST_LIFE_S: Final = 600
_DEFAULT_LIFE_S: Final = 3600
# --service-account-extend-token-expiration, on by default: an API token that asks for exactly 3607 s lives a year and warns before.
_EXTENDED_LIFE_S: Final = 365 * 24 * 3600
_BINDABLE: Final = {("v1", "Pod"): POD, ("v1", "Secret"): SECRET, ("v1", "Node"): NODE}


def create_token(objects: Objects, issuer: TokenIssuer, namespace: str, name: str, request: Json) -> Json:
    """Return the request with its status: the token, and when to renew it.

    Raises:
        StatusError: 404 for the account or the bound object, 409 for another uid, 422 for a life under 10 minutes.
    """
    account = objects.get(SERVICE_ACCOUNT, namespace, name)
    spec: Json = {"audiences": [], "boundObjectRef": None, **(request.get("spec") or {})}
    audiences = spec["audiences"] or list(issuer.issuers)
    life_s = spec.get("expirationSeconds") or _DEFAULT_LIFE_S
    if life_s < _LEAST_LIFE_S:
        cause = invalid_value("spec.expirationSeconds", life_s, "may not specify a duration less than 10 minutes")
        raise invalid("TokenRequest", "authentication.k8s.io", "", [cause])
    bound = _bound(objects, namespace, name, spec["boundObjectRef"])
    extended = life_s == TOKEN_LIFE_S and "pod" in bound and set(audiences) <= set(issuer.issuers)
    now = objects.clock.now()
    claims = _claims(account, bound, audiences, int(now.timestamp()), life_s, extended=extended)
    metadata = {"name": name, "namespace": namespace, "uid": account["metadata"]["uid"], "creationTimestamp": timestamp(now)}
    return {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": metadata,
        "spec": {**spec, "audiences": audiences, "expirationSeconds": life_s},
        "status": {"token": issuer.sign(claims), "expirationTimestamp": timestamp(now + timedelta(seconds=life_s))},
    }


def _claims(account: Json, bound: dict[str, Json], audiences: list[str], now_s: int, life_s: int, *, extended: bool) -> Json:
    namespace, name = account["metadata"]["namespace"], account["metadata"]["name"]
    private: Json = {"namespace": namespace, "serviceaccount": _reference(account), **bound}
    if extended:
        private["warnafter"] = now_s + life_s
    return {
        "aud": audiences,
        "exp": now_s + (_EXTENDED_LIFE_S if extended else life_s),
        "iat": now_s,
        "jti": str(uuid4()),
        "kubernetes.io": private,
        "nbf": now_s,
        "sub": f"system:serviceaccount:{namespace}:{name}",
    }


def _bound(objects: Objects, namespace: str, account: str, reference: Json | None) -> dict[str, Json]:
    """Return the claims about the object that a token is bound to; a pod brings its node along."""
    if not reference:
        return {}
    api_version, kind_name = reference.get("apiVersion", "v1"), reference.get("kind", "")
    kind = _BINDABLE.get((api_version, kind_name))
    if kind is None:
        raise StatusError(400, f"cannot bind token to object of type {api_version}, Kind={kind_name}")
    obj = objects.get(kind, namespace if kind.namespaced else "", reference.get("name", ""))
    if kind is POD and obj["spec"]["serviceAccountName"] != account:
        raise StatusError(400, f'cannot bind token for serviceaccount "{account}" to pod running with different serviceaccount name.')
    uid = obj["metadata"]["uid"]
    if reference.get("uid") not in {None, "", uid}:
        why = f"the UID in the bound object reference ({reference['uid']}) does not match the UID in record."
        raise conflict(kind.name, "", reference["name"], f"{why} The object might have been deleted and then recreated")
    bound = {kind.name.lower(): _reference(obj)}
    if kind is POD and (node_name := obj["spec"].get("nodeName")):
        node = objects.find(NODE, "", node_name)
        bound["node"] = _reference(node) if node else {"name": node_name}
    return bound


def _reference(obj: Json) -> Json:
    return {"name": obj["metadata"]["name"], "uid": obj["metadata"]["uid"]}
