# SPDX-License-Identifier: Apache-2.0
"""IAM v1: workload identity pools, their providers, service accounts.

Bodies are Google's JSON. Updates go by mask: a field that the mask names and the body lacks is cleared, a field that the mask does not name
stays. Deleted pools and providers stay readable for 30 days with `state: DELETED`, and their ids stay taken.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from podpass.google.fault import FaultKind, GoogleRefusedError
from podpass.google.operations import finish
from podpass.google.policy import CONDITIONS_VERSION, Policy
from podpass.google.rest import GoogleClient, Json, Request, segment
from podpass.names import GoogleServiceAccount, PoolName, ProviderName

_SERVICE = "iam"
_PERMISSION = {PoolName: "iam.workloadIdentityPools", ProviderName: "iam.workloadIdentityPoolProviders"}
_KIND = {PoolName: "pool", ProviderName: "provider"}

Name = PoolName | ProviderName


def get_pool(client: GoogleClient, name: PoolName) -> Json | None:
    """Return a pool, also a deleted one (`state: DELETED`); None where there never was one, or no more."""
    return _get(client, name)


def create_pool(client: GoogleClient, name: PoolName, body: Json) -> None:
    """Create a pool, and wait until it is there."""
    collection = f"/v1/projects/{segment(name.project)}/locations/global/workloadIdentityPools"
    _create(client, name, collection, {"workloadIdentityPoolId": name.pool}, body)


def update_pool(client: GoogleClient, name: PoolName, body: Json, mask: Iterable[str]) -> None:
    """Set the fields of a pool that the mask names, and no other."""
    _update(client, name, body, mask)


def delete_pool(client: GoogleClient, name: PoolName) -> bool:
    """Delete a pool with its providers, softly; False where there is none that could be deleted."""
    return _delete(client, name)


def undelete_pool(client: GoogleClient, name: PoolName) -> None:
    """Restore a deleted pool, as it was."""
    _undelete(client, name)


def get_provider(client: GoogleClient, name: ProviderName) -> Json | None:
    """Return a provider, also a deleted one (`state: DELETED`); None where there is none."""
    return _get(client, name)


def list_providers(client: GoogleClient, pool: PoolName) -> list[Json]:
    """Return every provider of a pool, without the deleted ones."""
    permission = "iam.workloadIdentityPoolProviders.list"
    request = Request("GET", _SERVICE, f"/v1/{pool}/providers", f"list the providers of the pool {pool.pool}", permission=permission)
    return _pages(client, request, "workloadIdentityPoolProviders")


def list_service_accounts(client: GoogleClient, project: str) -> list[Json]:
    """Return every service account of a project."""
    doing = f"list the service accounts of the project {project}"
    request = Request("GET", _SERVICE, f"/v1/projects/{segment(project)}/serviceAccounts", doing, permission="iam.serviceAccounts.list")
    return _pages(client, request, "accounts")


def create_provider(client: GoogleClient, name: ProviderName, body: Json) -> None:
    """Create a provider, and wait until it is there."""
    _create(client, name, f"/v1/{name.pool}/providers", {"workloadIdentityPoolProviderId": name.provider}, body)


def update_provider(client: GoogleClient, name: ProviderName, body: Json, mask: Iterable[str]) -> None:
    """Set the fields of a provider that the mask names (`oidc.jwksJson`), and no other."""
    _update(client, name, body, mask)


def delete_provider(client: GoogleClient, name: ProviderName) -> bool:
    """Delete a provider, softly; False where there is none that could be deleted."""
    return _delete(client, name)


def undelete_provider(client: GoogleClient, name: ProviderName) -> None:
    """Restore a deleted provider, as it was."""
    _undelete(client, name)


def get_service_account(client: GoogleClient, account: GoogleServiceAccount) -> Json | None:
    """Return a service account; None where there is none."""
    return client.find(_account_request("GET", account, "look up", "get"))


def create_service_account(client: GoogleClient, project: str, account_id: str, body: Json) -> Json:
    """Create a service account (`displayName`, `description`) and return it. For a while the rest of Google does not know it."""
    return client.call(
        Request(
            "POST",
            _SERVICE,
            f"/v1/projects/{segment(project)}/serviceAccounts",
            f"create the service account {account_id} in the project {project}",
            body={"accountId": account_id, "serviceAccount": body},
            permission="iam.serviceAccounts.create",
            # A repeated creation is refused as taken; who creates looks then whether it was its own. So below, too.
            is_repeatable=True,
        )
    )


def delete_service_account(client: GoogleClient, account: GoogleServiceAccount) -> bool:
    """Delete a service account; False where there is none."""
    return client.find(_account_request("DELETE", account, "delete", "delete")) is not None


@dataclass(frozen=True, slots=True)
class ServiceAccountPolicy:
    """The IAM policy of a service account: who may act as it; a `PolicyHolder`."""

    client: GoogleClient
    account: GoogleServiceAccount

    def __str__(self) -> str:
        return f"the service account {self.account}"

    def read_policy(self) -> Policy:
        """Return the policy with its conditions."""
        return self.client.call(
            Request(
                "POST",
                _SERVICE,
                f"{_account_path(self.account)}:getIamPolicy",
                f"read the IAM policy of {self}",
                query={"options.requestedPolicyVersion": str(CONDITIONS_VERSION)},
                permission="iam.serviceAccounts.getIamPolicy",
                is_repeatable=True,
            )
        )

    def write_policy(self, policy: Policy) -> Policy:
        """Write the whole policy under its etag."""
        return self.client.call(
            Request(
                "POST",
                _SERVICE,
                f"{_account_path(self.account)}:setIamPolicy",
                f"change the IAM policy of {self}",
                body={"policy": policy},
                permission="iam.serviceAccounts.setIamPolicy",
            )
        )


def _account_path(account: GoogleServiceAccount) -> str:
    return f"/v1/projects/{segment(account.project or '-')}/serviceAccounts/{segment(account.email)}"


def _account_request(verb: Literal["GET", "DELETE"], account: GoogleServiceAccount, words: str, permission: str) -> Request:
    doing = f"{words} the service account {account}"
    return Request(verb, _SERVICE, _account_path(account), doing, permission=f"iam.serviceAccounts.{permission}")


def _words(verb: str, name: Name) -> str:
    return f"{verb} the {_KIND[type(name)]} {name.provider if isinstance(name, ProviderName) else name.pool}"


def _get(client: GoogleClient, name: Name) -> Json | None:
    return client.find(Request("GET", _SERVICE, f"/v1/{name}", _words("look up", name), permission=f"{_PERMISSION[type(name)]}.get"))


def _pages(client: GoogleClient, request: Request, member: str) -> list[Json]:
    """Return what all pages of a list hold; nothing where the place itself is not there."""
    found: list[Json] = []
    query = {"pageSize": "100"}
    while True:
        answer = client.find(replace(request, query=query)) or {}
        found.extend(answer.get(member, []))
        if not answer.get("nextPageToken"):
            return found
        query = {**query, "pageToken": str(answer["nextPageToken"])}


def _create(client: GoogleClient, name: Name, collection: str, query: dict[str, str], body: Json) -> None:
    doing = _words("create", name)
    permission = f"{_PERMISSION[type(name)]}.create"
    _finish(client, Request("POST", _SERVICE, collection, doing, query=query, body=body, permission=permission, is_repeatable=True))


def _update(client: GoogleClient, name: Name, body: Json, mask: Iterable[str]) -> None:
    # Setting the same fields to the same values twice is setting them once.
    _finish(
        client,
        Request(
            "PATCH",
            _SERVICE,
            f"/v1/{name}",
            _words("change", name),
            query={"updateMask": ",".join(mask)},
            body=body,
            permission=f"{_PERMISSION[type(name)]}.update",
            is_repeatable=True,
        ),
    )


def _delete(client: GoogleClient, name: Name) -> bool:
    doing = _words("delete", name)
    try:
        operation = client.find(Request("DELETE", _SERVICE, f"/v1/{name}", doing, permission=f"{_PERMISSION[type(name)]}.delete"))
    except GoogleRefusedError as error:
        # What Google answers to a second deletion is not published; what counts is whether it is deleted. [?]
        if error.kind in {FaultKind.FAILED_PRECONDITION, FaultKind.INVALID} and (_get(client, name) or {}).get("state") == "DELETED":
            return False
        raise
    if operation is None:
        return False
    finish(client, _SERVICE, "v1", operation, doing)
    return True


def _undelete(client: GoogleClient, name: Name) -> None:
    doing = _words("restore", name)
    permission = f"{_PERMISSION[type(name)]}.undelete"
    _finish(client, Request("POST", _SERVICE, f"/v1/{name}:undelete", doing, body={}, permission=permission, is_repeatable=True))


def _finish(client: GoogleClient, request: Request) -> None:
    finish(client, _SERVICE, "v1", client.call(request), request.doing)
