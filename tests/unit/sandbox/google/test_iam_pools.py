# SPDX-License-Identifier: Apache-2.0
import json
from datetime import timedelta

import pytest

from unit.sandbox.google.world import ISSUER, MAPPING, NUMBER, POOL_NAME, POOLS, World, refusal

POOL = f"{POOLS}/demo-pool"
PROVIDER = f"{POOL}/providers/demo-oidc"
PRECONDITION = (400, "FAILED_PRECONDITION", "Precondition check failed.")


def test_a_pool_s_name_has_the_number_whatever_was_asked(world: World) -> None:
    operation = world.own("POST", f"{POOLS}?workloadIdentityPoolId=demo-pool", {"displayName": "Demo", "disabled": False})
    assert operation["name"].startswith(f"{POOL_NAME}/operations/")
    assert operation["metadata"] == {"@type": "type.googleapis.com/google.iam.admin.v1.WorkloadIdentityPoolOperationMetadata"}
    expected = {"name": POOL_NAME, "displayName": "Demo", "state": "ACTIVE"}
    assert world.own("GET", POOL) == expected
    assert world.own("GET", f"iam.googleapis.com/v1/{POOL_NAME}") == expected
    assert world.own("GET", f"{POOLS}?showDeleted=False") == {"workloadIdentityPools": [expected]}


def test_an_operation_is_done_when_it_is_asked_for(world: World) -> None:
    world.pool()
    body = {"attributeMapping": MAPPING, "oidc": {"issuerUri": ISSUER}}
    started = world.own("POST", f"{POOL}/providers?workloadIdentityPoolProviderId=demo-oidc", body)
    done = world.own("GET", f"iam.googleapis.com/v1/{started['name']}")
    assert done["done"] is True
    assert done["response"]["@type"] == "type.googleapis.com/google.iam.admin.v1.WorkloadIdentityPoolProvider"
    assert done["response"]["oidc"] == {"issuerUri": ISSUER}
    assert world.ask("GET", f"{POOL}/operations/unknown").status == 404


def test_lists_come_in_pages(world: World) -> None:
    for number in range(5):
        world.own("POST", f"{POOLS}?workloadIdentityPoolId=pool-{number}", {})
    first = world.own("GET", f"{POOLS}?pageSize=2")
    second = world.own("GET", f"{POOLS}?pageSize=2&pageToken={first['nextPageToken']}")
    last = world.own("GET", f"{POOLS}?pageSize=2&pageToken={second['nextPageToken']}")
    pages = [[each["name"][-1] for each in page["workloadIdentityPools"]] for page in (first, second, last)]
    assert pages == [["0", "1"], ["2", "3"], ["4"]]
    assert "nextPageToken" not in last
    assert world.ask("GET", f"{POOLS}?pageToken=%FF").status == 400
    assert world.ask("GET", f"{POOLS}?pageSize=-1").status == 400


def test_a_patch_obeys_its_mask(world: World) -> None:
    """gcloud always sends `disabled: false`; applying it would silently enable what somebody has disabled."""
    world.federate(displayName="before", disabled=True)
    world.own("PATCH", f"{PROVIDER}?updateMask=displayName%2Coidc.allowedAudiences", {"displayName": "after", "disabled": False})
    provider = world.own("GET", PROVIDER)
    assert (provider["displayName"], provider["disabled"]) == ("after", True)
    world.own("PATCH", f"{PROVIDER}?updateMask=disabled", {"disabled": False})
    assert "disabled" not in world.own("GET", PROVIDER)


def test_a_masked_field_that_the_body_lacks_is_cleared(world: World) -> None:
    world.federate(displayName="before")
    before = world.own("GET", PROVIDER)
    world.own("PATCH", f"{PROVIDER}?updateMask=displayName,oidc.jwksJson", {})
    after = world.own("GET", PROVIDER)
    assert "displayName" in before
    assert "displayName" not in after
    assert after["oidc"] == {"issuerUri": ISSUER}


@pytest.mark.parametrize("mask", ["", "name", "oidc.unknown"])
def test_a_mask_that_names_nothing_is_refused(world: World, mask: str) -> None:
    world.federate()
    assert refusal(world.ask("PATCH", f"{PROVIDER}?updateMask={mask}", {}))[:2] == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            {"oidc": {"issuerUri": "http://issuer.example"}, "attributeMapping": MAPPING},
            "Invalid OIDC issuer URI. The scheme must be https.",
        ),
        ({"oidc": {"issuerUri": "issuer.example"}, "attributeMapping": MAPPING}, "Invalid OIDC issuer URI."),
        ({"oidc": {"issuerUri": ISSUER}}, "The attribute mapping must contain the key google.subject."),
        ({"oidc": {"issuerUri": ISSUER, "jwksJson": "{"}, "attributeMapping": MAPPING}, "Input JWK is not in a valid json format"),
        ({"oidc": {"issuerUri": ISSUER}, "attributeMapping": {"google.subject": 1}}, "Invalid value at 'attributeMapping' (Map)"),
        ({"oidc": {"issuerUri": ["x"]}}, "Invalid value at 'oidc.issuerUri' (TYPE_STRING)"),
        ({"oidc": {"issuerUri": ISSUER, "allowedAudiences": [1]}}, "Invalid value at 'oidc.allowedAudiences' (List)"),
        ({"surprise": 1}, 'Invalid JSON payload received. Unknown name "surprise": Cannot find field.'),
    ],
)
def test_a_bad_provider_is_refused(world: World, body: object, message: str) -> None:
    world.pool()
    code, status, text = refusal(world.ask("POST", f"{POOL}/providers?workloadIdentityPoolProviderId=demo-oidc", body))
    assert (code, status) == (400, "INVALID_ARGUMENT")
    assert text.startswith(message)
    assert world.own("GET", f"{POOL}/providers") == {}


def test_the_rule_that_was_broken_is_named_with_its_field(world: World) -> None:
    answer = world.ask("POST", f"{POOLS}?workloadIdentityPoolId=abc", {"displayName": "x" * 33})
    violations = json.loads(answer.body)["error"]["details"][0]["fieldViolations"]
    assert [each["field"] for each in violations] == ["workloadIdentityPoolId", "displayName"]


def test_a_patch_cannot_make_a_provider_bad(world: World) -> None:
    world.federate()
    assert world.ask("PATCH", f"{PROVIDER}?updateMask=attributeCondition", {"attributeCondition": "1 +"}).status == 400
    assert "attributeCondition" not in world.own("GET", PROVIDER)


def test_other_kinds_of_providers_are_not_here(world: World) -> None:
    world.pool()
    assert world.ask("POST", f"{POOL}/providers?workloadIdentityPoolProviderId=demo-aws", {"aws": {"accountId": "1"}}).status == 501


def test_a_provider_needs_its_pool(world: World) -> None:
    assert refusal(world.ask("POST", f"{POOL}/providers?workloadIdentityPoolProviderId=demo-oidc", {}))[0] == 404
    assert refusal(world.ask("GET", f"{POOL}/providers")) == (404, "NOT_FOUND", "Requested entity was not found.")


def test_a_deleted_pool_keeps_its_id_for_30_days_and_can_be_had_back(world: World) -> None:
    world.federate()
    world.own("DELETE", POOL)
    deleted = world.own("GET", POOL)
    assert (deleted["state"], deleted["expireTime"]) == ("DELETED", "2026-03-31T12:00:00Z")
    assert world.own("GET", POOLS) == {}
    assert world.own("GET", f"{POOLS}?showDeleted=True")["workloadIdentityPools"] == [deleted]
    again = world.ask("POST", f"{POOLS}?workloadIdentityPoolId=demo-pool", {})
    assert refusal(again) == (409, "ALREADY_EXISTS", "Requested entity already exists")
    assert refusal(world.ask("PATCH", f"{POOL}?updateMask=displayName", {})) == PRECONDITION
    assert refusal(world.ask("DELETE", POOL)) == PRECONDITION
    world.own("POST", f"{POOL}:undelete", {})
    assert world.own("GET", POOL) == {"name": POOL_NAME, "displayName": "Demo", "state": "ACTIVE"}
    assert world.own("GET", PROVIDER)["state"] == "ACTIVE"
    assert refusal(world.ask("POST", f"{POOL}:undelete", {})) == PRECONDITION


def test_after_30_days_the_id_is_free_and_nothing_comes_back(world: World) -> None:
    world.federate()
    world.own("DELETE", POOL)
    world.wait(timedelta(days=30))
    assert world.ask("GET", POOL).status == 404
    assert world.ask("POST", f"{POOL}:undelete", {}).status == 404
    assert world.own("GET", f"{POOLS}?showDeleted=true") == {}
    world.pool()
    assert world.own("GET", f"{POOL}/providers") == {}


def test_a_deleted_provider_keeps_its_id_too(world: World) -> None:
    world.federate()
    world.own("DELETE", PROVIDER)
    assert world.own("GET", f"{POOL}/providers") == {}
    assert world.own("GET", PROVIDER)["state"] == "DELETED"
    body = {"attributeMapping": MAPPING, "oidc": {"issuerUri": ISSUER}}
    assert world.ask("POST", f"{POOL}/providers?workloadIdentityPoolProviderId=demo-oidc", body).status == 409
    world.own("POST", f"{PROVIDER}:undelete", {})
    assert world.own("GET", PROVIDER)["state"] == "ACTIVE"


def test_a_tombstone_stands_by_name_in_the_dump(world: World) -> None:
    before = world.universe.dump()
    world.federate()
    assert world.universe.dump() != before
    world.own("DELETE", PROVIDER)
    world.own("DELETE", POOL)
    after = world.universe.dump()
    assert after.pop("tombstones") == [f"pool {POOL_NAME}", f"provider {POOL_NAME}/providers/demo-oidc"]
    assert after == {name: value for name, value in before.items() if name != "tombstones"}
    assert NUMBER in POOL_NAME
