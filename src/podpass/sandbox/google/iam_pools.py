# SPDX-License-Identifier: Apache-2.0
"""IAM v1: workload identity pools and their providers (google-wire 2.1).

Names carry the project's number whatever the request wrote; both find the same pool.
"""

from podpass.sandbox.google.message import unimplemented
from podpass.sandbox.google.paging import page
from podpass.sandbox.google.service import Call, Resource, method, project_resource
from podpass.sandbox.google.soft_deleted import SoftDeletedKind, operation
from podpass.sandbox.store import Json
from podpass.wif.limits import Violation, check_pool, check_provider

_ID = "iam.projects.locations.workloadIdentityPools"
_POOLS = "/v1/projects/{project}/locations/global/workloadIdentityPools"
_POOL = _POOLS + "/{pool}"
_PROVIDERS = _POOL + "/providers"
_PROVIDER = _PROVIDERS + "/{provider}"
_COMMON = {"displayName": str, "description": str, "disabled": bool}


def _check_pool(value: Json) -> list[Violation]:
    pool_id = value["name"].rpartition("/")[2]
    return check_pool(pool_id, display_name=value.get("displayName", ""), description=value.get("description", ""))


def _check_provider(value: Json) -> list[Violation]:
    oidc = value.get("oidc", {})
    return check_provider(
        provider_id=value["name"].rpartition("/")[2],
        issuer_uri=oidc.get("issuerUri", ""),
        attribute_mapping=value.get("attributeMapping", {}),
        attribute_condition=value.get("attributeCondition"),
        allowed_audiences=tuple(oidc.get("allowedAudiences", ())),
        jwks_json=oidc.get("jwksJson"),
        display_name=value.get("displayName", ""),
        description=value.get("description", ""),
    )


POOL = SoftDeletedKind("pool", "google.iam.admin.v1.WorkloadIdentityPool", _COMMON, _check_pool)
PROVIDER = SoftDeletedKind(
    "provider",
    "google.iam.admin.v1.WorkloadIdentityPoolProvider",
    {
        **_COMMON,
        "attributeMapping": dict,
        "attributeCondition": str,
        "oidc.issuerUri": str,
        "oidc.allowedAudiences": list,
        "oidc.jwksJson": str,
    },
    _check_provider,
)


def _project(call: Call) -> Resource:
    return project_resource(call.universe.project_id(call.params["project"]))


def _pools(call: Call) -> str:
    found = call.universe.project(call.params["project"])
    number = found["projectNumber"] if found else call.params["project"]
    return f"projects/{number}/locations/global/workloadIdentityPools"


def _pool(call: Call) -> Resource:
    name = f"//iam.googleapis.com/{_pools(call)}/{call.params['pool']}"
    return Resource(name, "iam.googleapis.com/WorkloadIdentityPool", _project(call))


def _provider(call: Call) -> Resource:
    pool = _pool(call)
    return Resource(f"{pool.name}/providers/{call.params['provider']}", "iam.googleapis.com/WorkloadIdentityPoolProvider", pool)


@method(id=f"{_ID}.create", verb="POST", path=_POOLS, permission="iam.workloadIdentityPools.create", on=_project)
def create_pool(call: Call) -> Json:
    """Create a pool."""
    return POOL.create(call, f"{_pools(call)}/{call.query.get('workloadIdentityPoolId', '')}")


@method(id=f"{_ID}.list", verb="GET", path=_POOLS, permission="iam.workloadIdentityPools.list", on=_project)
def list_pools(call: Call) -> Json:
    """List a project's pools."""
    return page(call, "workloadIdentityPools", POOL.select(call, f"{_pools(call)}/"), default=50, most=1000)


@method(id=f"{_ID}.get", verb="GET", path=_POOL, permission="iam.workloadIdentityPools.get", on=_pool)
def get_pool(call: Call) -> Json:
    """Read a pool."""
    return POOL.find(call, call.on.path).value


@method(id=f"{_ID}.patch", verb="PATCH", path=_POOL, permission="iam.workloadIdentityPools.update", on=_pool)
def patch_pool(call: Call) -> Json:
    """Change a pool."""
    return POOL.patch(call, call.on.path)


@method(id=f"{_ID}.delete", verb="DELETE", path=_POOL, permission="iam.workloadIdentityPools.delete", on=_pool)
def delete_pool(call: Call) -> Json:
    """Delete a pool, for 30 days not for good; its providers go and come back with it."""
    return POOL.delete(call, call.on.path)


@method(id=f"{_ID}.undelete", verb="POST", path=_POOL + ":undelete", permission="iam.workloadIdentityPools.undelete", on=_pool)
def undelete_pool(call: Call) -> Json:
    """Have a deleted pool back."""
    return POOL.undelete(call, call.on.path)


@method(
    id=f"{_ID}.operations.get", verb="GET", path=_POOL + "/operations/{operation}", permission="iam.workloadIdentityPools.get", on=_pool
)
def get_pool_operation(call: Call) -> Json:
    """Read an operation on a pool."""
    return operation(call)


@method(id=f"{_ID}.providers.create", verb="POST", path=_PROVIDERS, permission="iam.workloadIdentityPoolProviders.create", on=_pool)
def create_provider(call: Call) -> Json:
    """Create a provider; only OIDC ones are known here."""
    POOL.find(call, call.on.path)
    if {"aws", "saml", "x509"} & call.json().keys():
        raise unimplemented(call.request)
    return PROVIDER.create(call, f"{call.on.path}/providers/{call.query.get('workloadIdentityPoolProviderId', '')}")


@method(id=f"{_ID}.providers.list", verb="GET", path=_PROVIDERS, permission="iam.workloadIdentityPoolProviders.list", on=_pool)
def list_providers(call: Call) -> Json:
    """List a pool's providers."""
    POOL.find(call, call.on.path)
    found = PROVIDER.select(call, f"{call.on.path}/providers/")
    return page(call, "workloadIdentityPoolProviders", found, default=50, most=100)


@method(id=f"{_ID}.providers.get", verb="GET", path=_PROVIDER, permission="iam.workloadIdentityPoolProviders.get", on=_provider)
def get_provider(call: Call) -> Json:
    """Read a provider."""
    return PROVIDER.find(call, call.on.path).value


@method(id=f"{_ID}.providers.patch", verb="PATCH", path=_PROVIDER, permission="iam.workloadIdentityPoolProviders.update", on=_provider)
def patch_provider(call: Call) -> Json:
    """Change a provider."""
    return PROVIDER.patch(call, call.on.path)


@method(id=f"{_ID}.providers.delete", verb="DELETE", path=_PROVIDER, permission="iam.workloadIdentityPoolProviders.delete", on=_provider)
def delete_provider(call: Call) -> Json:
    """Delete a provider, for 30 days not for good; tokens that are out stay good."""
    return PROVIDER.delete(call, call.on.path)


@method(
    id=f"{_ID}.providers.undelete",
    verb="POST",
    path=_PROVIDER + ":undelete",
    permission="iam.workloadIdentityPoolProviders.undelete",
    on=_provider,
)
def undelete_provider(call: Call) -> Json:
    """Have a deleted provider back."""
    return PROVIDER.undelete(call, call.on.path)


@method(
    id=f"{_ID}.providers.operations.get",
    verb="GET",
    path=_PROVIDER + "/operations/{operation}",
    permission="iam.workloadIdentityPoolProviders.get",
    on=_provider,
)
def get_provider_operation(call: Call) -> Json:
    """Read an operation on a provider."""
    return operation(call)
