# SPDX-License-Identifier: Apache-2.0
import json
from datetime import timedelta

import jwt
import pytest

from unit.sandbox.google.world import CREDENTIALS, EMAIL, IAM, NOW, OWNER, POOL_NAME, PROJECT, SUBJECT, World, refusal

ACCOUNT = f"{IAM}/serviceAccounts/{EMAIL}"
MEMBER = f"principal://iam.googleapis.com/{POOL_NAME}/subject/{SUBJECT}"
SCOPE = ["https://www.googleapis.com/auth/cloud-platform"]
NOW_S = int(NOW.timestamp())


@pytest.fixture
def token(world: World) -> str:
    """A federated token of a workload that may act as the account, with the scope that google-auth asks for."""
    world.federate()
    world.account()
    world.grant(ACCOUNT, "roles/iam.workloadIdentityUser", MEMBER)
    return world.federated(scope="https://www.googleapis.com/auth/iam")


def test_a_workload_impersonates_an_account(world: World, token: str) -> None:
    world.grant(f"cloudresourcemanager.googleapis.com/v1/projects/{PROJECT}", "roles/viewer", f"serviceAccount:{EMAIL}")
    body = {"delegates": None, "scope": SCOPE, "lifetime": "600s"}
    answer = world.own("POST", f"{CREDENTIALS}:generateAccessToken", body, token=token)
    assert answer["expireTime"] == (world.clock.now() + timedelta(seconds=600)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert (
        world.own("GET", f"cloudresourcemanager.googleapis.com/v1/projects/{PROJECT}", token=answer["accessToken"])["projectId"] == PROJECT
    )
    assert world.universe.log.entries()[-1]["caller"] == EMAIL
    world.wait(timedelta(seconds=600))
    assert world.ask("GET", f"cloudresourcemanager.googleapis.com/v1/projects/{PROJECT}", token=answer["accessToken"]).status == 401


def test_without_the_binding_it_is_refused_and_the_text_is_google_s(world: World) -> None:
    world.federate()
    world.account()
    token = world.federated()
    for name, permission in (("generateAccessToken", "getAccessToken"), ("generateIdToken", "getOpenIdToken")):
        answer = world.ask("POST", f"{CREDENTIALS}:{name}", {"scope": SCOPE, "audience": "a"}, token=token)
        text = f"Permission 'iam.serviceAccounts.{permission}' denied on resource (or it may not exist)."
        assert refusal(answer) == (403, "PERMISSION_DENIED", text)
        info = json.loads(answer.body)["error"]["details"][0]
        assert (info["reason"], info["domain"]) == ("IAM_PERMISSION_DENIED", "iam.googleapis.com")


def test_an_account_that_is_not_there_is_revealed_to_those_only_who_may_act_in_the_project(world: World, token: str) -> None:
    other = CREDENTIALS.replace("demo-sa", "missing")
    assert world.ask("POST", f"{other}:generateAccessToken", {"scope": SCOPE}, token=token).status == 403
    world.grant(f"cloudresourcemanager.googleapis.com/v1/projects/{PROJECT}", "roles/iam.serviceAccountTokenCreator", f"user:{OWNER}")
    answer = world.ask("POST", f"{other}:generateAccessToken", {"scope": SCOPE})
    assert refusal(answer) == (404, "NOT_FOUND", f"Not found; Gaia id not found for email missing@{PROJECT}.iam.gserviceaccount.com")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"scope": SCOPE, "lifetime": "0s"}, "Lifetime of access token must be larger then zero."),
        (
            {"scope": SCOPE, "lifetime": "3601s"},
            "The requested lifetime is too long: access tokens cannot have lifetimes of more than 1 hour.",
        ),
        ({"scope": SCOPE, "lifetime": "an hour"}, "Invalid value at 'lifetime'"),
        ({}, "Scope required."),
    ],
)
def test_a_bad_request_is_refused(world: World, token: str, body: object, message: str) -> None:
    code, status, text = refusal(world.ask("POST", f"{CREDENTIALS}:generateAccessToken", body, token=token))
    assert (code, status) == (400, "INVALID_ARGUMENT")
    assert text.startswith(message)


def test_chains_of_delegates_are_not_here(world: World, token: str) -> None:
    assert world.ask("POST", f"{CREDENTIALS}:generateAccessToken", {"scope": SCOPE, "delegates": ["x@y"]}, token=token).status == 501


def test_an_id_token_verifies_against_google_s_published_keys(world: World, token: str) -> None:
    unique_id = world.own("GET", ACCOUNT)["uniqueId"]
    issued = world.own("POST", f"{CREDENTIALS}:generateIdToken", {"audience": "https://orders.example"}, token=token)["token"]
    keys = jwt.PyJWKSet.from_dict(world.own("GET", "www.googleapis.com/oauth2/v3/certs", who=""))
    key = next(key for key in keys.keys if key.key_id == jwt.get_unverified_header(issued)["kid"])
    claims = jwt.decode(issued, key, ["RS256"], audience="https://orders.example", options={"verify_exp": False, "verify_iat": False})
    now = int(world.clock.now().timestamp())
    assert claims == {
        "aud": "https://orders.example",
        "azp": unique_id,
        "exp": now + 3600,
        "iat": now,
        "iss": "https://accounts.google.com",
        "sub": unique_id,
    }
    with_email = world.own("POST", f"{CREDENTIALS}:generateIdToken", {"audience": "a", "includeEmail": True}, token=token)["token"]
    claims = jwt.decode(with_email, options={"verify_signature": False})
    assert (claims["email"], claims["email_verified"]) == (EMAIL, True)
    assert refusal(world.ask("POST", f"{CREDENTIALS}:generateIdToken", {}, token=token))[2] == "Audience required."


def test_a_disabled_account_gets_no_tokens(world: World, token: str) -> None:
    world.own("POST", f"{ACCOUNT}:disable", {})
    answer = world.ask("POST", f"{CREDENTIALS}:generateAccessToken", {"scope": SCOPE}, token=token)
    assert refusal(answer)[1] == "FAILED_PRECONDITION"


def test_locations_are_everywhere(world: World, token: str) -> None:
    everywhere = {"locations": [], "encodedLocations": "0x0"}
    assert world.own("GET", f"{CREDENTIALS}/allowedLocations", token=token) == everywhere
    assert world.own("GET", f"iamcredentials.googleapis.com/v1/{POOL_NAME}/allowedLocations", token=token) == everywhere
