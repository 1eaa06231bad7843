# SPDX-License-Identifier: Apache-2.0
"""What two federations of a cluster give to one account is entered with both, and goes with the last of them."""

from podpass.federate.model.change import Action
from podpass.federate.model.resource import Observed, Resource
from podpass.federate.ownership import siblings
from podpass.federate.ownership.siblings import cautions
from podpass.federate.ownership.witness import Witness
from podpass.federate.planning.diff import changes, deletions
from podpass.federate.records.bookkeeping import announced
from podpass.federate.records.receipt import Entry, Receipt, State
from unit.kube.api_server import cluster, status

EMAIL = "shared-sa@demo-project.iam.gserviceaccount.com"
GIVEN = {"target": "project/demo-project", "role": "roles/viewer", "member": f"serviceAccount:{EMAIL}"}
GRANT = Resource("grant/shared-sa:viewer@project/demo-project", GIVEN)
POOL = Entry(State.MADE, {"project": "demo-project", "pool": "billing"})
BILLING = Receipt("billing", "cluster-a", "demo-project").with_entries({GRANT.address: Entry(State.MADE, GIVEN), "pool/billing": POOL})
OURS = Receipt("demo", "cluster-a", "demo-project").with_entries({GRANT.address: Entry(State.MADE, GIVEN)})
THERE, GONE = {GRANT.address: Observed("present")}, {GRANT.address: Observed("absent")}
OWN = Witness(own=frozenset({EMAIL}))


def held(**texts: str) -> dict[str, object]:
    items = [{"metadata": {"name": name, "resourceVersion": "1"}, "data": {"receipt.json": text}} for name, text in texts.items()]
    return {"items": items, "metadata": {}}


def test_the_receipts_of_others_are_read_and_junk_is_passed_over() -> None:
    kept = held(
        **{
            "federation-billing": BILLING.to_text(),
            "federation-copied": BILLING.to_text(),
            "federation-junk": "{}",
            "federation-demo": OURS.to_text(),
        }
    )
    assert siblings.read(cluster(kept).client(), "demo").giver(GIVEN) == "billing"
    assert siblings.read(cluster(held(**{"federation-demo": OURS.to_text()})).client(), "demo").giver(GIVEN) == ""


def test_who_may_not_list_them_sees_none() -> None:
    assert siblings.read(cluster(status(403, "Forbidden", "no")).client(), "demo") == siblings.NONE


def test_what_another_gives_is_entered_here_and_left_to_the_last() -> None:
    others = siblings.read(cluster(held(**{"federation-billing": BILLING.to_text()})).client(), "demo")
    empty = OURS.with_entries({})
    (change,) = changes([GRANT], THERE, empty, OWN, others)
    assert (change.action, change.owner) == (Action.CREATE, "the federation billing gives it, too")
    assert announced(empty, [change]).entries[GRANT.address].identity == GIVEN
    assert changes([GRANT], THERE, OURS, OWN, others) == ()
    assert deletions(OURS, THERE, OWN, others) == ()
    assert [one.action for one in deletions(OURS, THERE, OWN)] == [Action.DELETE]
    assert changes([GRANT], THERE, empty, OWN) == ()
    assert [one.owner for one in changes([GRANT], GONE, empty, OWN, others)] == [""]


def test_a_condition_that_changes_here_stays_there() -> None:
    others = siblings.read(cluster(held(**{"federation-billing": BILLING.to_text()})).client(), "demo")
    now = Resource(GRANT.address, {**GIVEN, "condition": {"title": "Office hours", "expression": "true"}})
    assert [one.action for one in changes([now], GONE, OURS, OWN, others)] == [Action.CREATE]
    assert [one.action for one in changes([now], GONE, OURS, OWN)] == [Action.UPDATE]


def test_a_role_that_nobody_of_this_cluster_gave_is_told() -> None:
    empty = OURS.with_entries({})
    many = [GRANT, *(Resource(f"{GRANT.address}-{number}", {**GIVEN, "role": f"roles/r{number}"}) for number in range(6))]
    there = {one.address: Observed("present") for one in many}
    (caution,) = cautions(siblings.NONE, many, there, empty, frozenset({EMAIL}))
    assert caution.code == "shared-grant"
    assert caution.message.startswith(f"{EMAIL} has roles/viewer on project/demo-project, roles/r0")
    assert "and 2 more already" in caution.message
    assert not list(cautions(siblings.NONE, [GRANT], THERE, OURS, frozenset({EMAIL})))
    assert not list(cautions(siblings.NONE, [GRANT], THERE, empty, frozenset()))
    assert not list(cautions(siblings.NONE, [GRANT], GONE, empty, frozenset({EMAIL})))
