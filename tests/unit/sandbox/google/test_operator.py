# SPDX-License-Identifier: Apache-2.0
"""What a logged-in operator's tools ask for besides IAM: OAuth, projects, services, roles."""

import json
from typing import Any
from urllib.parse import urlencode

import jwt
from cryptography import x509

from podpass.sandbox.google.identities import user_id
from podpass.sandbox.google.oauth import GCLOUD_CLIENT, refresh_token
from podpass.sandbox.google.roles import PERMISSIONS
from unit.sandbox.google.world import NUMBER, OWNER, PROJECT, World, refusal

TOKEN = "oauth2.googleapis.com/token"
SERVICES = f"serviceusage.googleapis.com/v1/projects/{PROJECT}/services"


def refresh(world: World, token: str, grant: str = "refresh_token") -> tuple[int, dict[str, Any]]:
    answer = world.ask("POST", TOKEN, urlencode({"grant_type": grant, "refresh_token": token}).encode(), who="")
    return answer.status, json.loads(answer.body)


def test_a_refresh_token_gives_access_tokens(world: World) -> None:
    status, answer = refresh(world, refresh_token(world.universe.tokens, OWNER))
    assert (status, answer["expires_in"], answer["token_type"]) == (200, 3599, "Bearer")
    info = world.own("GET", f"oauth2.googleapis.com/tokeninfo?access_token={answer['access_token']}", who="")
    assert (info["email"], info["expires_in"]) == (OWNER, "3599")


def test_a_logged_in_user_has_an_id_token_for_its_client(world: World) -> None:
    fields = {"grant_type": "refresh_token", "refresh_token": refresh_token(world.universe.tokens, OWNER), "client_id": GCLOUD_CLIENT}
    answer = world.own("POST", TOKEN, urlencode(fields).encode(), who="")
    claims = jwt.decode(
        answer["id_token"], world.universe.signing_key.public_key, ["RS256"], options={"verify_exp": False}, audience=GCLOUD_CLIENT
    )
    assert (claims["email"], claims["email_verified"], claims["sub"]) == (OWNER, True, user_id(OWNER))
    narrow = {**fields, "scope": "https://www.googleapis.com/auth/cloud-platform"}
    assert "id_token" not in world.own("POST", TOKEN, urlencode(narrow).encode(), who="")


def test_an_access_token_is_no_refresh_token_and_the_other_way_round(world: World) -> None:
    access = world.universe.identities.user_token(OWNER, [])
    assert refresh(world, access)[1]["error"] == "invalid_grant"
    assert world.universe.identities.bearer(refresh_token(world.universe.tokens, OWNER)) is None
    assert refresh(world, "1//x")[1]["error"] == "invalid_grant"
    assert refresh(world, "x", grant="password")[1]["error"] == "unsupported_grant_type"


def test_tokeninfo_does_not_know_federated_tokens(world: World) -> None:
    """google-behaviour: STS, measured."""
    world.federate()
    assert world.ask("GET", f"oauth2.googleapis.com/tokeninfo?access_token={world.federated()}", who="").status == 400


def test_google_s_certificates_and_key_set_hold_the_same_key(world: World) -> None:
    certificates = world.own("GET", "www.googleapis.com/oauth2/v1/certs", who="")
    keys = world.own("GET", "www.googleapis.com/oauth2/v3/certs", who="")["keys"]
    assert list(certificates) == [keys[0]["kid"]]
    certificate = x509.load_pem_x509_certificate(next(iter(certificates.values())).encode())
    assert certificate.public_key() == world.universe.signing_key.public_key


def test_a_project_is_found_by_id_and_number_in_both_versions(world: World) -> None:
    v1 = {"projectId": PROJECT, "projectNumber": NUMBER, "lifecycleState": "ACTIVE", "name": PROJECT, "createTime": "2026-03-01T12:00:00Z"}
    v3 = {"name": f"projects/{NUMBER}", "projectId": PROJECT, "state": "ACTIVE", "displayName": PROJECT, "createTime": v1["createTime"]}
    for name in (PROJECT, NUMBER):
        assert world.own("GET", f"cloudresourcemanager.googleapis.com/v1/projects/{name}") == v1
        assert world.own("GET", f"cloudresourcemanager.googleapis.com/v3/projects/{name}") == v3
        policy = world.own("POST", f"cloudresourcemanager.googleapis.com/v3/projects/{name}:getIamPolicy")
        assert policy["bindings"] == [{"role": "roles/owner", "members": [f"user:{OWNER}"]}]
    assert world.ask("GET", "cloudresourcemanager.googleapis.com/v1/projects/unknown").status == 403


def test_other_projects_are_the_operator_s_too() -> None:
    world = World(other_projects=(("other-project", "99"),))
    assert world.own("GET", "cloudresourcemanager.googleapis.com/v1/projects/99")["projectId"] == "other-project"


def test_services_are_listed_and_enabled() -> None:
    world = World(disabled_apis=frozenset({"iam.googleapis.com", "sts.googleapis.com"}))
    listed = [each["config"]["name"] for each in world.own("GET", f"{SERVICES}?filter=state:ENABLED&pageSize=200")["services"]]
    assert listed == [
        "cloudidentity.googleapis.com",
        "cloudresourcemanager.googleapis.com",
        "iamcredentials.googleapis.com",
        "run.googleapis.com",
        "serviceusage.googleapis.com",
        "storage.googleapis.com",
    ]
    assert world.own("GET", f"{SERVICES}/iam.googleapis.com")["state"] == "DISABLED"
    done = world.own("POST", f"{SERVICES}:batchEnable", {"serviceIds": ["iam.googleapis.com", "sts.googleapis.com"]})
    assert (done["name"], done["done"]) == ("operations/noop.DONE_OPERATION", True)
    assert world.own("GET", f"{SERVICES}/iam.googleapis.com") == {
        "name": f"projects/{NUMBER}/services/iam.googleapis.com",
        "config": {"name": "iam.googleapis.com"},
        "state": "ENABLED",
        "parent": f"projects/{NUMBER}",
    }
    assert refusal(world.ask("POST", f"{SERVICES}/nonsense:enable"))[2] == "Not found or permission denied for service(s): nonsense."
    assert refusal(world.ask("POST", f"{SERVICES}:batchEnable", {}))[0] == 400
    assert refusal(world.ask("GET", f"{SERVICES}?filter=state:DISABLED"))[0] == 400


def test_roles_can_be_read(world: World) -> None:
    role = world.own("GET", "iam.googleapis.com/v1/roles/iam.workloadIdentityUser")
    assert role["name"] == "roles/iam.workloadIdentityUser"
    assert set(role["includedPermissions"]) == PERMISSIONS["roles/iam.workloadIdentityUser"]
    assert refusal(world.ask("GET", "iam.googleapis.com/v1/roles/none"))[2] == "The role named roles/none was not found."
