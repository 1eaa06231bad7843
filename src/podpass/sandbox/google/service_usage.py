# SPDX-License-Identifier: Apache-2.0
"""Service Usage: which APIs are on in a project (google-behaviour: projects). Switching on is done by the time it is answered."""

from podpass.sandbox.google.caller import CLOUD_PLATFORM
from podpass.sandbox.google.message import Fault, invalid
from podpass.sandbox.google.paging import page
from podpass.sandbox.google.resource import Resource, project_resource
from podpass.sandbox.google.service import Call, Service, method, methods_of
from podpass.sandbox.store import Json

_ID = "serviceusage.services"
_SERVICES = "/v1/projects/{project}/services"
_SUFFIX = ".googleapis.com"


def _project(call: Call) -> Resource:
    return project_resource(call.universe.project_id(call.params["project"]))


def _shown(call: Call, api: str, *, enabled: bool) -> Json:
    number = (call.universe.project(call.on.project) or {})["projectNumber"]
    state = "ENABLED" if enabled else "DISABLED"
    return {"name": f"projects/{number}/services/{api}", "config": {"name": api}, "state": state, "parent": f"projects/{number}"}


def _is_enabled(call: Call, api: str) -> bool:
    return call.universe.store.get("enabledService", f"{call.on.project}/{api}") is not None


def _enable(call: Call, api: str) -> Json:
    if not api.endswith(_SUFFIX):
        raise Fault(
            403,
            "PERMISSION_DENIED",
            f"Not found or permission denied for service(s): {api}.",  # [K]
            reason="SERVICE_CONFIG_NOT_FOUND_OR_PERMISSION_DENIED",
            domain="serviceusage.googleapis.com",
        )
    if not _is_enabled(call, api):
        call.universe.store.put("enabledService", f"{call.on.project}/{api}", {})
    return _shown(call, api, enabled=True)


def _done(type_name: str, response: Json) -> Json:
    typed = {"@type": f"type.googleapis.com/google.api.serviceusage.v1.{type_name}", **response}
    return {"name": "operations/noop.DONE_OPERATION", "done": True, "response": typed}


@method(id=f"{_ID}.enable", verb="POST", path=_SERVICES + "/{service}:enable", permission="serviceusage.services.enable", on=_project)
def enable_service(call: Call) -> Json:
    """Switch an API on."""
    return _done("EnableServiceResponse", {"service": _enable(call, call.params["service"])})


@method(id=f"{_ID}.batchEnable", verb="POST", path=_SERVICES + ":batchEnable", permission="serviceusage.services.enable", on=_project)
def enable_services(call: Call) -> Json:
    """Switch several APIs on."""
    wanted = call.json().get("serviceIds") or []
    if not wanted:
        raise invalid("At least one service must be named.")  # [?]
    return _done("BatchEnableServicesResponse", {"services": [_enable(call, str(api)) for api in wanted]})


@method(id=f"{_ID}.get", verb="GET", path=_SERVICES + "/{service}", permission="serviceusage.services.get", on=_project)
def get_service(call: Call) -> Json:
    """Read whether an API is on."""
    api = call.params["service"]
    return _shown(call, api, enabled=_is_enabled(call, api))


@method(id=f"{_ID}.list", verb="GET", path=_SERVICES, permission="serviceusage.services.list", on=_project)
def list_services(call: Call) -> Json:
    """List a project's APIs that are on; the others are without number."""
    if call.query.get("filter", "state:ENABLED") != "state:ENABLED":
        raise invalid("The sandbox lists enabled services only: filter=state:ENABLED.")
    prefix = f"{call.on.project}/"
    enabled = [each.key.removeprefix(prefix) for each in call.universe.store.select("enabledService", prefix)]
    return page(call, "services", [_shown(call, api, enabled=True) for api in enabled], default=50, most=200)


SERVICE = Service(
    name="serviceusage.googleapis.com",
    title="Service Usage API",
    discovery="serviceusage.v1",
    scopes=(CLOUD_PLATFORM, f"{CLOUD_PLATFORM}.read-only", "https://www.googleapis.com/auth/service.management"),
    methods=methods_of(__name__),
)
