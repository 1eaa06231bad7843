# SPDX-License-Identifier: Apache-2.0
import json
from datetime import timedelta

import pytest

from token_forge import ec_signer, kubernetes_claims, rsa_signer
from unit.sandbox.google.world import (
    AUDIENCE,
    EMAIL,
    IAM,
    ISSUER,
    MAPPING,
    NOW,
    POOL_NAME,
    POOLS,
    PROJECT,
    SUBJECT,
    World,
    subject_token,
)

PROJECT_URL = f"cloudresourcemanager.googleapis.com/v1/projects/{PROJECT}"
MEMBER = f"principal://iam.googleapis.com/{POOL_NAME}/subject/{SUBJECT}"
NOW_S = int(NOW.timestamp())


def oauth(world: World, token: str | None = None, **changed: str) -> tuple[int, str, str]:
    answer = world.exchange(token, **changed)
    told = json.loads(answer.body)
    return answer.status, told["error"], told["error_description"]


def test_a_subject_token_is_exchanged(world: World) -> None:
    world.federate()
    answer = json.loads(world.exchange().body)
    assert answer["access_token"].startswith("ya29.")
    assert answer["issued_token_type"] == "urn:ietf:params:oauth:token-type:access_token"
    assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 3598)


def test_a_json_body_does_as_well(world: World) -> None:
    world.federate()
    body = {
        "grantType": "urn:ietf:params:oauth:grant-type:token-exchange",
        "audience": AUDIENCE,
        "scope": "https://www.googleapis.com/auth/cloud-platform",
        "requestedTokenType": "urn:ietf:params:oauth:token-type:access_token",
        "subjectToken": subject_token(),
        "subjectTokenType": "urn:ietf:params:oauth:token-type:jwt",
    }
    assert world.own("POST", "sts.googleapis.com/v1/token", body, who="", content_type="application/json")["expires_in"] == 3598
    assert world.ask("POST", "sts.googleapis.com/v1/token", b"[]", who="", content_type="application/json").status == 400


def test_an_audience_with_the_project_s_id_means_the_same_pool(world: World) -> None:
    world.federate()
    token = world.federated(audience=AUDIENCE.replace("415104041262", PROJECT))
    caller = world.universe.identities.bearer(token)
    assert caller
    assert caller.name == MEMBER


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"audience": f"https:{AUDIENCE}"}, (400, "invalid_request", 'Invalid value for "audience".')),
        ({"audience": AUDIENCE.replace("demo-oidc", "other")}, (400, "invalid_target", "The target service indicated by")),
        ({"subject_token": "x"}, (400, "invalid_grant", "Unable to parse the ID Token.")),
        ({"grant_type": "password"}, (400, "unsupported_grant_type", 'Invalid value for "grant_type"')),
        ({"requested_token_type": ""}, (400, "invalid_request", 'Invalid value for "requested_token_type"')),
        ({"subject_token_type": "saml"}, (400, "invalid_request", 'Invalid value for "subject_token_type"')),
        ({"scope": ""}, (400, "invalid_scope", 'Invalid value for "scope"')),
        ({"options": "x" * 4097}, (400, "invalid_request", 'Invalid value for "options"')),
    ],
)
def test_a_bad_request_is_refused_as_oauth_has_it(world: World, changed: dict[str, str], expected: tuple[int, str, str]) -> None:
    world.federate()
    status, code, text = oauth(world, **changed)
    assert (status, code) == expected[:2]
    assert text.startswith(expected[2])


def test_the_judgement_is_that_of_wif(world: World) -> None:
    world.federate(attributeCondition="assertion.sub.endsWith(':demo')")
    assert world.exchange().status == 200
    assert oauth(world, subject_token(sub="system:serviceaccount:default:other"))[1:] == (
        "unauthorized_client",
        "The given credential is rejected by the attribute condition.",
    )
    assert oauth(world, subject_token(iss="https://other.example"))[1] == "invalid_grant"
    forged = rsa_signer("rsa-1", 2048).token(kubernetes_claims(iss=ISSUER, aud=[AUDIENCE], iat=NOW_S, exp=NOW_S + 60))[:-8] + "AAAAAAAA"
    assert oauth(world, forged)[1:] == ("invalid_grant", "Unable to verify the ID Token signature.")


def test_a_bearer_is_refused_and_a_client_s_basic_header_tolerated(world: World) -> None:
    world.federate()
    bearer = world.ask("POST", "sts.googleapis.com/v1/token", b"", token="ya29.x", content_type="application/x-www-form-urlencoded")
    assert json.loads(bearer.body)["error"] == "invalid_request"
    basic = world.ask("POST", "sts.googleapis.com/v1/introspect", b"token=x", who="", authorization="Basic eDp5")
    assert json.loads(basic.body) == {"active": False}


def test_a_token_in_its_last_seconds_has_no_expires_in(world: World) -> None:
    """google-behaviour: STS, measured."""
    world.federate()
    answer = json.loads(world.exchange(subject_token(exp=NOW_S + 2)).body)
    assert "expires_in" not in answer


def test_a_federated_token_reaches_resources_directly(world: World) -> None:
    world.federate()
    token = world.federated()
    assert world.ask("GET", PROJECT_URL, token=token).status == 403
    for member in (
        MEMBER,
        f"principalSet://iam.googleapis.com/{POOL_NAME}/attribute.namespace/shop",
        f"principalSet://iam.googleapis.com/{POOL_NAME}/*",
    ):
        before = world.own("POST", f"{PROJECT_URL}:getIamPolicy")
        world.grant(PROJECT_URL, "roles/viewer", member)
        assert world.ask("GET", PROJECT_URL, token=token).status == 200
        world.own("POST", f"{PROJECT_URL}:setIamPolicy", {"policy": {"bindings": before["bindings"]}})
        world.wait()
        assert world.ask("GET", PROJECT_URL, token=token).status == 403


def test_groups_are_members_too(world: World) -> None:
    world.federate(attributeMapping={**MAPPING, "google.groups": "['readers', 'writers']"})
    world.grant(PROJECT_URL, "roles/viewer", f"principalSet://iam.googleapis.com/{POOL_NAME}/group/readers")
    assert world.ask("GET", PROJECT_URL, token=world.federated()).status == 200


def test_everybody_with_an_account_does_not_mean_workloads(world: World) -> None:
    world.federate()
    world.account()
    world.grant(f"{IAM}/serviceAccounts/{EMAIL}", "roles/iam.serviceAccountAdmin", "allAuthenticatedUsers")
    assert world.ask("GET", f"{IAM}/serviceAccounts/{EMAIL}", who="anybody@example.com").status == 200
    assert world.ask("GET", f"{IAM}/serviceAccounts/{EMAIL}", token=world.federated()).status == 403


@pytest.mark.parametrize("act", ["disable", "delete"])
def test_a_pool_that_is_stopped_stops_its_tokens_but_a_provider_only_new_ones(world: World, act: str) -> None:
    """google-behaviour: pools."""
    world.federate()
    world.grant(PROJECT_URL, "roles/viewer", MEMBER)
    token = world.federated()
    stop = ("DELETE", "", None) if act == "delete" else ("PATCH", "?updateMask=disabled", {"disabled": True})
    world.own(stop[0], f"{POOLS}/demo-pool/providers/demo-oidc{stop[1]}", stop[2])
    assert oauth(world)[1] == "invalid_target"
    assert world.ask("GET", PROJECT_URL, token=token).status == 200
    world.own(stop[0], f"{POOLS}/demo-pool{stop[1]}", stop[2])
    assert oauth(world)[1] == "invalid_target"
    assert world.ask("GET", PROJECT_URL, token=token).status == 401


def test_introspection_says_whose_a_token_is(world: World) -> None:
    world.federate()
    token = world.federated()
    answer = world.own("POST", "sts.googleapis.com/v1/introspect", f"token={token}".encode(), who="")
    assert answer["active"] is True
    assert (answer["username"], answer["sub"], answer["iss"]) == (MEMBER, SUBJECT, "https://sts.googleapis.com/")
    assert (answer["iat"], answer["exp"]) == (NOW_S, NOW_S + 3598)
    world.wait(timedelta(hours=1))
    assert world.own("POST", "sts.googleapis.com/v1/introspect", f"token={token}".encode(), who="") == {"active": False}


def test_an_issuer_outside_the_universe_cannot_be_reached(world: World) -> None:
    world.federate(oidc={"issuerUri": ISSUER})
    assert oauth(world)[1:] == ("invalid_grant", "Error connecting to the given credential's issuer.")


def test_an_elliptic_key_is_as_good(world: World) -> None:
    world.federate(ec_signer())
    claims = kubernetes_claims(iss=ISSUER, aud=[AUDIENCE], sub=SUBJECT, iat=NOW_S, exp=NOW_S + 3600)
    assert world.exchange(ec_signer().token(claims)).status == 200
