# SPDX-License-Identifier: Apache-2.0
"""Cloud Run's Admin API without its processes: what is kept, shown and refused."""

import json
from typing import Any

import pytest

from unit.sandbox.google.run.service import NAME, NUMBERED_URL, POLICY, SERVICE, SERVING, URL, deployed, service
from unit.sandbox.google.world import EMAIL, IAM, NUMBER, OWNER, PROJECT, STRANGER, World, refusal


def test_a_service_is_shown_as_knative_has_it(world: World) -> None:
    deployed(world, custom_audiences='["https://api.example"]')
    shown = world.own("GET", SERVICE)
    metadata, status = shown["metadata"], shown["status"]
    assert (metadata["namespace"], metadata["generation"]) == (NUMBER, 1)
    assert metadata["labels"]["cloud.googleapis.com/location"] == "us-central1"
    assert metadata["annotations"]["serving.knative.dev/creator"] == OWNER
    assert json.loads(metadata["annotations"]["run.googleapis.com/urls"]) == [NUMBERED_URL, URL]
    assert metadata["annotations"]["run.googleapis.com/custom-audiences"] == '["https://api.example"]'
    assert (status["url"], status["observedGeneration"]) == (URL, 1)
    assert [each["type"] for each in status["conditions"]] == ["Ready", "ConfigurationsReady", "RoutesReady"]
    assert {each["status"] for each in status["conditions"]} == {"Unknown"}  # nothing runs it here
    revision = world.own("GET", f"{SERVING}/revisions/{status['latestCreatedRevisionName']}")
    assert revision["spec"]["containers"][0]["image"] == "podpass.dev/demo/auth-server"
    assert shown == world.own("GET", f"{SERVING.replace(PROJECT, NUMBER)}/services/{NAME}")


def test_another_template_is_another_revision_and_the_same_one_is_not(world: World) -> None:
    deployed(world)
    first = world.own("GET", SERVICE)
    same = world.own("PUT", SERVICE, {**service(), "metadata": {"name": NAME, "labels": {"a": "b"}}})
    assert same["status"]["latestCreatedRevisionName"] == first["status"]["latestCreatedRevisionName"]
    assert (same["metadata"]["generation"], same["metadata"]["labels"]["a"]) == (2, "b")
    assert same["metadata"]["creationTimestamp"] == first["metadata"]["creationTimestamp"]
    changed = world.own("PUT", SERVICE, service(env=[{"name": "A", "value": "b"}]))
    assert changed["status"]["latestCreatedRevisionName"].startswith("auth-server-00003-")
    revisions = world.own("GET", f"{SERVING}/revisions?labelSelector=serving.knative.dev/service%20%3D%20{NAME}")["items"]
    assert len(revisions) == 2
    assert world.own("GET", f"{SERVING}/revisions?labelSelector=serving.knative.dev/service=other")["items"] == []


def test_a_stale_write_is_refused(world: World) -> None:
    deployed(world)
    read = world.own("GET", SERVICE)
    world.own("PUT", SERVICE, read)
    code, status, message = refusal(world.ask("PUT", SERVICE, read))
    assert (code, status) == (409, "ABORTED")
    assert message.startswith(f"Conflict for resource '{NAME}': version '")


def test_a_dry_run_changes_nothing(world: World) -> None:
    world.own("POST", f"{SERVING}/services?dryRun=all", service())
    assert world.ask("GET", SERVICE).status == 404


def test_names_are_taken_once_a_region(world: World) -> None:
    deployed(world)
    assert refusal(world.ask("POST", f"{SERVING}/services", service())) == (
        409,
        "ALREADY_EXISTS",
        "Resource 'auth-server' already exists.",
    )
    other = SERVING.replace("us-central1", "europe-west1")
    elsewhere = world.own("POST", f"{other}/services", service())
    assert elsewhere["status"]["url"] == URL.replace("-uc.", "-ew.")
    listed = world.own("GET", f"run.googleapis.com/v1/projects/{PROJECT}/locations/-/services")["items"]
    assert [each["metadata"]["labels"]["cloud.googleapis.com/location"] for each in listed] == ["europe-west1", "us-central1"]
    assert len(world.own("GET", f"{other}/services")["items"]) == 1


def test_a_deleted_service_leaves_nothing_behind(world: World) -> None:
    before = world.universe.dump()
    deployed(world)
    world.own("POST", f"{POLICY}:setIamPolicy", {"policy": {"bindings": [{"role": "roles/run.invoker", "members": ["allUsers"]}]}})
    world.own("DELETE", SERVICE)
    assert world.universe.dump() == before
    code, status, message = refusal(world.ask("GET", SERVICE))
    assert (code, status) == (404, "NOT_FOUND")
    assert message == f"Resource '{NAME}' of kind 'SERVICE' in region 'us-central1' in project '{PROJECT}' does not exist."
    assert world.ask("GET", f"{POLICY}:getIamPolicy").status == 404


def template(**more: object) -> dict[str, Any]:
    made = service()
    made["spec"]["template"] |= more
    return made


def split() -> dict[str, Any]:
    made = service()
    made["spec"]["traffic"] = [{"latestRevision": True, "percent": 50}]
    return made


REFUSED: list[tuple[str, dict[str, Any], int, str]] = [
    ("capitals", service("Auth"), 400, "metadata.name: only lowercase, digits, and hyphens"),
    ("fifty characters", service("a" * 50), 400, "metadata.name: only lowercase"),
    ("no image", service(image=""), 400, "containers[0].image: is required"),
    ("no container", template(spec={"containers": []}), 400, "must contain exactly one container"),
    ("two containers", template(spec={"containers": [{"image": "a"}, {"image": "b"}]}), 501, "services of several containers"),
    ("PORT", service(env=[{"name": "PORT", "value": "1"}]), 400, "The following reserved env names were provided: PORT."),
    ("no words", service(args="x"), 400, "spec.template.spec: Expected `array`, got `str` - at `$.containers[0].args`"),
    ("a day", template(spec={"containers": [{"image": "a"}], "timeoutSeconds": 86400}), 400, "Expected `int` <= 3600"),
    ("a secret", service(env=[{"name": "A", "valueFrom": {"secretKeyRef": {}}}]), 501, "variables from secrets"),
    ("a foreign revision", template(metadata={"name": "other-1"}), 400, "Revision name must be prefixed by"),
    ("half the traffic", split(), 501, "traffic"),
    ("no list of audiences", service(annotations={"run.googleapis.com/custom-audiences": '"x"'}), 400, "must be a JSON list of texts"),
    ("nothing", {"metadata": {"name": "a"}}, 400, "spec: is required"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "code", "words"), [each[1:] for each in REFUSED], ids=[each[0] for each in REFUSED])
def test_what_cannot_be_run_is_refused_by_name(world: World, body: dict[str, Any], code: int, words: str) -> None:
    found, _, message = refusal(world.ask("POST", f"{SERVING}/services", body))
    assert (found, words in message) == (code, True), message


def test_a_service_account_needs_actas(world: World) -> None:
    world.account()
    body = service()
    body["spec"]["template"]["spec"]["serviceAccountName"] = EMAIL
    world.grant(f"cloudresourcemanager.googleapis.com/v1/projects/{PROJECT}", "roles/run.admin", f"user:{STRANGER}")
    answer = world.ask("POST", f"{SERVING}/services", body, who=STRANGER)
    assert refusal(answer)[2] == f"Permission 'iam.serviceaccounts.actAs' denied on service account {EMAIL} (or it may not exist)."
    world.grant(f"{IAM}/serviceAccounts/{EMAIL}", "roles/iam.serviceAccountUser", f"user:{STRANGER}")
    assert world.own("POST", f"{SERVING}/services", body, who=STRANGER)["spec"]["template"]["spec"]["serviceAccountName"] == EMAIL


def test_namespaces_are_to_be_had_on_a_region_s_host_only(world: World) -> None:
    assert refusal(world.ask("GET", SERVICE.replace("us-central1-", "")))[0] == 501


def test_the_policy_takes_roles_of_cloud_run_and_no_others(world: World) -> None:
    deployed(world)
    policy = {"policy": {"bindings": [{"role": "roles/storage.objectViewer", "members": ["allUsers"]}]}}
    code, _, message = refusal(world.ask("POST", f"{POLICY}:setIamPolicy", policy))
    assert (code, message) == (400, "Role roles/storage.objectViewer is not supported for this resource.")
    asked = {"permissions": ["run.routes.invoke", "storage.objects.get"]}
    assert world.own("POST", f"{POLICY}:testIamPermissions", asked) == {"permissions": ["run.routes.invoke"]}
    assert world.own("POST", f"{POLICY}:testIamPermissions", asked, who=STRANGER) == {}


def test_regions_are_listed(world: World) -> None:
    listed = world.own("GET", f"run.googleapis.com/v1/projects/{PROJECT}/locations")["locations"]
    assert {"name": f"projects/{NUMBER}/locations/us-central1", "locationId": "us-central1"} in listed
