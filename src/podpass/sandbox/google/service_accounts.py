# SPDX-License-Identifier: Apache-2.0
"""IAM v1: service accounts (google-behaviour: accounts). An email can be used again; what tells two accounts apart is the unique id."""

import base64
import secrets

from podpass.sandbox.google.message import Answer, Fault, exists, not_found
from podpass.sandbox.google.paging import page
from podpass.sandbox.google.policy_methods import get_policy, set_policy, test_permissions
from podpass.sandbox.google.resource import Resource, project_resource
from podpass.sandbox.google.service import Call, Handler, Public, method
from podpass.sandbox.google.soft_deleted import refuse_violations
from podpass.sandbox.google.universe import Universe
from podpass.sandbox.store import Json, Record
from podpass.wif.limits import check_service_account

_ID = "iam.projects.serviceAccounts"
_ACCOUNTS = "/v1/projects/{project}/serviceAccounts"
_ACCOUNT = _ACCOUNTS + "/{account}"
_SHOWN = ("name", "projectId", "uniqueId", "email", "displayName", "description", "oauth2ClientId", "disabled")


def _project(call: Call) -> Resource:
    return project_resource(call.universe.project_id(call.params["project"]))


def account_resource(call: Call) -> Resource:
    """Name the account of the path."""
    return account_named(call.universe, call.params["account"], call.params["project"])


def account_named(universe: Universe, wanted: str, project: str = "-") -> Resource:
    """Name an account by email or unique id, under a project or `-`; it need not exist."""
    record = _lookup(universe, wanted)
    if record:
        wanted, project = record.key, record.value["projectId"]
    elif project == "-":
        project = wanted.partition("@")[2].removesuffix(".iam.gserviceaccount.com")
    owner = project_resource(universe.project_id(project))
    return Resource(f"//iam.googleapis.com/projects/{owner.project}/serviceAccounts/{wanted}", "iam.googleapis.com/ServiceAccount", owner)


def _lookup(universe: Universe, wanted: str) -> Record | None:
    store = universe.store
    by_email = store.get("serviceAccount", wanted)
    return by_email or next((each for each in store.select("serviceAccount") if each.value["uniqueId"] == wanted), None)


def _found(call: Call) -> Record:
    record = _lookup(call.universe, call.params["account"])
    if record is None:
        raise not_found("Unknown service account")  # google-behaviour: errors [M]
    return record


def _shown(record: Record) -> Json:
    etag = base64.b64encode(record.revision.to_bytes(8, "big")).decode()
    return {**{name: record.value[name] for name in _SHOWN if record.value.get(name)}, "etag": etag}


@method(id=f"{_ID}.create", verb="POST", path=_ACCOUNTS, permission="iam.serviceAccounts.create", on=_project)
def create_account(call: Call) -> Json:
    """Create an account; policies do not know it for a moment (google-behaviour: accounts)."""
    body, project = call.json(), call.on.project
    account_id, described = str(body.get("accountId", "")), body.get("serviceAccount") or {}
    texts = {name: str(described.get(name, "")) for name in ("displayName", "description")}
    refuse_violations(check_service_account(account_id, display_name=texts["displayName"], description=texts["description"]))
    email = f"{account_id}@{project}.iam.gserviceaccount.com"
    if call.universe.store.get("serviceAccount", email):
        name = f"projects/{project}/serviceAccounts/{email}"
        detail = {"@type": "type.googleapis.com/google.rpc.ResourceInfo", "resourceName": name}
        taken = exists(f"Service account {account_id} already exists within project projects/{project}.")
        taken.details = (detail,)
        raise taken
    unique_id = "1" + "".join(secrets.choice("0123456789") for _ in range(20))
    visible = call.universe.clock.now() + call.universe.settings.account_visibility
    value = {
        "name": f"projects/{project}/serviceAccounts/{email}",
        "projectId": project,
        "uniqueId": unique_id,
        "email": email,
        "oauth2ClientId": unique_id,
        "visibleFrom_s": visible.timestamp(),
        **{name: text for name, text in texts.items() if text},
    }
    return _shown(call.universe.store.put("serviceAccount", email, value, expect=0))


@method(id=f"{_ID}.list", verb="GET", path=_ACCOUNTS, permission="iam.serviceAccounts.list", on=_project)
def list_accounts(call: Call) -> Json:
    """List a project's accounts."""
    accounts = [_shown(each) for each in call.universe.store.select("serviceAccount") if each.value["projectId"] == call.on.project]
    return page(call, "accounts", accounts, default=20, most=100)


@method(id=f"{_ID}.get", verb="GET", path=_ACCOUNT, permission="iam.serviceAccounts.get", on=account_resource)
def get_account(call: Call) -> Json:
    """Read an account."""
    return _shown(_found(call))


@method(id=f"{_ID}.delete", verb="DELETE", path=_ACCOUNT, permission="iam.serviceAccounts.delete", on=account_resource)
def delete_account(call: Call) -> Json:
    """Delete an account; policies keep it as `deleted:…`, and it can be had back for 30 days by its unique id."""
    record, universe = _found(call), call.universe
    value = record.value
    expires = (universe.clock.now() + universe.settings.soft_delete).timestamp()
    policy = universe.policies.read(call.on, 3).get("bindings", [])
    universe.store.delete("serviceAccount", record.key)
    universe.store.put("deletedServiceAccount", value["uniqueId"], {**value, "state": "DELETED", "expires_s": expires, "policy": policy})
    universe.policies.forget(call.on)
    universe.groups.forget(record.key)
    universe.policies.rename_member(f"serviceAccount:{record.key}", _tombstone(value))
    return {}


def _tombstone(value: Json) -> str:
    return f"deleted:serviceAccount:{value['email']}?uid={value['uniqueId']}"


def _deleted(call: Call) -> Resource:
    record = call.universe.store.get("deletedServiceAccount", call.params["account"])
    project = record.value["projectId"] if record else call.universe.project_id(call.params["project"])
    return project_resource(project)


@method(id=f"{_ID}.undelete", verb="POST", path=_ACCOUNT + ":undelete", permission="iam.serviceAccounts.undelete", on=_deleted)
def undelete_account(call: Call) -> Json:
    """Have a deleted account back, with its policy and its place in others."""
    universe = call.universe
    record = universe.store.get("deletedServiceAccount", call.params["account"])
    if record is None or record.value["expires_s"] <= universe.clock.now().timestamp():
        raise not_found("Unknown service account")
    value = {name: each for name, each in record.value.items() if name not in {"state", "expires_s", "policy"}}
    if universe.store.get("serviceAccount", value["email"]):
        raise Fault(400, "FAILED_PRECONDITION", f"A service account with the email {value['email']} exists.")  # [?]
    universe.store.delete("deletedServiceAccount", record.key)
    restored = universe.store.put("serviceAccount", value["email"], value)
    if record.value["policy"]:
        universe.policies.seed(
            Resource(f"//iam.googleapis.com/{value['name']}", "iam.googleapis.com/ServiceAccount"), record.value["policy"]
        )
    universe.policies.rename_member(_tombstone(value), f"serviceAccount:{value['email']}")
    return {"restoredAccount": _shown(restored)}


def _switched(call: Call, *, disabled: bool) -> Json:
    record = _found(call)
    value = {**record.value, "disabled": True} if disabled else {k: v for k, v in record.value.items() if k != "disabled"}
    call.universe.store.put("serviceAccount", record.key, value, expect=record.revision)
    return {}


@method(id=f"{_ID}.disable", verb="POST", path=_ACCOUNT + ":disable", permission="iam.serviceAccounts.disable", on=account_resource)
def disable_account(call: Call) -> Json:
    """Stop an account: it gets no tokens, and those it has are refused."""
    return _switched(call, disabled=True)


@method(id=f"{_ID}.enable", verb="POST", path=_ACCOUNT + ":enable", permission="iam.serviceAccounts.enable", on=account_resource)
def enable_account(call: Call) -> Json:
    """Let an account work again."""
    return _switched(call, disabled=False)


def _of_one_that_is_there(handler: Handler) -> Handler:
    def answered(call: Call) -> Answer | Json:
        _found(call)
        return handler(call)

    return answered


POLICY_METHODS = tuple(
    method(id=f"{_ID}.{name}", verb="POST", path=f"{_ACCOUNT}:{name}", permission=permission, on=account_resource)(
        _of_one_that_is_there(handler)
    )
    for name, permission, handler in (
        ("getIamPolicy", "iam.serviceAccounts.getIamPolicy", get_policy),
        ("setIamPolicy", "iam.serviceAccounts.setIamPolicy", set_policy),
        ("testIamPermissions", Public("it tells callers about themselves", authenticated=True), test_permissions),
    )
)
