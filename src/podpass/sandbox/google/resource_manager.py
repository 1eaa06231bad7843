# SPDX-License-Identifier: Apache-2.0
"""Cloud Resource Manager: projects and their policies, v1 and v3 (google-wire 4). v1 knows a project by id or number, v3 too."""

from podpass.sandbox.google.message import invalid
from podpass.sandbox.google.policies import get_policy, set_policy, test_permissions
from podpass.sandbox.google.service import CLOUD_PLATFORM, PUBLIC, Call, Resource, Service, method, methods_of, project_resource
from podpass.sandbox.store import Json

_ID = "cloudresourcemanager.projects"
_READ = "resourcemanager.projects.get"
_READ_POLICY = "resourcemanager.projects.getIamPolicy"
_WRITE_POLICY = "resourcemanager.projects.setIamPolicy"
_ABOUT_CALLERS = PUBLIC("it tells callers about themselves", authenticated=True)


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


@method(id=f"{_ID}.getIamPolicy", verb="POST", path="/v1/projects/{project}:getIamPolicy", permission=_READ_POLICY, on=_project)
def get_project_policy(call: Call) -> Json:
    """Read a project's policy."""
    return get_policy(call)


@method(id=f"{_ID}.getIamPolicy", verb="POST", path="/v3/projects/{project}:getIamPolicy", permission=_READ_POLICY, on=_project)
def get_project_policy_v3(call: Call) -> Json:
    """Read a project's policy."""
    return get_policy(call)


@method(id=f"{_ID}.setIamPolicy", verb="POST", path="/v1/projects/{project}:setIamPolicy", permission=_WRITE_POLICY, on=_project)
def set_project_policy(call: Call) -> Json:
    """Write a project's policy; it cannot be opened to everybody."""
    bindings = (call.json().get("policy") or {}).get("bindings") or []
    if any({"allUsers", "allAuthenticatedUsers"} & set(each.get("members") or ()) for each in bindings):
        raise invalid("Members of type allUsers and allAuthenticatedUsers cannot be added to this resource.")  # [K]
    return set_policy(call)


@method(id=f"{_ID}.setIamPolicy", verb="POST", path="/v3/projects/{project}:setIamPolicy", permission=_WRITE_POLICY, on=_project)
def set_project_policy_v3(call: Call) -> Json:
    """Write a project's policy."""
    return set_project_policy.handler(call)  # type: ignore[return-value]  # the handler above gives JSON


@method(
    id=f"{_ID}.testIamPermissions", verb="POST", path="/v1/projects/{project}:testIamPermissions", permission=_ABOUT_CALLERS, on=_project
)
def test_project_permissions(call: Call) -> Json:
    """Tell which of some permissions the caller has."""
    return test_permissions(call)


@method(
    id=f"{_ID}.testIamPermissions", verb="POST", path="/v3/projects/{project}:testIamPermissions", permission=_ABOUT_CALLERS, on=_project
)
def test_project_permissions_v3(call: Call) -> Json:
    """Tell which of some permissions the caller has."""
    return test_permissions(call)


SERVICE = Service(
    name="cloudresourcemanager.googleapis.com",
    title="Cloud Resource Manager API",
    discovery="cloudresourcemanager.v1 cloudresourcemanager.v3",
    scopes=(CLOUD_PLATFORM, f"{CLOUD_PLATFORM}.read-only"),
    methods=methods_of(__name__),
)
