# SPDX-License-Identifier: Apache-2.0
import json
from dataclasses import replace

import pytest

from podpass.errors import UnsafePlanError
from podpass.federate.execution.apply import acts_of
from podpass.federate.model.change import LOST_MARK, Action
from podpass.federate.model.differences import differences
from podpass.federate.model.marks import Mark
from podpass.federate.model.plan import Plan, Subject
from podpass.federate.model.resource import Observed, Resource
from podpass.federate.ownership.witness import Witness
from podpass.federate.planning.diff import changes, deletions
from podpass.federate.planning.prepared import Prepared, Sides
from podpass.federate.records.receipt import Entry, Receipt, State
from podpass.federate.safety.allowances import Allowances, check_allowed
from podpass.names import PoolName

OURS, THEIRS = Mark("demo", "cluster-a"), Mark("demo", "cluster-b")
POOL = Resource("pool/demo-pool", {"pool": "demo-pool"}, {"description": OURS.description, "disabled": False, "displayName": "Demo"})
GRANT = Resource("grant/a:viewer@project/p", {"target": "project/p", "role": "roles/viewer", "member": "serviceAccount:a"})
K1, K2, BOTH = (json.dumps({"keys": [{"kid": kid} for kid in kids]}) for kids in ("a", "b", "ab"))
AS_WANTED = {"description": OURS.description, "displayName": "Demo"}


def receipt(**states: State) -> Receipt:
    known = {"pool": POOL, "grant": GRANT}
    entries = {known[name].address: Entry(state, known[name].identity) for name, state in states.items()}
    return Receipt("demo", "cluster-a", "demo-project").with_entries(entries)


def actions(resource: Resource, observed: Observed, book: Receipt) -> list[Action]:
    return [change.action for change in changes([resource], {resource.address: observed}, book)]


@pytest.mark.parametrize(
    ("state", "observed", "expected"),
    [
        (None, Observed("absent"), [Action.CREATE]),
        (None, Observed("deleted"), [Action.UNDELETE]),
        (None, Observed("present", AS_WANTED, THEIRS), [Action.ADOPT]),
        (None, Observed("present", AS_WANTED, OURS), [Action.ADOPT]),
        (State.CREATING, Observed("absent"), [Action.CREATE]),
        (State.CREATING, Observed("present", AS_WANTED, OURS), []),
        (State.CREATING, Observed("present", AS_WANTED, None), [Action.ADOPT]),
        (State.CREATING, Observed("present", AS_WANTED, THEIRS), [Action.ADOPT]),
        (State.UNDELETING, Observed("present", AS_WANTED, OURS), []),
        (State.UNDELETING, Observed("present", AS_WANTED, THEIRS), [Action.UNDELETE]),
        (State.UNDELETING, Observed("present", {"displayName": "Old"}, None), [Action.UNDELETE]),
        (State.MADE, Observed("absent"), [Action.CREATE]),
        (State.MADE, Observed("deleted"), [Action.UNDELETE]),
        (State.MADE, Observed("present", AS_WANTED, OURS), []),
        (State.MADE, Observed("present", {**AS_WANTED, "disabled": True}, OURS), [Action.UPDATE]),
        (State.MADE, Observed("present", {"displayName": "Demo"}, None), [Action.ADOPT]),
        (State.MADE, Observed("present", AS_WANTED, THEIRS), [Action.ADOPT]),
        (State.ADOPTED, Observed("present", {"displayName": "Demo", "description": "by hand"}, None), []),
        (State.ADOPTED, Observed("present", {"displayName": "Other"}, None), [Action.UPDATE]),
        (State.ADOPTED, Observed("absent"), [Action.CREATE]),
    ],
)
def test_whose_a_thing_is_decides_what_happens_to_it(state: State | None, observed: Observed, expected: list[Action]) -> None:
    assert actions(POOL, observed, receipt(**({"pool": state} if state else {}))) == expected


def test_what_lost_its_mark_is_kept_in_line_by_whoever_knows_it_and_else_asked_about() -> None:
    """With the mark restored it would be podpass's to delete, and `adopted` is soon changed into `made`."""
    (pool,) = changes([POOL], {POOL.address: Observed("present", AS_WANTED)}, receipt(pool=State.MADE))
    assert (pool.action, pool.owner, pool.is_anothers) == (Action.ADOPT, LOST_MARK, False)
    for kind, uid, expected in (
        ("account", "7", []),
        ("account", None, [Action.ADOPT]),
        ("configmap", "7", [Action.UPDATE]),
        ("configmap", None, [Action.ADOPT]),
        ("bucket", "7", [Action.ADOPT]),
        ("object", None, [Action.UPDATE]),
    ):
        thing = Resource(f"{kind}/x", {}, {"content": "now"} if kind in {"object", "configmap"} else {})
        book = Receipt("demo", "cluster-a", "p").with_entries({thing.address: Entry(State.MADE, {}, uid=uid)})
        found = changes([thing], {thing.address: Observed("present", {"content": "before"}, uid="7")}, book)
        assert [one.action for one in found] == expected, (kind, uid)


@pytest.mark.parametrize("state", [None, State.CREATING, State.MADE])
def test_an_undelete_is_known_only_to_a_receipt_that_says_it_was_made_and_is_borne_out(state: State | None) -> None:
    book = receipt(**({"pool": state} if state else {}))
    (change,) = changes([POOL], {POOL.address: Observed("deleted", mark=OURS)}, book)
    assert change.known is (state is State.MADE)
    for mark in (None, THEIRS):
        (change,) = changes([POOL], {POOL.address: Observed("deleted", mark=mark)}, book)
        assert not change.known


def test_an_adoption_never_touches_what_a_person_may_have_described() -> None:
    (change,) = changes([POOL], {POOL.address: Observed("present", {"displayName": "Other"}, THEIRS)}, receipt())
    assert [field.name for field in change.fields] == ["displayName"]
    assert change.owner == "it carries the mark of federation demo of cluster cluster-b"


def test_the_owner_of_an_adopted_thing_is_said_as_far_as_it_is_known() -> None:
    (ours,) = changes([POOL], {POOL.address: Observed("present", AS_WANTED, OURS)}, receipt())
    (nobodys,) = changes([POOL], {POOL.address: Observed("present", AS_WANTED)}, receipt())
    assert ours.owner == "it carries this federation's mark, but the receipt does not know it"
    assert nobodys.owner == ""
    assert not ours.is_anothers
    assert not nobodys.is_anothers


@pytest.mark.parametrize(
    ("found", "is_anothers"),
    [
        ({"oidc.issuerUri": "https://a.example"}, False),
        ({"oidc.issuerUri": "https://b.example"}, True),
        ({"oidc.issuerUri": "https://a.example", "oidc.jwksJson": K2}, True),
        ({"oidc.issuerUri": "https://a.example", "oidc.jwksJson": BOTH}, False),
    ],
)
def test_an_unmarked_provider_that_trusts_another_cluster_is_that_one_s(found: dict[str, str], *, is_anothers: bool) -> None:
    provider = Resource("provider/p", {}, {"oidc.issuerUri": "https://a.example", "oidc.jwksJson": K1})
    (change,) = changes([provider], {"provider/p": Observed("present", found)}, receipt())
    assert (change.action, change.is_anothers) == (Action.ADOPT, is_anothers)


@pytest.mark.parametrize(
    ("state", "status", "expected"),
    [
        (None, "present", []),
        (None, "absent", [Action.CREATE]),
        (State.CREATING, "present", []),
        (State.MADE, "present", []),
        (State.MADE, "absent", [Action.CREATE]),
    ],
)
def test_a_member_of_a_policy_that_is_there_is_left_as_it_is(state: State | None, status: str, expected: list[Action]) -> None:
    observed = Observed("present" if status == "present" else "absent")
    assert actions(GRANT, observed, receipt(**({"grant": state} if state else {}))) == expected


POOLS = "principal://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools"
MEMBER = replace(GRANT, identity={**GRANT.identity, "member": f"{POOLS}/demo-pool/subject/a"})
MOVED = replace(GRANT, identity={**GRANT.identity, "member": f"{POOLS}/new-pool/subject/b"})
BOOK = Receipt("demo", "cluster-a", "demo-project").with_entries({GRANT.address: Entry(State.MADE, MEMBER.identity)})


OWN = Witness(own=frozenset({PoolName("1", "demo-pool")}))


def test_a_member_that_changes_is_replaced_in_one_change() -> None:
    (change,) = changes([MOVED], {MOVED.address: Observed("absent")}, BOOK, OWN)
    assert (change.action, change.before, change.after) == (Action.UPDATE, MEMBER.identity, MOVED.identity)
    assert [(field.name, field.before, field.after) for field in change.fields] == [
        ("member", MEMBER.identity["member"], MOVED.identity["member"])
    ]


def test_where_somebody_else_had_granted_the_new_member_only_our_old_one_goes() -> None:
    (change,) = changes([MOVED], {MOVED.address: Observed("present")}, BOOK, OWN)
    assert (change.action, change.identity) == (Action.DELETE, MEMBER.identity)


@pytest.mark.parametrize(
    "forged",
    [
        {"member": "serviceAccount:deployer@demo-project.iam.gserviceaccount.com"},
        {"member": "allUsers"},
        {"member": f"{POOLS.replace('projects/1', 'projects/2')}/demo-pool/subject/a"},
        {"member": f"{POOLS}/their-pool/subject/a"},
        {"role": "roles/owner"},
    ],
)
@pytest.mark.parametrize(("status", "expected"), [("present", []), ("absent", [Action.CREATE])])
def test_a_receipt_takes_nobody_s_role_away_as_a_former_member(forged: dict[str, str], status: str, expected: list[Action]) -> None:
    book = BOOK.with_entries({GRANT.address: Entry(State.MADE, {**MEMBER.identity, **forged})})
    observed = {MEMBER.address: Observed("present" if status == "present" else "absent")}
    assert [change.action for change in changes([MEMBER], observed, book, OWN)] == expected


def test_a_member_for_which_nobody_but_the_receipt_speaks_goes_by_its_own_address_only() -> None:
    (change,) = deletions(BOOK, {MEMBER.address: Observed("present")})
    (known,) = deletions(BOOK, {MEMBER.address: Observed("present")}, OWN)
    assert change.is_unwitnessed
    assert not known.is_unwitnessed
    plan = Plan(Subject("demo", "cluster-a", "demo-project", "1", "https://a.example", "//x"), (), (change,))
    with pytest.raises(UnsafePlanError, match="only the receipt says that podpass gave it"):
        check_allowed(plan, Allowances(delete=("*", "grant/*")))
    check_allowed(plan, Allowances(delete=(change.address,)))


def test_an_api_that_is_off_is_enabled_and_one_that_is_on_is_left() -> None:
    api = Resource("api/sts.googleapis.com", {"service": "sts.googleapis.com"})
    assert actions(api, Observed("absent"), receipt()) == [Action.CREATE]
    assert actions(api, Observed("present"), receipt()) == []


@pytest.mark.parametrize(
    ("state", "observed", "expected"),
    [
        (State.MADE, Observed("present", mark=OURS), True),
        (State.MADE, Observed("present"), False),
        (State.MADE, Observed("present", mark=THEIRS), False),
        (State.MADE, Observed("absent"), False),
        (State.MADE, Observed("deleted"), False),
        (State.CREATING, Observed("present", mark=OURS), True),
        (State.CREATING, Observed("present"), False),
        (State.UNDELETING, Observed("present", mark=OURS), True),
        (State.UNDELETING, Observed("present", mark=THEIRS), False),
        (State.UNDELETING, Observed("present"), False),
        (State.ADOPTED, Observed("present", mark=OURS), False),
    ],
)
def test_only_what_podpass_made_and_what_is_still_that_thing_is_deleted(state: State, observed: Observed, expected: bool) -> None:  # noqa: FBT001 - a table
    assert bool(deletions(receipt(pool=state), {POOL.address: observed})) is expected


def test_an_account_made_anew_under_the_same_email_is_not_ours() -> None:
    book = Receipt("demo", "cluster-a", "p").with_entries({"account/a": Entry(State.MADE, {"email": "a@p"}, uid="1")})
    assert deletions(book, {"account/a": Observed("present", mark=OURS, uid="1")})
    assert not deletions(book, {"account/a": Observed("present", mark=OURS, uid="2")})
    assert not deletions(book, {"account/a": Observed("present", uid="1")})
    assert [one.action for one in changes([Resource("account/a", {})], {"account/a": Observed("present", uid="2")}, book)] == [Action.ADOPT]


ANYTHING = {"target": "project/p", "role": "roles/viewer", "member": "serviceAccount:a@p"}


def test_deletions_come_in_the_order_of_taking_away() -> None:
    addresses = ["api/x", "bucket/b", "object/b/k", "pool/p", "provider/q", "account/a", "binding/n/a", "grant/g", "configmap/n/c"]
    book = Receipt("demo", "cluster-a", "p").with_entries({one: Entry(State.MADE, {}) for one in addresses if not one.startswith("api")})
    book = book.with_entries({address: replace(entry, identity=ANYTHING) for address, entry in book.entries.items()})
    found = deletions(book, {one: Observed("present", mark=OURS) for one in addresses}, keep=frozenset({"account/a"}))
    assert [change.address for change in found] == [one for one in reversed(addresses) if one not in {"api/x", "account/a"}]


@pytest.mark.parametrize(
    ("name", "before", "after", "differs"),
    [
        ("displayName", None, "", False),
        ("disabled", None, False, False),
        ("oidc.allowedAudiences", None, [], False),
        ("disabled", True, False, True),
        ("oidc.jwksJson", '{"keys": []}', '{"keys":[]}', False),
        ("oidc.jwksJson", '{"keys": [{"kid": "b"}, {"kid": "a"}]}', '{"keys": [{"kid": "a"}, {"kid": "b"}]}', False),
        ("oidc.jwksJson", '{"keys": [{"kid": "a"}, {"kid": "a"}]}', '{"keys": [{"kid": "a"}]}', True),
        ("oidc.jwksJson", "not json", '{"keys":[]}', True),
        ("oidc.jwksJson", None, '{"keys":[]}', True),
        ("displayName", "a", "b", True),
    ],
)
def test_values_are_compared_as_their_owner_does(name: str, before: object, after: object, differs: bool) -> None:  # noqa: FBT001 - a table
    assert bool(differences({name: after}, {name: before})) is differs


def test_what_an_unfinished_change_left_goes_only_where_it_can_have_been_that_member() -> None:
    their = {**MEMBER.identity, "member": f"{POOLS}/their-pool/subject/a"}
    former = (
        MEMBER.identity,
        their,
        {**MEMBER.identity, "role": "roles/owner", "member": "serviceAccount:deployer@demo.iam.gserviceaccount.com"},
    )
    book = BOOK.with_entries({GRANT.address: Entry(State.CREATING, MOVED.identity, former=former)})
    plan = Plan(Subject("demo", "cluster-a", "demo-project", "1", "https://a.example", "//x"), (MOVED,), ())
    acts = acts_of(Prepared(plan, Sides(None, None, None), book, witness=OWN), book)  # type: ignore[arg-type]  # nobody is asked
    assert acts.former == {GRANT.address: (MEMBER.identity,)}
