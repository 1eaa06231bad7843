# SPDX-License-Identifier: Apache-2.0
"""Cloud Run Admin API v1, as far as gcloud needs it: services on a region's own host, lists and policies on either."""

import re
from collections.abc import Callable

from podpass.sandbox.google.caller import CLOUD_PLATFORM
from podpass.sandbox.google.message import Fault, unimplemented
from podpass.sandbox.google.policy_methods import get_policy, set_policy, test_permissions
from podpass.sandbox.google.resource import Resource, project_resource
from podpass.sandbox.google.run.addresses import API_HOSTS, GLOBAL_HOST, REGIONS
from podpass.sandbox.google.run.requests import read_service
from podpass.sandbox.google.run.services import KIND, REVISION, Place, number_of, shown, shown_revision, write
from podpass.sandbox.google.service import Call, Handler, Method, Public, Service, method, methods_of
from podpass.sandbox.google.service_accounts import account_named
from podpass.sandbox.store import Json, Record

_SERVING = "/apis/serving.knative.dev/v1/namespaces/{project}"
_LOCATION = "/v1/projects/{project}/locations/{region}"
_ID = "run.projects.locations.services"
_SELECTOR = re.compile(r"\s*([^=\s]+)\s*==?\s*([^=\s]*)\s*")


def _region(call: Call) -> str:
    region = call.params.get("region") or API_HOSTS.get(call.request.host)
    if region is None:  # namespaces are to be had on regional hosts only
        raise unimplemented(call.request)
    return region


def _project(call: Call) -> Resource:
    return project_resource(call.universe.project_id(call.params["project"]))


def _place(call: Call) -> Place:
    return Place(_project(call).project, _region(call), call.params["service"])


def _service(call: Call) -> Resource:
    return _place(call).resource


def _found(call: Call) -> Record:
    place = _place(call)
    record = call.universe.store.get(KIND, place.key)
    if record is None:
        raise _absent(place.name, "SERVICE", place)
    return record


def _absent(name: str, kind: str, place: Place) -> Fault:
    text = f"Resource '{name}' of kind '{kind}' in region '{place.region}' in project '{place.project}' does not exist."  # [M]
    return Fault(404, "NOT_FOUND", text)


def _asked(call: Call) -> tuple[str, Json]:
    name, wanted = read_service(call.json())
    account = wanted["spec"]["template"]["spec"].get("serviceAccountName")
    if account and not call.may("iam.serviceAccounts.actAs", account_named(call.universe, account)):
        text = f"Permission 'iam.serviceaccounts.actAs' denied on service account {account} (or it may not exist)."  # [M]
        raise Fault(403, "PERMISSION_DENIED", text)
    return name, wanted


def _kept(call: Call, place: Place, wanted: Json, before: Record | None) -> Json:
    if call.query.get("dryRun") == "all":
        return call.json()
    return shown(call.universe, write(call.universe, place, wanted, call.caller.name, before))


@method(id="run.namespaces.services.create", verb="POST", path=_SERVING + "/services", permission="run.services.create", on=_project)
def create_service(call: Call) -> Json:
    """Make a service; its process starts when this is answered."""
    name, wanted = _asked(call)
    place = Place(call.on.project, _region(call), name)
    if call.universe.store.get(KIND, place.key):
        raise Fault(409, "ALREADY_EXISTS", f"Resource '{name}' already exists.")  # [K]
    return _kept(call, place, wanted, None)


@method(
    id="run.namespaces.services.replaceService",
    verb="PUT",
    path=_SERVING + "/services/{service}",
    permission="run.services.update",
    on=_service,
)
def replace_service(call: Call) -> Json:
    """Change a service; another template is another revision."""
    before, (name, wanted) = _found(call), _asked(call)
    read = str(call.json()["metadata"].get("resourceVersion") or before.revision)
    if name != call.params["service"]:
        raise Fault(400, "INVALID_ARGUMENT", f"metadata.name: '{name}' is not the name in the path.")  # [?]
    if read != str(before.revision):  # [M]
        text = f"Conflict for resource '{name}': version '{read}' was specified but current version is '{before.revision}'."
        raise Fault(409, "ABORTED", text)
    return _kept(call, Place.of(before.key), wanted, before)


@method(id="run.namespaces.services.get", verb="GET", path=_SERVING + "/services/{service}", permission="run.services.get", on=_service)
def get_service(call: Call) -> Json:
    """Read a service with its status."""
    return shown(call.universe, _found(call))


@method(
    id="run.namespaces.services.delete", verb="DELETE", path=_SERVING + "/services/{service}", permission="run.services.delete", on=_service
)
def delete_service(call: Call) -> Json:
    """Delete a service with its revisions and its policy; its process is ended."""
    store, record = call.universe.store, _found(call)
    place = Place.of(record.key)
    store.delete(KIND, record.key)
    for revision in store.select(REVISION, f"{place.project}/{place.region}/{place.name}-"):
        if revision.value["service"] == place.name:
            store.delete(REVISION, revision.key)
    call.universe.policies.forget(call.on)
    return {"apiVersion": "v1", "kind": "Status", "status": "Success", "details": {"name": place.name, "kind": "services"}}


def _listed(call: Call, kind: str, records: list[Record], show: Callable[[Record], Json]) -> Json:
    selector = call.query.get("labelSelector", "")
    pairs = [_SELECTOR.fullmatch(each) for each in selector.split(",")] if selector else []
    if None in pairs:
        raise Fault(501, "UNIMPLEMENTED", f"The sandbox selects by `label = value` only, not by {selector!r}.")
    items = [show(record) for record in records]
    chosen = [each for each in items if all(pair and each["metadata"]["labels"].get(pair[1]) == pair[2] for pair in pairs)]
    return {"apiVersion": "serving.knative.dev/v1", "kind": f"{kind}List", "metadata": {}, "items": chosen}


def _in_region(call: Call) -> str:
    """Return the beginning of the keys of a region's records; `-` stands for every region."""
    region = _region(call)
    return f"{call.on.project}/" + ("" if region == "-" else f"{region}/")


def _list_services(call: Call) -> Json:
    records = call.universe.store.select(KIND, _in_region(call))
    return _listed(call, "Service", records, lambda each: shown(call.universe, each))


def _list_revisions(call: Call) -> Json:
    records = call.universe.store.select(REVISION, _in_region(call))
    return _listed(call, "Revision", records, lambda each: shown_revision(call.universe, each))


def _lists(kind: str, handler: Handler) -> tuple[Method, ...]:
    return tuple(
        method(id=f"{prefix}.{kind}.list", verb="GET", path=f"{path}/{kind}", permission=f"run.{kind}.list", on=_project)(handler)
        for prefix, path in (("run.namespaces", _SERVING), ("run.projects.locations", _LOCATION))
    )


LISTS = (*_lists("services", _list_services), *_lists("revisions", _list_revisions))


@method(id="run.namespaces.revisions.get", verb="GET", path=_SERVING + "/revisions/{revision}", permission="run.revisions.get", on=_project)
def get_revision(call: Call) -> Json:
    """Read a revision."""
    name = call.params["revision"]
    record = call.universe.store.get(REVISION, f"{call.on.project}/{_region(call)}/{name}")
    if record is None:
        raise _absent(name, "REVISION", Place(call.on.project, _region(call), name))
    return shown_revision(call.universe, record)


@method(id="run.projects.locations.list", verb="GET", path="/v1/projects/{project}/locations", permission="run.locations.list", on=_project)
def list_locations(call: Call) -> Json:
    """List the regions of this universe."""
    number = number_of(call.universe, call.on.project)
    return {"locations": [{"name": f"projects/{number}/locations/{each}", "locationId": each} for each in REGIONS]}


def _of_one_that_is_there(handler: Handler) -> Handler:
    def answered(call: Call) -> Json:
        _found(call)
        answer = handler(call)
        assert isinstance(answer, dict)
        return answer

    return answered


POLICY_METHODS = tuple(
    method(id=f"{_ID}.{name}", verb=verb, path=f"{_LOCATION}/services/{{service}}:{name}", permission=permission, on=_service)(
        _of_one_that_is_there(handler)
    )
    for name, verb, permission, handler in (
        ("getIamPolicy", "GET", "run.services.getIamPolicy", get_policy),
        ("setIamPolicy", "POST", "run.services.setIamPolicy", set_policy),
        ("testIamPermissions", "POST", Public("it tells callers about themselves", authenticated=True), test_permissions),
    )
)

SERVICE = Service(
    name=GLOBAL_HOST,
    title="Cloud Run Admin API",
    hosts=(*API_HOSTS, GLOBAL_HOST),
    discovery="run.v1",
    scopes=(CLOUD_PLATFORM, "https://www.googleapis.com/auth/run"),
    methods=methods_of(__name__),
)
