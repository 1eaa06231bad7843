# SPDX-License-Identifier: Apache-2.0
import json
import re
from datetime import timedelta

import pytest

from podpass.sandbox.google import dispatcher
from podpass.sandbox.google.caller import CLOUD_PLATFORM
from podpass.sandbox.google.catalogue import SERVICES
from podpass.sandbox.google.message import Answer, Request
from podpass.sandbox.google.resource import project_resource
from podpass.sandbox.google.service import Call, Method, Public, Service, method, methods_of
from podpass.sandbox.store import Json
from unit.sandbox.google.world import EMAIL, IAM, OWNER, POOLS, PROJECT, STRANGER, World, reason, refusal

METHODS = [(service, each) for service in SERVICES for each in service.methods]
ASKING = [(service, each) for service, each in METHODS if not isinstance(each.permission, Public)]
AUTHENTICATING = ASKING + [
    (service, each) for service, each in METHODS if isinstance(each.permission, Public) and each.permission.authenticated
]
RESOURCE_MANAGER = f"cloudresourcemanager.googleapis.com/v1/projects/{PROJECT}"


def example(service: Service, each: Method) -> str:
    """A URL of the method, with something plausible for each part of the path."""
    values = {"project": PROJECT, "account": EMAIL, "pool": "demo-pool", "provider": "demo-oidc", "service": "iam.googleapis.com"}
    path = re.sub(r"\{([a-z_]+)(=\*\*?)?\}", lambda found: values.get(found[1], "something"), each.path)
    return f"{service.hosts[0]}{path}?project={PROJECT}&uploadType=media&name=x"


@pytest.mark.parametrize(("service", "declared"), ASKING, ids=[f"{each.verb} {each.path}" for _, each in ASKING])
def test_every_method_asks_iam(world: World, service: Service, declared: Method) -> None:
    """Neither a stranger nor nobody gets an answer; a 404 may come first where Google reveals that something is not there."""
    world.federate()
    world.account()
    url = example(service, declared)
    for caller in ("", STRANGER):
        answer = world.ask(declared.verb, url, {}, who=caller)
        assert answer.status in {401, 403, 404}, answer
        if declared.on is None or answer.status != 404:
            assert world.universe.log.entries()[-1]["method"] == declared.id


@pytest.mark.parametrize(("service", "declared"), AUTHENTICATING, ids=[f"{each.verb} {each.path}" for _, each in AUTHENTICATING])
def test_no_method_opens_to_a_foreign_token(world: World, service: Service, declared: Method) -> None:
    assert world.ask(declared.verb, example(service, declared), {}, token="ya29.forged").status == 401


def test_a_method_without_permission_does_not_import() -> None:
    with pytest.raises(TypeError, match="has no permission"):
        method(id="x.get", verb="GET", path="/x", permission="")
    with pytest.raises(TypeError, match="no resource to check it on"):
        method(id="x.get", verb="GET", path="/x", permission="x.get")
    with pytest.raises(TypeError, match="permission"):
        method(id="x.get", verb="GET", path="/x")  # type: ignore[call-arg]  # that it cannot be left out is the claim


def test_an_unknown_method_answers_501_and_is_named(world: World) -> None:
    code, status, message = refusal(world.ask("POST", f"{IAM}/serviceAccounts/{EMAIL}:frobnicate"))
    assert (code, status) == (501, "UNIMPLEMENTED")
    assert f"POST https://iam.googleapis.com/v1/projects/demo-project/serviceAccounts/{EMAIL}:frobnicate" in message


def test_a_missing_and_a_bad_token_answer_401(world: World) -> None:
    missing = world.ask("GET", RESOURCE_MANAGER, who="")
    assert refusal(missing)[:2] == (401, "UNAUTHENTICATED")
    assert "missing required authentication credential. Expected OAuth 2 access token" in refusal(missing)[2]
    bad = world.ask("GET", RESOURCE_MANAGER, token="ya29.nonsense")
    assert refusal(bad)[2].startswith("Request had invalid authentication credentials. Expected OAuth 2 access token")
    basic = world.google.handle(
        Request("GET", "cloudresourcemanager.googleapis.com", f"/v1/projects/{PROJECT}", headers={"authorization": "Basic eDp5"})
    )
    assert basic.status == 401


def test_a_token_ends(world: World) -> None:
    token = world.universe.identities.user_token(OWNER, [])
    world.wait(timedelta(seconds=3599))
    assert world.ask("GET", RESOURCE_MANAGER, token=token).status == 200
    world.wait(timedelta(seconds=1))
    assert world.ask("GET", RESOURCE_MANAGER, token=token).status == 401


def test_a_refusal_names_the_permission(world: World) -> None:
    answer = world.ask("GET", RESOURCE_MANAGER, who=STRANGER)
    assert refusal(answer) == (
        403,
        "PERMISSION_DENIED",
        "Permission 'resourcemanager.projects.get' denied on resource (or it may not exist).",
    )
    assert reason(answer) == "IAM_PERMISSION_DENIED"
    assert json.loads(answer.body)["error"]["details"][0]["metadata"]["permission"] == "resourcemanager.projects.get"


def test_a_narrow_token_is_refused(world: World) -> None:
    token = world.universe.identities.user_token(OWNER, ["https://www.googleapis.com/auth/iam"])
    answer = world.ask("GET", RESOURCE_MANAGER, token=token)
    assert refusal(answer) == (403, "PERMISSION_DENIED", "Request had insufficient authentication scopes.")
    assert reason(answer) == "ACCESS_TOKEN_SCOPE_INSUFFICIENT"


def test_an_api_that_is_off_says_where_to_switch_it_on() -> None:
    world = World(disabled_apis=frozenset({"iam.googleapis.com"}))
    answer = world.ask("GET", POOLS)
    code, status, message = refusal(answer)
    assert (code, status, reason(answer)) == (403, "PERMISSION_DENIED", "SERVICE_DISABLED")
    assert message.startswith(
        "Identity and Access Management (IAM) API has not been used in project 415104041262 before or it is disabled."
    )
    world.own("POST", f"serviceusage.googleapis.com/v1/projects/{PROJECT}/services/iam.googleapis.com:enable")
    assert world.own("GET", POOLS) == {}


def test_a_failure_of_the_sandbox_says_so(world: World, caplog: pytest.LogCaptureFixture) -> None:
    @method(id="x.get", verb="GET", path="/x", permission=Public("a test"))
    def fail(_call: Call) -> Json:
        raise KeyError("gone")

    served = dispatcher.Dispatcher(world.universe, [Service("x.googleapis.com", "X", (fail,))])
    code, status, message = refusal(served.handle(Request("GET", "x.googleapis.com", "/x")))
    assert (code, status) == (500, "INTERNAL")
    assert message == "The sandbox itself failed: KeyError('gone')."
    assert "GET https://x.googleapis.com/x failed" in caplog.text


def test_the_log_tells_who_did_what_and_holds_no_token(world: World) -> None:
    token = world.universe.identities.user_token(OWNER, [])
    world.ask("GET", f"oauth2.googleapis.com/tokeninfo?access_token={token}", who="")
    world.ask("GET", RESOURCE_MANAGER, token=token)
    last = world.universe.log.entries()[-1]
    assert (last["method"], last["status"], last["caller"]) == ("cloudresourcemanager.projects.get", 200, OWNER)
    assert last["finished"] >= last["started"]
    assert token not in json.dumps(world.universe.log.entries())


def test_a_path_is_split_before_it_is_decoded() -> None:
    seen: list[Json] = []

    @method(id="x.get", verb="GET", path="/b/{bucket}/o/{object=*}", permission=Public("a test"))
    def get(call: Call) -> Json:
        seen.append(dict(call.params))
        return {}

    @method(id="x.all", verb="GET", path="/{bucket}/{object=**}", permission=Public("a test"))
    def rest(call: Call) -> Answer:
        seen.append(dict(call.params))
        return Answer(204)

    world = World()
    made = Service("x.googleapis.com", "X", (get, rest))
    served = dispatcher.Dispatcher(world.universe, [made])
    assert served.handle(Request("GET", "x.googleapis.com", "/b/demo/o/.well-known%2Fopenid-configuration")).status == 200
    assert served.handle(Request("HEAD", "x.googleapis.com", "/demo/.well-known/openid-configuration")).status == 204
    assert [each["object"] for each in seen] == [".well-known/openid-configuration"] * 2


LISTED = tuple(
    method(id=f"y.{name}", verb="GET", path=f"/{name}", permission="y.get", on=lambda _: project_resource(PROJECT))(lambda _: {})
    for name in ("one", "two")
)


def test_methods_are_collected_from_a_module_also_out_of_tuples() -> None:
    assert {each.id for each in methods_of(__name__)} == {"y.one", "y.two"}


def test_every_service_but_storage_wants_a_broad_token() -> None:
    assert {service.name for service in SERVICES if service.scopes == (CLOUD_PLATFORM,)} == {
        "iam.googleapis.com",
        "oauth2.googleapis.com",
        "sts.googleapis.com",
    }
