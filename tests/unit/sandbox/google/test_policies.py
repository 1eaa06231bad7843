# SPDX-License-Identifier: Apache-2.0
import base64
import json
from datetime import timedelta

import pytest

from unit.sandbox.google.world import EMAIL, IAM, NOW, OWNER, POOL_NAME, PROJECT, STRANGER, World, refusal

PROJECT_URL = f"cloudresourcemanager.googleapis.com/v1/projects/{PROJECT}"
ACCOUNT = f"{IAM}/serviceAccounts/{EMAIL}"
VIEW = {"role": "roles/viewer", "members": [f"user:{STRANGER}"]}
OWN = {"role": "roles/owner", "members": [f"user:{OWNER}"]}
TITLED = {"title": "t", "expression": "request.time < timestamp('2026-03-01T13:00:00Z')"}


def test_an_empty_policy_has_the_etag_acab(world: World) -> None:
    world.account()
    assert world.own("POST", f"{ACCOUNT}:getIamPolicy") == {"etag": "ACAB"}


def test_a_stale_etag_is_refused_and_an_absent_one_overwrites(world: World) -> None:
    stale = world.own("POST", f"{PROJECT_URL}:getIamPolicy")
    world.own("POST", f"{PROJECT_URL}:setIamPolicy", {"policy": {"bindings": [OWN, VIEW]}})
    answer = world.ask("POST", f"{PROJECT_URL}:setIamPolicy", {"policy": {**stale, "bindings": [OWN]}})
    assert refusal(answer) == (
        409,
        "ABORTED",
        "There were concurrent policy changes. Please retry the whole read-modify-write with exponential backoff.",
    )
    world.own("POST", f"{PROJECT_URL}:setIamPolicy", {"policy": {"bindings": [OWN]}})
    assert world.own("POST", f"{PROJECT_URL}:getIamPolicy")["bindings"] == [OWN]


def test_an_empty_etag_of_the_past_is_stale_too(world: World) -> None:
    world.account()
    binding = {"role": "roles/iam.workloadIdentityUser", "members": [f"user:{STRANGER}"]}
    world.own("POST", f"{ACCOUNT}:setIamPolicy", {"policy": {"etag": "ACAB", "bindings": [binding]}})
    assert world.ask("POST", f"{ACCOUNT}:setIamPolicy", {"policy": {"etag": "ACAB"}}).status == 409


def test_an_etag_is_bytes_and_may_come_back_in_the_url_safe_alphabet(world: World) -> None:
    differing = 0
    for _ in range(32):
        policy = world.own("POST", f"{PROJECT_URL}:getIamPolicy")
        safe = base64.urlsafe_b64encode(base64.b64decode(policy["etag"])).decode()
        world.own("POST", f"{PROJECT_URL}:setIamPolicy", {"policy": {**policy, "etag": safe}})
        differing += safe != policy["etag"]
    assert differing
    assert world.ask("POST", f"{PROJECT_URL}:setIamPolicy", {"policy": {"bindings": [OWN], "etag": "%"}}).status == 400


def test_a_policy_without_bindings_is_empty_not_unchanged(world: World) -> None:
    world.account()
    world.grant(ACCOUNT, "roles/iam.workloadIdentityUser", f"user:{STRANGER}")
    etag = world.own("POST", f"{ACCOUNT}:getIamPolicy")["etag"]
    assert world.own("POST", f"{ACCOUNT}:setIamPolicy", {"policy": {"etag": etag, "version": 3}}) == {"etag": "ACAB"}
    assert world.own("POST", f"{ACCOUNT}:getIamPolicy") == {"etag": "ACAB"}


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("?options.requestedPolicyVersion=3", None),
        ("?optionsRequestedPolicyVersion=3", None),
        ("", {"options": {"requestedPolicyVersion": 3}}),
    ],
)
def test_the_version_can_be_asked_for_in_every_spelling(world: World, query: str, body: object) -> None:
    conditional = {**VIEW, "condition": TITLED}
    world.own("POST", f"{PROJECT_URL}:setIamPolicy", {"policy": {"version": 3, "bindings": [OWN, conditional]}})
    policy = world.own("POST", f"{PROJECT_URL}:getIamPolicy{query}", body)
    assert policy["version"] == 3
    assert conditional in policy["bindings"]
    folded = world.own("POST", f"{PROJECT_URL}:getIamPolicy")
    assert folded["version"] == 1
    assert [each["role"].partition("_withcond_")[0] for each in folded["bindings"]] == ["roles/owner", "roles/viewer"]
    assert not any("condition" in each for each in folded["bindings"])


def test_a_policy_without_conditions_is_version_1_whatever_was_written(world: World) -> None:
    world.own("POST", f"{PROJECT_URL}:setIamPolicy", {"policy": {"version": 3, "bindings": [OWN, VIEW]}})
    assert world.own("POST", f"{PROJECT_URL}:getIamPolicy?options.requestedPolicyVersion=3")["version"] == 1


def test_bindings_of_one_role_and_condition_are_joined(world: World) -> None:
    other = {"role": "roles/viewer", "members": ["group:readers@example.com", f"user:{STRANGER}"]}
    conditional = {**VIEW, "condition": TITLED}
    policy = world.own("POST", f"{PROJECT_URL}:setIamPolicy", {"policy": {"version": 3, "bindings": [VIEW, other, OWN, conditional]}})
    joined = {"role": "roles/viewer", "members": [f"user:{STRANGER}", "group:readers@example.com"]}
    assert policy["bindings"] == [OWN, joined, conditional]


@pytest.mark.parametrize(
    ("binding", "message"),
    [
        *(
            ({"role": role, "members": [f"user:{OWNER}"]}, f"Role {role} is not supported for this resource.")
            for role in ("roles/none", "roles/storage.objectViwer", "roles/pubsub", "projects/demo-project/roles/own")
        ),
        ({"role": "roles/viewer", "members": ["someone@example.com"]}, "The member someone@example.com is of an unknown type."),
        (
            {"role": "roles/viewer", "members": ["serviceAccount:nobody@demo-project.iam.gserviceaccount.com"]},
            "Service account nobody@demo-project.iam.gserviceaccount.com does not exist.",
        ),
        (
            {"role": "roles/viewer", "members": ["serviceAccount:demo-project.svc.id.goog[ns/sa]"]},
            "Identity Pool does not exist (demo-project.svc.id.goog). Please check that you specified a valid resource name",
        ),
        (
            {"role": "roles/viewer", "members": [f"principal://iam.googleapis.com/{POOL_NAME}/subject/s"]},
            f"Identity Pool does not exist ({POOL_NAME}).",
        ),
        ({"role": "roles/viewer", "members": [f"principal://iam.googleapis.com/{POOL_NAME}/group/g"]}, "Invalid principal: "),
        ({"role": "roles/viewer", "members": ["allUsers"]}, "Members of type allUsers and allAuthenticatedUsers cannot be added"),
        ({**VIEW, "condition": {"expression": "true"}}, "A condition needs a title."),
        ({**VIEW, "condition": {"title": "t", "expression": "nonsense("}}, "Condition expression compilation failed."),
        ({**VIEW, "condition": {"title": "t", "expression": "1"}}, "Condition expression compilation failed."),
        ({"role": 1, "members": []}, "Invalid value at 'policy.bindings'"),
    ],
)
def test_a_bad_binding_is_refused(world: World, binding: object, message: str) -> None:
    code, status, text = refusal(world.ask("POST", f"{PROJECT_URL}:setIamPolicy", {"policy": {"version": 3, "bindings": [OWN, binding]}}))
    assert (code, status) == (400, "INVALID_ARGUMENT")
    assert text.startswith(message)


def test_a_role_of_a_service_that_is_not_played_is_kept_on_a_project_and_nowhere_else(world: World) -> None:
    world.account()
    binding = {"role": "roles/pubsub.publisher", "members": [f"user:{STRANGER}"]}
    assert binding in world.own("POST", f"{PROJECT_URL}:setIamPolicy", {"policy": {"bindings": [OWN, binding]}})["bindings"]
    answer = world.ask("POST", f"{ACCOUNT}:setIamPolicy", {"policy": {"bindings": [binding]}})
    assert refusal(answer)[2] == "Role roles/pubsub.publisher is not supported for this resource."


def test_conditions_need_version_3(world: World) -> None:
    answer = world.ask("POST", f"{PROJECT_URL}:setIamPolicy", {"policy": {"bindings": [OWN, {**VIEW, "condition": TITLED}]}})
    assert refusal(answer)[2] == "A policy with conditional role bindings must have its version set to 3."


def test_a_role_that_cannot_matter_is_refused(world: World) -> None:
    world.account()
    binding = {"role": "roles/storage.admin", "members": [f"user:{STRANGER}"]}
    answer = world.ask("POST", f"{ACCOUNT}:setIamPolicy", {"policy": {"bindings": [binding]}})
    assert refusal(answer)[2] == "Role roles/storage.admin is not supported for this resource."


def test_a_change_takes_effect_after_a_while_and_so_does_its_removal() -> None:
    world = World(propagation=timedelta(seconds=70))
    policy = world.own("POST", f"{PROJECT_URL}:setIamPolicy", {"policy": {"bindings": [OWN, VIEW]}})
    assert VIEW in world.own("POST", f"{PROJECT_URL}:getIamPolicy")["bindings"]
    assert world.ask("GET", PROJECT_URL, who=STRANGER).status == 403
    world.wait(timedelta(seconds=69))
    assert world.ask("GET", PROJECT_URL, who=STRANGER).status == 403
    world.wait(timedelta(seconds=1))
    assert world.ask("GET", PROJECT_URL, who=STRANGER).status == 200
    world.own("POST", f"{PROJECT_URL}:setIamPolicy", {"policy": {**policy, "bindings": [OWN]}})
    world.wait(timedelta(seconds=69))
    assert world.ask("GET", PROJECT_URL, who=STRANGER).status == 200
    world.wait(timedelta(seconds=1))
    assert world.ask("GET", PROJECT_URL, who=STRANGER).status == 403


def test_changes_take_effect_one_after_the_other() -> None:
    world = World(propagation=timedelta(seconds=10))
    for bindings in ([OWN, VIEW], [OWN], [OWN, VIEW]):
        world.own("POST", f"{PROJECT_URL}:setIamPolicy", {"policy": {"bindings": bindings}})
        world.wait(timedelta(seconds=3))
    seen = []
    for _ in range(4):
        seen.append(world.ask("GET", PROJECT_URL, who=STRANGER).status)
        world.wait(timedelta(seconds=3))
    assert seen == [403, 200, 403, 200]


def test_a_condition_decides_by_time_and_resource(world: World) -> None:
    world.own("POST", f"{PROJECT_URL}:setIamPolicy", {"policy": {"version": 3, "bindings": [OWN, {**VIEW, "condition": TITLED}]}})
    world.wait()
    assert world.ask("GET", PROJECT_URL, who=STRANGER).status == 200
    world.wait(timedelta(hours=1))
    assert world.ask("GET", PROJECT_URL, who=STRANGER).status == 403
    for expression, status in (
        (f"resource.name.startsWith('projects/{PROJECT}/serviceAccounts/')", 200),
        ("resource.type == 'iam.googleapis.com/ServiceAccount' && resource.service == 'iam.googleapis.com'", 200),
        ("resource.name.endsWith('other')", 403),
    ):
        binding = {**VIEW, "condition": {"title": "t", "expression": expression}}
        world.own("POST", f"{PROJECT_URL}:setIamPolicy", {"policy": {"version": 3, "bindings": [OWN, binding]}})
        world.wait()
        assert (world.ask("GET", ACCOUNT, who=STRANGER).status in {200, 404}) == (status == 200)


def test_a_role_on_the_project_holds_below_it_and_not_the_other_way_round(world: World) -> None:
    world.account()
    world.grant(ACCOUNT, "roles/iam.serviceAccountAdmin", f"user:{STRANGER}")
    assert world.ask("GET", ACCOUNT, who=STRANGER).status == 200
    assert world.ask("GET", f"{IAM}/serviceAccounts", who=STRANGER).status == 403
    world.grant(PROJECT_URL, "roles/iam.serviceAccountAdmin", f"user:{STRANGER}")
    assert world.ask("GET", f"{IAM}/serviceAccounts", who=STRANGER).status == 200


def test_callers_can_ask_about_themselves(world: World) -> None:
    body = {"permissions": ["resourcemanager.projects.get", "resourcemanager.projects.setIamPolicy"]}
    world.own("POST", f"{PROJECT_URL}:setIamPolicy", {"policy": {"bindings": [OWN, VIEW]}})
    world.wait()
    assert world.own("POST", f"{PROJECT_URL}:testIamPermissions", body) == body
    assert json.loads(world.ask("POST", f"{PROJECT_URL}:testIamPermissions", body, who=STRANGER).body) == {
        "permissions": ["resourcemanager.projects.get"]
    }
    assert json.loads(world.ask("POST", f"{PROJECT_URL}:testIamPermissions", body, who="third@example.com").body) == {}


def test_a_new_account_is_unknown_to_policies_for_a_moment(world: World) -> None:
    world.own("POST", f"{IAM}/serviceAccounts", {"accountId": "demo-sa"})
    policy = {"policy": {"bindings": [OWN, {"role": "roles/viewer", "members": [f"serviceAccount:{EMAIL}"]}]}}
    assert refusal(world.ask("POST", f"{PROJECT_URL}:setIamPolicy", policy))[2] == f"Service account {EMAIL} does not exist."
    world.wait(world.universe.settings.account_visibility)
    world.own("POST", f"{PROJECT_URL}:setIamPolicy", policy)
    assert world.clock.now() > NOW
