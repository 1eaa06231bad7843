# SPDX-License-Identifier: Apache-2.0
"""IAM v1: the service, and its predefined roles."""

from podpass.sandbox.google import iam_pools, service_accounts
from podpass.sandbox.google.message import not_found
from podpass.sandbox.google.roles import PERMISSIONS, TITLES, is_of_another_service
from podpass.sandbox.google.service import Call, Public, Service, method, methods_of
from podpass.sandbox.store import Json


@method(
    id="iam.roles.get", verb="GET", path="/v1/roles/{role}", permission=Public("Google publishes its predefined roles", authenticated=True)
)
def get_role(call: Call) -> Json:
    """Read a predefined role."""
    name = f"roles/{call.params['role']}"
    if is_of_another_service(name):
        return {"name": name, "title": name, "stage": "GA"}
    if name not in PERMISSIONS:
        raise not_found(f"The role named {name} was not found.")
    return {"name": name, "title": TITLES[name], "includedPermissions": sorted(PERMISSIONS[name]), "stage": "GA"}


SERVICE = Service(
    name="iam.googleapis.com",
    title="Identity and Access Management (IAM) API",
    discovery="iam.v1",
    methods=(*methods_of(iam_pools.__name__), *methods_of(service_accounts.__name__), *methods_of(__name__)),
)
