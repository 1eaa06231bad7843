# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from podpass.errors import ConfigError
from podpass.federate.model.change import Action, Change
from podpass.federate.model.resource import Observed
from podpass.federate.records.bookkeeping import announced, settled
from podpass.federate.records.receipt import Entry, Receipt, State

EMPTY = Receipt("demo", "cluster-a", "demo-project")
EMAIL = "app-sa@demo-project.iam.gserviceaccount.com"
POOL = {"project": "demo-project", "pool": "demo"}
PRINCIPAL = "principal://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/demo/subject/s"
IDENTITIES = {
    "pool/demo": POOL,
    "provider/cluster": {**POOL, "provider": "cluster"},
    "account/app-sa": {"project": "demo-project", "email": EMAIL},
    "bucket/demo-oidc": {"project": "demo-project", "bucket": "demo-oidc"},
    "object/demo-oidc/keys.json": {"bucket": "demo-oidc", "object": "keys.json"},
    "binding/n/a": {"target": f"account/{EMAIL}", "role": "roles/iam.workloadIdentityUser", "member": PRINCIPAL},
    "grant/app-sa:viewer@project/demo-project": {
        "target": "project/demo-project",
        "role": "roles/viewer",
        "member": f"serviceAccount:{EMAIL}",
    },
    "grant/allUsers:storage.legacyObjectReader@bucket/demo-oidc": {
        "target": "bucket/demo-oidc",
        "role": "roles/storage.legacyObjectReader",
        "member": "allUsers",
    },
    "configmap/n/c": {"namespace": "n", "name": "c", "key": "config"},
}
VIEWER = "grant/app-sa:viewer@project/demo-project"
MADE = EMPTY.with_entries({"pool/demo": Entry(State.MADE, POOL)}).to_text()
ITEM, MOVED = {"target": "project/p", "member": "a"}, {"target": "project/p", "member": "b"}


def states(receipt: Receipt) -> dict[str, State]:
    return {address: entry.state for address, entry in receipt.entries.items()}


def test_what_is_about_to_be_made_or_adopted_is_announced() -> None:
    made = EMPTY.with_entries({"pool/known": Entry(State.MADE, {}), "account/gone": Entry(State.MADE, {}, uid="1")})
    made = made.with_entries({**made.entries, "pool/adopted": Entry(State.ADOPTED, {})})
    changes = [
        Change("api/sts.googleapis.com", Action.CREATE, {}),
        Change("pool/new", Action.CREATE, {"pool": "new"}),
        Change("pool/old", Action.UNDELETE, {}),
        Change("pool/known", Action.UNDELETE, {}, known=True),
        Change("pool/adopted", Action.UNDELETE, {}),
        Change("bucket/b", Action.ADOPT, {}),
        Change("account/gone", Action.CREATE, {}, known=True),
        Change("provider/q", Action.UPDATE, {}),
    ]
    result = announced(made, changes)
    assert states(result) == {
        "account/gone": State.CREATING,
        "bucket/b": State.ADOPTED,
        "pool/adopted": State.ADOPTED,
        "pool/known": State.MADE,
        "pool/new": State.CREATING,
        "pool/old": State.UNDELETING,
    }
    assert result.entries["account/gone"].uid is None
    assert result.open_addresses == {"account/gone", "pool/new", "pool/old"}


def test_a_deletion_is_not_announced_but_kept_until_it_is_done() -> None:
    made = EMPTY.with_entries({"pool/p": Entry(State.MADE, {})})
    assert announced(made, [Change("pool/p", Action.DELETE, {}, known=True)]) == made
    assert settled(made, {}, desired=(), pending={"pool/p"}, uids={}) == made
    assert settled(made, {}, desired=(), pending=(), uids={}).entries == {}


def test_a_member_that_is_replaced_is_remembered_until_it_is_gone() -> None:
    made = EMPTY.with_entries({"grant/g": Entry(State.MADE, ITEM)})
    change = Change("grant/g", Action.UPDATE, MOVED, ITEM, MOVED, known=True)
    open_ = announced(made, [change])
    assert open_.entries["grant/g"] == Entry(State.CREATING, MOVED, former=(ITEM,))
    assert announced(open_, [Change("grant/g", Action.UPDATE, ITEM, MOVED, ITEM, known=True)]).entries["grant/g"].former == (ITEM, MOVED)
    assert announced(open_, [change]).entries["grant/g"].former == (ITEM,)
    assert announced(open_, [Change("grant/g", Action.CREATE, MOVED, known=True)]).entries["grant/g"].former == (ITEM,)
    assert announced(open_, [Change("grant/g", Action.CREATE, ITEM)]).entries["grant/g"].former == ()
    assert settled(open_, {}, desired={"grant/g"}, pending=(), uids={}).entries["grant/g"] == Entry(State.MADE, MOVED)


def test_what_was_made_is_confirmed_with_its_uid() -> None:
    open_ = EMPTY.with_entries({"account/a": Entry(State.CREATING, {}), "pool/p": Entry(State.UNDELETING, {})})
    result = settled(open_, {}, desired={"account/a", "pool/p"}, pending=(), uids={"account/a": "7"})
    assert result.entries == {"account/a": Entry(State.MADE, {}, uid="7"), "pool/p": Entry(State.MADE, {})}


def test_what_an_interrupted_run_had_made_is_confirmed_as_it_was_seen() -> None:
    open_ = EMPTY.with_entries({"account/a": Entry(State.CREATING, {})})
    result = settled(open_, {"account/a": Observed("present", uid="7")}, desired={"account/a"}, pending=(), uids={})
    assert result.entries["account/a"] == Entry(State.MADE, {}, uid="7")


def test_what_could_not_be_made_stays_announced() -> None:
    open_ = EMPTY.with_entries({"account/a": Entry(State.CREATING, {})})
    assert settled(open_, {}, desired={"account/a"}, pending={"account/a"}, uids={}) == open_


def test_what_nobody_asks_for_and_is_not_ours_or_not_there_is_forgotten() -> None:
    book = EMPTY.with_entries({"bucket/b": Entry(State.ADOPTED, {}), "pool/p": Entry(State.MADE, {}), "pool/q": Entry(State.CREATING, {})})
    assert settled(book, {"bucket/b": Observed("present")}, desired=(), pending=(), uids={}).entries == {}


def test_an_old_grant_whose_new_form_is_somebody_elses_is_forgotten_once_it_is_gone() -> None:
    book = EMPTY.with_entries({"grant/g": Entry(State.MADE, ITEM)})
    assert settled(book, {}, desired={"grant/g"}, pending=(), taken_away={"grant/g"}, uids={}).entries == {}


def test_settling_twice_changes_nothing() -> None:
    book = EMPTY.with_entries({"bucket/b": Entry(State.ADOPTED, {}), "account/a": Entry(State.MADE, {}, uid="1")})
    assert settled(book, {}, desired=book.entries.keys(), pending=(), uids={}) == book


def test_a_receipt_comes_back_as_it_was_written() -> None:
    own, twin = (f"grant/n/a:viewer@project/demo-project{end}" for end in (":office-hours", ":office-hours-0a1b2c"))
    now = {
        "target": "project/demo-project",
        "role": "roles/viewer",
        "member": PRINCIPAL,
        "condition": {"title": "Office hours", "expression": "true ||\n\tfalse"},
    }
    book = EMPTY.with_entries({address: Entry(State.MADE, identity, uid="7") for address, identity in IDENTITIES.items()})
    moved = Entry(State.CREATING, now, former=({**now, "member": f"{PRINCIPAL}-2"},))
    two = Entry(State.MADE, {**IDENTITIES["configmap/n/c"], "key": "other"})
    book = book.with_entries({**book.entries, own: moved, twin: Entry(State.MADE, now, selected=True), "configmap/n/c-0a1b2c": two})
    assert Receipt.from_text(book.to_text(), origin="x") == book
    assert Receipt.from_text(book.to_text(), origin="x").to_text() == book.to_text()


def test_the_order_in_which_things_were_made_leaves_no_trace() -> None:
    one, two = Entry(State.MADE, {"a": 1}), Entry(State.ADOPTED, {})
    assert EMPTY.with_entries({"pool/p": one, "bucket/b": two}).to_text() == EMPTY.with_entries({"bucket/b": two, "pool/p": one}).to_text()


def test_a_receipt_is_read_out_of_its_config_map_too() -> None:
    text = json.dumps({"kind": "ConfigMap", "data": {"receipt.json": EMPTY.to_text()}})
    assert Receipt.from_text(text, origin="x") == EMPTY


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"kind": "ConfigMap", "data": {}}',
        EMPTY.to_text().replace("v1alpha1", "v9"),
        MADE.replace("pool/demo", "boat/demo"),
        MADE.replace('"made"', '"lost"'),
        MADE.replace('"demo-project"', '"demo-project/../prod"'),
        EMPTY.with_entries({"account/app-sa": Entry(State.UNDELETING, IDENTITIES["account/app-sa"])}).to_text(),
        EMPTY.with_entries({"pool/\x1b[2J": Entry(State.MADE, POOL)}).to_text(),
        "[" * 100_000,
    ],
)
def test_what_is_no_receipt_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="the-file is not a receipt that this podpass can read") as caught:
        Receipt.from_text(text, origin="the-file")
    assert caught.value.full_code == "config.receipt"


@pytest.mark.parametrize(
    ("address", "changed"),
    [
        ("pool/demo", {"project": "demo-project/serviceAccounts/precious@x?y="}),
        ("pool/demo", {"pool": "../../serviceAccounts"}),
        ("pool/demo", {"pool": "prod"}),
        ("pool/demo", {"provider": "cluster"}),
        ("pool/demo", {"project": 415104041262}),
        ("provider/cluster", {"provider": "x/y"}),
        ("provider/cluster", {"provider": "cluster-2"}),
        ("account/app-sa", {"email": "somebody@example.com"}),
        ("account/app-sa", {"email": "app-sa"}),
        ("account/app-sa", {"email": EMAIL.replace("app-sa", "deployer")}),
        ("account/app-sa", {"email": EMAIL.replace("demo-project", "prod-project")}),
        ("bucket/demo-oidc", {"bucket": "b/o/c"}),
        ("bucket/demo-oidc", {"bucket": "prod-data"}),
        ("object/demo-oidc/keys.json", {"bucket": "../b"}),
        ("object/demo-oidc/keys.json", {"bucket": "prod-data"}),
        ("object/demo-oidc/keys.json", {"object": "salaries.csv"}),
        (VIEWER, {"member": "user:operator@example.com"}),
        (VIEWER, {"member": "allUsers"}),
        (VIEWER, {"member": f"serviceAccount:{EMAIL.replace('app-sa', 'deployer')}"}),
        (VIEWER, {"target": "folder/1"}),
        (VIEWER, {"target": "project/prod-project"}),
        (VIEWER, {"role": "owner"}),
        (VIEWER, {"role": "roles/owner"}),
        (VIEWER, {"condition": "true"}),
        (VIEWER, {"condition": {"title": 1}}),
        (VIEWER, {"condition": {"title": "\x1b[2J"}}),
        (VIEWER, {"condition": {"resource": "all"}}),
        ("binding/n/a", {"member": f"{PRINCIPAL}\n\x1b[2J"}),
        ("binding/n/a", {"target": "account/x/../y"}),
        (VIEWER, {"role": "roles/viewe"}),
        ("configmap/n/c", {"name": ""}),
        ("binding/n/a", {"target": "project/demo-project"}),
        ("binding/n/a", {"role": "roles/owner"}),
        ("configmap/n/c", {"namespace": "n/secrets/precious?x="}),
        ("configmap/n/c", {"namespace": "kube-system"}),
        ("configmap/n/c", {"name": "../secrets/precious"}),
        ("configmap/n/c", {"key": "a/b"}),
    ],
)
def test_a_receipt_names_only_what_podpass_could_have_made(address: str, changed: dict[str, object]) -> None:
    forged = {**IDENTITIES[address], **changed}
    for entry in (Entry(State.MADE, forged), Entry(State.MADE, IDENTITIES[address], former=(forged,))):
        with pytest.raises(ConfigError, match="is not a receipt"):
            Receipt.from_text(EMPTY.with_entries({address: entry}).to_text(), origin="x")


def test_whether_a_selector_asks_is_kept_and_follows_the_file() -> None:
    given = IDENTITIES["binding/n/a"]
    change = Change("binding/n/a", Action.CREATE, given, origin="spec.workloads[0]")
    begun = announced(EMPTY, [change])
    assert begun.entries["binding/n/a"] == Entry(State.CREATING, given, selected=True)
    made = settled(begun, {}, desired={"binding/n/a"}, pending=(), selected={"binding/n/a"}, uids={})
    assert made.entries["binding/n/a"] == Entry(State.MADE, given, selected=True)
    assert Receipt.from_text(made.to_text(), origin="x") == made
    named = settled(made, {}, desired={"binding/n/a"}, pending=(), uids={})
    assert named.entries["binding/n/a"] == Entry(State.MADE, given)
