# SPDX-License-Identifier: Apache-2.0
import pytest

from unit.sandbox.google.world import EMAIL, IAM, OWNER, PROJECT, STRANGER, World, refusal

HOST = "cloudidentity.googleapis.com/v1/groups"
TEAM, ALL = "team@example.com", "all@example.com"


@pytest.fixture
def team(world: World) -> str:
    """The name of a group of a stranger and an account, which is itself in another group."""
    world.universe.groups.declare(TEAM, [STRANGER, EMAIL])
    world.universe.groups.declare(ALL, [TEAM, OWNER])
    return str(world.own("GET", f"{HOST}:lookup?groupKey.id={TEAM}")["name"])


def test_a_group_is_found_by_its_email(world: World, team: str) -> None:
    assert world.own("GET", f"cloudidentity.googleapis.com/v1/{team}")["groupKey"] == {"id": TEAM}
    for unknown in (f"{HOST}:lookup?groupKey.id=none@example.com", f"{HOST}/none", f"{HOST}/none/memberships:checkTransitiveMembership"):
        assert refusal(world.ask("GET", unknown))[:2] == (403, "PERMISSION_DENIED")
    assert world.ask("GET", f"{HOST}:lookup?groupKey.id={TEAM}", who="").status == 401


@pytest.mark.parametrize(("member", "expected"), [(STRANGER, True), (EMAIL, True), (TEAM, True), (OWNER, True), ("x@example.com", False)])
def test_membership_counts_by_way_of_other_groups(world: World, team: str, member: str, expected: bool) -> None:  # noqa: FBT001 - a row
    del team
    name = world.own("GET", f"{HOST}:lookup?groupKey.id={ALL}")["name"]
    url = f"cloudidentity.googleapis.com/v1/{name}/memberships:checkTransitiveMembership?query=member_key_id%20==%20'{member}'"
    assert world.own("GET", url) == ({"hasMembership": True} if expected else {})


def test_the_groups_of_somebody_and_the_members_of_a_group_are_listed(world: World, team: str) -> None:
    query = f"query=member_key_id=='{STRANGER}'%20%26%26%20'cloudidentity.googleapis.com/groups.discussion_forum'%20in%20labels"
    found = world.own("GET", f"{HOST}/-/memberships:searchTransitiveGroups?{query}")["memberships"]
    assert {(each["groupKey"]["id"], each["relationType"]) for each in found} == {(TEAM, "DIRECT"), (ALL, "INDIRECT")}
    name = world.own("GET", f"{HOST}:lookup?groupKey.id={ALL}")["name"]
    first = world.own("GET", f"cloudidentity.googleapis.com/v1/{name}/memberships:searchTransitiveMemberships?pageSize=3")
    rest = f"cloudidentity.googleapis.com/v1/{name}/memberships:searchTransitiveMemberships?pageToken={first['nextPageToken']}"
    every = [*first["memberships"], *world.own("GET", rest)["memberships"]]
    assert {(each["preferredMemberKey"][0]["id"], each["relationType"]) for each in every} == {
        (TEAM, "DIRECT"),
        (OWNER, "DIRECT"),
        (STRANGER, "INDIRECT"),
        (EMAIL, "INDIRECT"),
    }
    assert {each["member"] for each in every} >= {team}
    assert refusal(world.ask("GET", f"{HOST}/-/memberships:searchTransitiveGroups?query=labels"))[0] == 400


def test_groups_that_hold_each_other_end(world: World) -> None:
    world.universe.groups.declare("a@example.com", ["b@example.com", STRANGER])
    world.universe.groups.declare("b@example.com", ["a@example.com"])
    assert world.universe.groups.of(STRANGER) == {"a@example.com": True, "b@example.com": False}


def test_a_group_s_members_may_what_policies_let_the_group(world: World) -> None:
    project = f"cloudresourcemanager.googleapis.com/v1/projects/{PROJECT}"
    assert world.ask("GET", project, who=STRANGER).status == 403
    world.grant(project, "roles/viewer", f"group:{ALL}")
    world.universe.groups.declare(ALL, [TEAM])
    world.universe.groups.declare(TEAM, [STRANGER])
    assert world.ask("GET", project, who=STRANGER).status == 200
    world.grant(project, "roles/browser", "domain:elsewhere.example")
    assert world.ask("GET", project, who="me@elsewhere.example").status == 200


def test_an_account_made_anew_is_in_no_group_of_the_old_one(world: World) -> None:
    world.account()
    world.universe.groups.declare(TEAM, [EMAIL, STRANGER])
    world.own("DELETE", f"{IAM}/serviceAccounts/{EMAIL}")
    world.account()
    assert world.universe.groups.members(TEAM) == [STRANGER]
