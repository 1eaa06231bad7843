# SPDX-License-Identifier: Apache-2.0
"""Cloud Resource Manager: projects and their policies, v1 and v3. v1 knows a project by id or number, v3 too."""

from podpass.sandbox.google.caller import CLOUD_PLATFORM
from podpass.sandbox.google.message import invalid
from podpass.sandbox.google.policy_methods import get_policy, set_policy, test_permissions
from podpass.sandbox.google.resource import Resource, project_resource
from podpass.sandbox.google.service import Call, Public, Service, method, methods_of
from podpass.sandbox.store import Json

_ID = "cloudresourcemanager.projects"
_READ = "resourcemanager.projects.get"


def _project(call: Call) -> Resource:
    return project_resource(call.universe.project_id(call.params["project"]))


@method(id=f"{_ID}.get", verb="GET", path="/v1/projects/{project}", permission=_READ, on=_project)
def get_project(call: Call) -> Json:
    """Read a project, as v1 has it."""
    return call.universe.project(call.on.project) or {}


@method(id=f"{_ID}.get", verb="GET", path="/v3/projects/{project}", permission=_READ, on=_project)
def get_project_v3(call: Call) -> Json:
    """Read a project, as v3 has it."""
    found = call.universe.project(call.on.project) or {}
    return {
        "name": f"projects/{found['projectNumber']}",
        "projectId": found["projectId"],
        "state": found["lifecycleState"],
        "displayName": found["name"],
        "createTime": found["createTime"],
    }


def _set_project_policy(call: Call) -> Json:
    bindings = (call.json().get("policy") or {}).get("bindings") or []
    if any({"allUsers", "allAuthenticatedUsers"} & set(each.get("members") or ()) for each in bindings):
        raise invalid("Members of type allUsers and allAuthenticatedUsers cannot be added to this resource.")  # [K]
    return set_policy(call)


# The policy calls are the same in both versions.
POLICY_METHODS = tuple(
    method(id=f"{_ID}.{verb}", verb="POST", path=f"/{version}/projects/{{project}}:{verb}", permission=permission, on=_project)(handler)
    for version in ("v1", "v3")
    for verb, permission, handler in (
        ("getIamPolicy", "resourcemanager.projects.getIamPolicy", get_policy),
        ("setIamPolicy", "resourcemanager.projects.setIamPolicy", _set_project_policy),
        ("testIamPermissions", Public("it tells callers about themselves", authenticated=True), test_permissions),
    )
)

SERVICE = Service(
    name="cloudresourcemanager.googleapis.com",
    title="Cloud Resource Manager API",
    discovery="cloudresourcemanager.v1 cloudresourcemanager.v3",
    scopes=(CLOUD_PLATFORM, f"{CLOUD_PLATFORM}.read-only"),
    methods=methods_of(__name__),
)
