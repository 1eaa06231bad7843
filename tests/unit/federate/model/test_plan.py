# SPDX-License-Identifier: Apache-2.0
import json
from dataclasses import replace

import pytest

from podpass.errors import ConfigError, DriftSincePlanError
from podpass.federate.model.change import Action, Change, FieldChange
from podpass.federate.model.plan import Caution, Plan, Subject, check_no_drift
from podpass.federate.model.resource import Resource

SUBJECT = Subject("demo", "cluster-a", "demo-project", "415104041262", "https://a.example", "//iam.googleapis.com/x")
POOL = Resource("pool/p", {"pool": "p"}, {"disabled": False}, {"description": "d"}, ("api/iam.googleapis.com",))
UPDATE = Change(
    "pool/p", Action.UPDATE, {"pool": "p"}, {"disabled": True}, {"disabled": False}, (FieldChange("disabled", True, False),), True
)
PLAN = Plan(SUBJECT, (POOL,), (UPDATE,), (Caution("no-condition", "Everybody may enter."),))


def test_a_plan_comes_back_as_it_was_written() -> None:
    assert Plan.from_text(PLAN.to_text(), origin="x") == PLAN


def test_the_shape_is_versioned_and_names_cluster_and_project() -> None:
    value = json.loads(PLAN.to_text())
    assert (value["apiVersion"], value["kind"]) == ("podpass.dev/v1alpha1", "Plan")
    assert value["project"] == {"id": "demo-project", "number": "415104041262"}
    assert value["changes"][0]["fields"] == [{"name": "disabled", "before": True, "after": False}]


def test_changes_are_counted_by_what_happens() -> None:
    many = replace(PLAN, changes=(UPDATE, UPDATE, replace(UPDATE, action=Action.DELETE)))
    assert many.counts() == {Action.UPDATE: 2, Action.DELETE: 1}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        PLAN.to_text().replace("v1alpha1", "v2"),
        PLAN.to_text().replace('"update"', '"explode"'),
        PLAN.to_text().replace('"pool/p"', '"boat/p"'),
    ],
)
def test_what_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"plan\.json is not a plan that this podpass can read") as caught:
        Plan.from_text(text, origin="plan.json")
    assert caught.value.full_code == "config.plan-file"


def test_the_same_world_is_no_drift() -> None:
    check_no_drift(PLAN, replace(PLAN, warnings=()))


def test_what_an_earlier_run_of_the_plan_has_done_is_no_drift() -> None:
    both = replace(PLAN, changes=(UPDATE, replace(UPDATE, address="pool/q")))
    check_no_drift(both, PLAN)
    check_no_drift(both, replace(PLAN, changes=()))
    with pytest.raises(DriftSincePlanError, match=r"1 of the changes would not be those of the plan now: pool/q\."):
        check_no_drift(PLAN, both)


def test_a_creation_that_a_run_of_the_plan_has_begun_is_no_drift() -> None:
    creation = Change("pool/p", Action.CREATE, {"pool": "p"}, {}, {"disabled": False})
    check_no_drift(replace(PLAN, changes=(creation,)), replace(PLAN, changes=(replace(creation, known=True),)))


def test_a_change_that_would_be_another_now_is_drift() -> None:
    now = replace(PLAN, changes=(replace(UPDATE, before={}, fields=()),))
    with pytest.raises(DriftSincePlanError, match=r"1 of the changes would not be those of the plan now: pool/p\."):
        check_no_drift(PLAN, now)


def test_drift_names_five_addresses_at_most() -> None:
    now = replace(PLAN, changes=tuple(replace(UPDATE, address=f"pool/p{index}") for index in range(7)))
    with pytest.raises(DriftSincePlanError, match=r"7 of the changes .*: pool/p0, pool/p1, pool/p2, pool/p3, pool/p4, …\."):
        check_no_drift(PLAN, now)


def test_a_plan_for_another_cluster_is_not_applied_here() -> None:
    with pytest.raises(DriftSincePlanError, match="the plan is for another cluster or project"):
        check_no_drift(PLAN, replace(PLAN, subject=replace(SUBJECT, cluster="cluster-b")))


def test_other_wishes_than_those_of_the_plan_are_drift() -> None:
    with pytest.raises(DriftSincePlanError, match="other things would be asked for now"):
        check_no_drift(PLAN, replace(PLAN, desired=()))
