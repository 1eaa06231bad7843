# SPDX-License-Identifier: Apache-2.0
import json
from datetime import timedelta

import pytest

from unit.sandbox.google.world import EMAIL, IAM, OWNER, PROJECT, STRANGER, World, refusal

ACCOUNTS = f"{IAM}/serviceAccounts"
ACCOUNT = f"{ACCOUNTS}/{EMAIL}"
ANYWHERE = "iam.googleapis.com/v1/projects/-/serviceAccounts"
PROJECT_URL = f"cloudresourcemanager.googleapis.com/v1/projects/{PROJECT}"


def test_an_account_is_found_by_email_and_by_unique_id_in_any_project(world: World) -> None:
    created = world.own("POST", ACCOUNTS, {"accountId": "demo-sa", "serviceAccount": {"displayName": "Demo", "description": "d"}})
    assert created["name"] == f"projects/{PROJECT}/serviceAccounts/{EMAIL}"
    assert (created["displayName"], created["description"], created["email"]) == ("Demo", "d", EMAIL)
    assert len(created["uniqueId"]) == 21
    assert "visibleFrom_s" not in created
    for url in (ACCOUNT, f"{ANYWHERE}/{EMAIL}", f"{ANYWHERE}/{created['uniqueId']}"):
        assert world.own("GET", url) == created
    assert world.own("GET", f"{ACCOUNTS}?pageSize=100") == {"accounts": [created]}


def test_an_id_that_is_taken_is_named(world: World) -> None:
    world.account()
    answer = world.ask("POST", ACCOUNTS, {"accountId": "demo-sa"})
    message = f"Service account demo-sa already exists within project projects/{PROJECT}."
    assert refusal(answer) == (409, "ALREADY_EXISTS", message)
    detail = {"@type": "type.googleapis.com/google.rpc.ResourceInfo", "resourceName": f"projects/{PROJECT}/serviceAccounts/{EMAIL}"}
    assert json.loads(answer.body)["error"]["details"] == [detail]


@pytest.mark.parametrize("account_id", ["", "short", "a" * 31, "1digit-first", "Upper-case", "ends-with-", EMAIL])
def test_a_bad_id_is_refused(world: World, account_id: str) -> None:
    assert refusal(world.ask("POST", ACCOUNTS, {"accountId": account_id}))[:2] == (400, "INVALID_ARGUMENT")


def test_an_unknown_account_is_404_to_those_who_may_know(world: World) -> None:
    assert refusal(world.ask("GET", ACCOUNT)) == (404, "NOT_FOUND", "Unknown service account")
    assert world.ask("GET", ACCOUNT, who=STRANGER).status == 403
    assert world.ask("GET", f"{ANYWHERE}/nobody@elsewhere.iam.gserviceaccount.com").status == 403


@pytest.mark.parametrize("method", ["getIamPolicy", "setIamPolicy", "testIamPermissions"])
def test_an_unknown_account_has_no_policy(world: World, method: str) -> None:
    assert refusal(world.ask("POST", f"{ACCOUNT}:{method}", {"policy": {}})) == (404, "NOT_FOUND", "Unknown service account")


def test_a_deleted_account_stays_in_policies_under_another_name_and_can_be_had_back(world: World) -> None:
    world.account()
    unique_id = world.own("GET", ACCOUNT)["uniqueId"]
    world.grant(PROJECT_URL, "roles/viewer", f"serviceAccount:{EMAIL}")
    world.grant(ACCOUNT, "roles/iam.workloadIdentityUser", f"user:{STRANGER}")
    policy = world.own("POST", f"{PROJECT_URL}:getIamPolicy")["bindings"]
    assert world.own("DELETE", ACCOUNT) == {}
    assert world.ask("GET", ACCOUNT).status == 404
    deleted = world.own("POST", f"{PROJECT_URL}:getIamPolicy")["bindings"]
    assert deleted[-1]["members"] == [f"deleted:serviceAccount:{EMAIL}?uid={unique_id}"]
    restored = world.own("POST", f"{ANYWHERE}/{unique_id}:undelete", {})["restoredAccount"]
    assert (restored["email"], restored["uniqueId"]) == (EMAIL, unique_id)
    assert world.own("POST", f"{PROJECT_URL}:getIamPolicy")["bindings"] == policy
    assert world.own("POST", f"{ACCOUNT}:getIamPolicy")["bindings"][0]["members"] == [f"user:{STRANGER}"]


def test_an_email_can_be_used_again_and_is_somebody_else(world: World) -> None:
    world.account()
    world.grant(PROJECT_URL, "roles/viewer", f"serviceAccount:{EMAIL}")
    world.grant(ACCOUNT, "roles/iam.workloadIdentityUser", f"user:{STRANGER}")
    first = world.own("GET", ACCOUNT)["uniqueId"]
    world.own("DELETE", ACCOUNT)
    world.account()
    assert world.own("GET", ACCOUNT)["uniqueId"] != first
    assert world.own("POST", f"{ACCOUNT}:getIamPolicy") == {"etag": "ACAB"}
    assert refusal(world.ask("POST", f"{ANYWHERE}/{first}:undelete", {}))[1] == "FAILED_PRECONDITION"
    account = world.universe.store.get("serviceAccount", EMAIL)
    assert account
    token = world.universe.identities.account_token(account.value, [], 60)
    assert world.ask("GET", PROJECT_URL, token=token).status == 403


def test_after_30_days_an_account_is_gone_for_good(world: World) -> None:
    world.account()
    unique_id = world.own("GET", ACCOUNT)["uniqueId"]
    world.own("DELETE", ACCOUNT)
    world.wait(timedelta(days=30))
    assert world.ask("POST", f"{ANYWHERE}/{unique_id}:undelete", {}).status == 404


def test_a_disabled_or_deleted_account_s_tokens_are_refused(world: World) -> None:
    world.account()
    world.grant(PROJECT_URL, "roles/viewer", f"serviceAccount:{EMAIL}")
    account = world.universe.store.get("serviceAccount", EMAIL)
    assert account
    token = world.universe.identities.account_token(account.value, [], 3600)
    assert world.ask("GET", PROJECT_URL, token=token).status == 200
    world.own("POST", f"{ACCOUNT}:disable", {})
    assert world.own("GET", ACCOUNT)["disabled"] is True
    assert world.ask("GET", PROJECT_URL, token=token).status == 401
    world.own("POST", f"{ACCOUNT}:enable", {})
    assert "disabled" not in world.own("GET", ACCOUNT)
    assert world.ask("GET", PROJECT_URL, token=token).status == 200
    world.own("DELETE", ACCOUNT)
    assert world.ask("GET", PROJECT_URL, token=token).status == 401


def test_an_owner_may_not_mint_tokens_until_granted(world: World) -> None:
    world.account()
    asked = {"permissions": ["iam.serviceAccounts.getAccessToken", "iam.serviceAccounts.get"]}
    assert world.own("POST", f"{ACCOUNT}:testIamPermissions", asked) == {"permissions": ["iam.serviceAccounts.get"]}
    world.grant(ACCOUNT, "roles/iam.serviceAccountTokenCreator", f"user:{OWNER}")
    assert world.own("POST", f"{ACCOUNT}:testIamPermissions", asked) == asked
