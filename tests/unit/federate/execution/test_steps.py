# SPDX-License-Identifier: Apache-2.0
from podpass.federate.execution.steps import Step, Verb, graph
from podpass.federate.model.change import Action, Change, FieldChange
from podpass.federate.model.resource import Resource

POOL = Resource("pool/p", {})
PROVIDER = Resource("provider/q", {}, needs=("pool/p",))
ACCOUNT = Resource("account/a", {})
BINDING = Resource("binding/n/w", {"target": "account/a@p", "member": "principal://w"}, needs=("pool/p", "account/a"))
GRANT = Resource("grant/a:viewer@project/x", {"target": "project/x", "member": "serviceAccount:a"}, needs=("account/a",))
ALL = {one.address: one for one in (POOL, PROVIDER, ACCOUNT, BINDING, GRANT)}
STALE = (FieldChange("oidc.jwksJson", "old", "new"),)
CLOSED = (FieldChange("disabled", True, False),)


def change(resource: Resource, action: Action = Action.CREATE, fields: tuple[FieldChange, ...] = ()) -> Change:
    return Change(resource.address, action, resource.identity, fields=fields)


def order(steps: dict[str, Step]) -> dict[str, set[str]]:
    return {key: set(step.after) for key, step in steps.items()}


def test_making_follows_the_needs_and_nothing_else() -> None:
    steps = graph([change(one) for one in ALL.values()], ALL)
    assert order(steps) == {
        "pool/p": set(),
        "provider/q": {"pool/p"},
        "account/a": set(),
        "policy of account/a@p": {"pool/p", "account/a"},
        "policy of project/x": {"account/a"},
    }


def test_needs_that_are_in_place_are_not_waited_for() -> None:
    assert order(graph([change(PROVIDER)], ALL)) == {"provider/q": set()}


def test_needs_are_followed_through_what_does_not_change() -> None:
    top = Resource("configmap/n/c", {}, needs=("provider/q",))
    steps = graph([change(POOL), change(top)], {**ALL, top.address: top})
    assert order(steps)["configmap/n/c"] == {"pool/p"}


def test_members_of_one_policy_are_one_step() -> None:
    second = Resource("grant/b:viewer@project/x", {"target": "project/x", "member": "serviceAccount:b"})
    steps = graph([change(GRANT), change(second), change(GRANT, Action.DELETE)], {**ALL, second.address: second})
    assert list(steps) == ["policy of project/x"]
    assert [one.action for one in steps["policy of project/x"].changes] == [Action.CREATE, Action.CREATE, Action.DELETE]


def test_only_what_rests_on_something_new_is_patient() -> None:
    steps = graph([change(GRANT), change(BINDING)], ALL)
    assert [step.is_patient for step in steps.values()] == [False, False]
    steps = graph([change(ACCOUNT), change(GRANT)], ALL)
    assert {key: step.is_patient for key, step in steps.items()} == {"account/a": False, "policy of project/x": True}


def test_what_an_interrupted_run_may_have_made_a_moment_ago_counts_as_new() -> None:
    assert graph([change(GRANT)], ALL, unconfirmed={"account/a"})["policy of project/x"].is_patient


def test_an_undeleted_pool_is_opened_after_its_provider_is_right() -> None:
    steps = graph([change(POOL, Action.UNDELETE), change(PROVIDER, Action.UNDELETE, STALE)], ALL)
    assert order(steps) == {"pool/p": set(), "provider/q": {"pool/p"}, "pool/p (open)": {"pool/p", "provider/q"}}
    assert steps["pool/p (open)"].verb is Verb.OPEN


def test_a_stale_provider_comes_back_behind_a_closed_pool() -> None:
    steps = graph([change(PROVIDER, Action.UNDELETE, STALE)], ALL)
    assert order(steps) == {"pool/p (close)": set(), "provider/q": {"pool/p (close)"}, "pool/p (open)": {"pool/p (close)", "provider/q"}}


def test_a_provider_that_comes_back_right_closes_nothing() -> None:
    assert list(graph([change(PROVIDER, Action.UNDELETE)], ALL)) == ["provider/q"]


def test_a_pool_found_closed_is_opened_last() -> None:
    steps = graph([change(POOL, Action.UPDATE, CLOSED), change(PROVIDER, Action.UNDELETE, STALE)], ALL)
    assert order(steps) == {"pool/p": set(), "provider/q": {"pool/p"}, "pool/p (open)": {"pool/p", "provider/q"}}


def test_a_pool_that_changes_otherwise_is_closed_once_it_has_changed() -> None:
    renamed = (FieldChange("displayName", "a", "b"),)
    steps = graph([change(POOL, Action.UPDATE, renamed), change(PROVIDER, Action.UNDELETE, STALE)], ALL)
    assert order(steps)["pool/p (close)"] == {"pool/p"}
    assert "pool/p (close)" in order(steps)["provider/q"]


def test_trust_goes_before_what_it_rests_on() -> None:
    bucket, item = Resource("bucket/b", {}), Resource("object/b/keys.json", {})
    public = Resource("grant/allUsers:reader@bucket/b", {"target": "bucket/b", "member": "allUsers"})
    gone = [change(one, Action.DELETE) for one in (*ALL.values(), bucket, item, public)]
    steps = graph(gone, {})
    assert order(steps) == {
        "provider/q": set(),
        "pool/p": {"provider/q"},
        "policy of account/a@p": set(),
        "policy of project/x": set(),
        "account/a": {"policy of account/a@p", "policy of project/x", "policy of bucket/b"},
        "object/b/keys.json": {"provider/q"},
        "policy of bucket/b": {"provider/q"},
        "bucket/b": {"provider/q", "object/b/keys.json", "policy of project/x", "policy of bucket/b"},
    }


def test_nothing_is_taken_away_before_all_that_is_new_stands() -> None:
    old = Resource("provider/old", {})
    steps = graph([change(PROVIDER), change(old, Action.DELETE)], ALL)
    assert order(steps)["provider/old"] == {"provider/q"}
