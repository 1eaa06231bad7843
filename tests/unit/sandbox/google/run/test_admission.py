# SPDX-License-Identifier: Apache-2.0
"""Cloud Run's four checks, and what of a token reaches the container."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from podpass.sandbox.google.oauth import GCLOUD_CLIENT
from podpass.sandbox.google.run.admission import Admission, Refusal, admit
from podpass.sandbox.store import Record
from token_forge import rsa_signer
from unit.sandbox.google.run.service import NUMBERED_URL, URL, account_claims, account_token, deployed, invoker, user_token
from unit.sandbox.google.world import EMAIL, IAM, OWNER, PROJECT, STRANGER, World

ACCOUNT = f"serviceAccount:{EMAIL}"
Make = Callable[[World], str]


@pytest.fixture
def guarded(world: World) -> Record:
    """A service that the account alone may invoke."""
    world.account()
    record = deployed(world, custom_audiences='["https://api.example"]')
    invoker(world, ACCOUNT)
    return record


def ask(world: World, service: Record, token: str | None, header: str = "authorization") -> Admission:
    headers = [(b"host", b"x"), *([(header.encode(), f"Bearer {token}".encode())] if token is not None else [])]
    return admit(world.universe, service, headers)


def refused(world: World, service: Record, token: str | None) -> int:
    with pytest.raises(Refusal) as caught:
        ask(world, service, token)
    return caught.value.status


@pytest.mark.parametrize("audience", [URL, NUMBERED_URL, "https://api.example"])
def test_a_member_with_a_token_for_the_service_is_admitted(world: World, guarded: Record, audience: str) -> None:
    assert ask(world, guarded, account_token(world, audience)).caller.email == EMAIL


def own_key(world: World) -> str:
    key = world.universe.account_key(EMAIL)
    assert key
    return key.sign(account_claims(world))


NO_ADMISSION: list[tuple[str, int, Make]] = [
    ("another audience", 401, lambda world: account_token(world, "https://other.example")),
    ("the URL with a path", 401, lambda world: account_token(world, f"{URL}/")),
    ("an expired one", 401, lambda world: account_token(world, iat=1, exp=2)),
    ("not valid yet", 401, lambda world: account_token(world, iat=int(world.clock.now().timestamp()) + 600)),
    ("Google's old name", 401, lambda world: account_token(world, iss="accounts.google.com")),
    ("a cluster's issuer", 401, lambda world: account_token(world, iss="https://kubernetes.default.svc")),
    ("a foreign key", 401, lambda world: rsa_signer().token(account_claims(world))),
    ("a foreign key under Google's kid", 401, lambda world: rsa_signer(world.universe.signing_key.kid).token(account_claims(world))),
    ("an account's own key", 401, own_key),
    ("no signature", 401, lambda world: account_token(world).rpartition(".")[0] + "."),
    ("what a container has seen", 401, lambda world: account_token(world).rpartition(".")[0] + ".SIGNATURE_REMOVED_BY_GOOGLE"),
    ("an access token", 401, lambda world: world.universe.identities.user_token(OWNER, [])),
    ("junk", 401, lambda _: "junk"),
    ("nothing behind the word", 401, lambda _: ""),
    ("a subject that nobody has", 401, lambda world: account_token(world, sub="1" * 21)),
    ("a user under another's email", 401, lambda world: account_token(world, sub="1" * 21, email=OWNER, email_verified=True)),
    ("an account with gcloud's audience", 401, lambda world: account_token(world, GCLOUD_CLIENT)),
    ("somebody who is no member", 403, lambda world: user_token(world, STRANGER)),
]


@pytest.mark.parametrize(("status", "make"), [each[1:] for each in NO_ADMISSION], ids=[each[0] for each in NO_ADMISSION])
def test_every_other_token_is_refused(world: World, guarded: Record, status: int, make: Make) -> None:
    assert refused(world, guarded, make(world)) == status


def test_without_a_bearer_token_it_is_403(world: World, guarded: Record) -> None:
    assert refused(world, guarded, None) == 403
    with pytest.raises(Refusal) as caught:
        admit(world.universe, guarded, [(b"authorization", b"Basic eDp5")])
    assert caught.value.status == 403


@pytest.mark.parametrize(
    "member",
    [ACCOUNT, "group:direct@example.com", "group:outer@example.com", "allAuthenticatedUsers"],
)
def test_an_account_is_a_member_directly_by_group_or_as_anybody_known(world: World, guarded: Record, member: str) -> None:
    world.universe.groups.declare("direct@example.com", [EMAIL])
    world.universe.groups.declare("outer@example.com", ["direct@example.com"])
    invoker(world, member)
    assert ask(world, guarded, account_token(world)).caller.email == EMAIL


@pytest.mark.parametrize("member", [f"user:{STRANGER}", "domain:example.com", "group:people@example.com"])
def test_a_user_is_a_member_directly_by_domain_or_by_group(world: World, guarded: Record, member: str) -> None:
    world.universe.groups.declare("people@example.com", [STRANGER])
    invoker(world, member)
    assert ask(world, guarded, user_token(world, STRANGER, GCLOUD_CLIENT)).caller.email == STRANGER


@pytest.mark.parametrize(
    "member",
    ["domain:demo-project.iam.gserviceaccount.com", f"user:{EMAIL}", "group:other@example.com", "projectViewer:demo-project"],
)
def test_an_account_is_no_member_by_what_only_looks_like_it(world: World, guarded: Record, member: str) -> None:
    invoker(world, member)
    assert refused(world, guarded, account_token(world)) == 403


def test_the_role_counts_on_the_project_too_and_only_if_it_holds_the_permission(world: World, guarded: Record) -> None:
    invoker(world, f"user:{STRANGER}", role="roles/run.viewer")
    assert refused(world, guarded, user_token(world, STRANGER)) == 403
    world.grant(f"cloudresourcemanager.googleapis.com/v1/projects/{PROJECT}", "roles/run.invoker", f"user:{STRANGER}")
    assert ask(world, guarded, user_token(world, STRANGER)).caller.email == STRANGER


def test_a_changed_policy_takes_its_time(world: World, guarded: Record) -> None:
    invoker(world, f"user:{STRANGER}")
    world.own("POST", "run.googleapis.com/v1/projects/demo-project/locations/us-central1/services/auth-server:setIamPolicy", {"policy": {}})
    assert ask(world, guarded, user_token(world, STRANGER)).caller.email == STRANGER
    world.wait()
    assert refused(world, guarded, user_token(world, STRANGER)) == 403


def test_an_account_that_is_disabled_or_made_anew_is_not_who_it_was(world: World, guarded: Record) -> None:
    token = account_token(world)
    world.own("POST", f"{IAM}/serviceAccounts/{EMAIL}:disable", {})
    assert refused(world, guarded, token) == 401
    world.own("DELETE", f"{IAM}/serviceAccounts/{EMAIL}")
    world.account()
    invoker(world, ACCOUNT)
    assert refused(world, guarded, token) == 401
    assert ask(world, guarded, account_token(world)).caller.email == EMAIL


def test_a_token_ends(world: World, guarded: Record) -> None:
    token = account_token(world)
    world.wait(timedelta(minutes=62))
    assert refused(world, guarded, token) == 401


def test_the_container_does_not_see_the_signature(world: World, guarded: Record) -> None:
    token = account_token(world)
    seen = dict(ask(world, guarded, token).headers)
    assert seen[b"authorization"] == f"Bearer {token.rpartition('.')[0]}.SIGNATURE_REMOVED_BY_GOOGLE".encode()


def test_the_serverless_header_is_judged_first_and_taken_off_and_the_other_is_left_alone(world: World, guarded: Record) -> None:
    theirs = [(b"authorization", b"Bearer the.service's.own"), (b"authorization", b"second")]
    serverless = b"x-serverless-authorization"
    good = f"Bearer {account_token(world)}".encode()
    assert admit(world.universe, guarded, [*theirs, (serverless, good)]).headers == theirs
    for bad in ([(serverless, b"Bearer x.y.z")], [(serverless, good), (serverless, good)], [(serverless, b"")]):
        with pytest.raises(Refusal):
            admit(world.universe, guarded, [(b"authorization", good), *bad])


def test_two_tokens_are_none(world: World, guarded: Record) -> None:
    good = f"Bearer {account_token(world)}".encode()
    for second in (good, b"Bearer junk"):
        with pytest.raises(Refusal) as caught:
            admit(world.universe, guarded, [(b"authorization", good), (b"authorization", second)])
        assert caught.value.status == 401
    assert refused(world, guarded, f"{account_token(world)}, Bearer x") == 401


@pytest.mark.parametrize("open_by", ["allUsers", "annotation"])
def test_an_open_service_is_handed_what_comes_but_never_the_serverless_header(world: World, open_by: str) -> None:
    record = deployed(world, **({"invoker_iam_disabled": "True"} if open_by == "annotation" else {}))
    if open_by == "allUsers":
        invoker(world, "allUsers")
    theirs = [(b"authorization", b"Bearer a.cluster.token"), (b"authorization", b"junk")]
    admission = admit(world.universe, record, [*theirs, (b"x-serverless-authorization", b"Bearer g.h.i")])
    assert (admission.caller.anonymous, admission.headers) == (True, theirs)


def test_nobody_is_admitted_by_default(world: World) -> None:
    record = deployed(world)
    assert refused(world, record, None) == 403
    assert refused(world, record, user_token(world, STRANGER)) == 403
    # The owner of the project holds the permission [R].
    assert ask(world, record, user_token(world, OWNER)).caller.email == OWNER
