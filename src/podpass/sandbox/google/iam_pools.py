# SPDX-License-Identifier: Apache-2.0
"""IAM v1: workload identity pools and their providers (google-behaviour: pools).

Names carry the project's number whatever the request wrote; both find the same pool.
"""

from podpass.sandbox.google.message import Fault, unimplemented
from podpass.sandbox.google.resource import Resource, project_resource
from podpass.sandbox.google.service import Call
from podpass.sandbox.google.soft_deleted import SoftDeletedKind
from podpass.sandbox.store import Json
from podpass.wif.limits import Violation, check_pool, check_provider

_ID = "iam.projects.locations.workloadIdentityPools"
_PATH = "/v1/projects/{project}/locations/global/workloadIdentityPools"
_COMMON = {"displayName": str, "description": str, "disabled": bool}
_OIDC = {"oidc.issuerUri": str, "oidc.allowedAudiences": list, "oidc.jwksJson": str}


def _pools(call: Call) -> str:
    found = call.universe.project(call.params["project"])
    number = found["projectNumber"] if found else call.params["project"]
    return f"projects/{number}/locations/global/workloadIdentityPools"


def _providers(call: Call) -> str:
    POOL.find(call, f"{_pools(call)}/{call.params['pool']}")
    if {"aws", "saml", "x509"} & call.json().keys():
        raise unimplemented(call.request)  # only OIDC is known here
    return f"{_pools(call)}/{call.params['pool']}/providers"


def _on(call: Call) -> Resource:
    """Name what the path is about: a project, one of its pools, or a provider of that."""
    project = project_resource(call.universe.project_id(call.params["project"]))
    if "pool" not in call.params:
        return project
    pool = Resource(f"//iam.googleapis.com/{_pools(call)}/{call.params['pool']}", "iam.googleapis.com/WorkloadIdentityPool", project)
    if "provider" not in call.params:
        return pool
    return Resource(f"{pool.name}/providers/{call.params['provider']}", "iam.googleapis.com/WorkloadIdentityPoolProvider", pool)


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


def _forbid_issuer(call: Call, value: Json) -> None:
    """Refuse an issuer that the organization's policy does not admit; shape and words are Google's [M] (google-behaviour: errors).

    Raises:
        Fault: 400 with the constraint in a `PreconditionFailure`.
    """
    allowed, issuer = call.universe.weather.faults.google.allowed_issuers, value.get("oidc", {}).get("issuerUri", "")
    if allowed is None or issuer in allowed:
        return
    project = call.universe.project_id(call.params["project"])
    violation = {
        "type": "constraints/iam.workloadIdentityPoolProviders",
        "subject": f"orgpolicy:projects/{project}/locations/global/workloadIdentityPools/{call.params['pool']}",
        "description": f"Org Policy violated for value: '{issuer}'.",
    }
    detail = {"@type": "type.googleapis.com/google.rpc.PreconditionFailure", "violations": [violation]}
    raise Fault(400, "FAILED_PRECONDITION", "Precondition check failed.", details=(detail,))


POOL = SoftDeletedKind(
    kind="pool",
    plural="workloadIdentityPools",
    path=_PATH,
    id=_ID,
    id_parameter="workloadIdentityPoolId",
    permissions="iam.workloadIdentityPools",
    protobuf="google.iam.admin.v1.WorkloadIdentityPool",
    page_limit=1000,
    fields=_COMMON,
    collection=_pools,
    check=_check_pool,
)
PROVIDER = SoftDeletedKind(
    kind="provider",
    plural="workloadIdentityPoolProviders",
    path=f"{_PATH}/{{pool}}/providers",
    id=f"{_ID}.providers",
    id_parameter="workloadIdentityPoolProviderId",
    permissions="iam.workloadIdentityPoolProviders",
    protobuf="google.iam.admin.v1.WorkloadIdentityPoolProvider",
    page_limit=100,
    fields={**_COMMON, "attributeMapping": dict, "attributeCondition": str, **_OIDC},
    collection=_providers,
    check=_check_provider,
    forbid=_forbid_issuer,
)
METHODS = POOL.methods(_on) + PROVIDER.methods(_on)
