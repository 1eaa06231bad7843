# SPDX-License-Identifier: Apache-2.0
"""What others do between the plan and its application, or at the same time."""

import os

import pytest
import yaml

from podpass.config.reading import load
from podpass.errors import DriftSincePlanError, PartlyAppliedError
from podpass.federate.execution.apply import apply
from podpass.federate.execution.turn import turn
from podpass.federate.model.change import Action
from podpass.federate.planning.prepared import Prepared, prepare
from podpass.federate.records.receipt import NAMESPACE, config_map_name
from podpass.federate.safety.allowances import Allowances
from podpass.google import iam, storage
from podpass.google.policy import add_member
from podpass.google.policy_edit import edit_policy
from podpass.google.projects import ProjectPolicy
from podpass.google.storage import StoredObject
from podpass.kube.leases import get_lease
from podpass.names import PoolName
from scenario.federate.conftest import Story


def prepared(story: Story) -> Prepared:
    return prepare(load(story.file), story.google, story.kube)


def test_the_second_of_two_runs_at_once_stops_before_its_first_change(story: Story) -> None:
    first, second = prepared(story), prepared(story)
    apply(first, Allowances())
    with pytest.raises(DriftSincePlanError, match="Another run has overtaken this one") as caught:
        apply(second, Allowances())
    assert caught.value.full_code == "plan.concurrent"
    assert "Nothing to change" in story.done("plan")


def test_who_plans_while_another_destroys_is_told_that_somebody_was_there(story: Story) -> None:
    story.done("apply", "--yes")
    story.content["spec"]["workloads"][0]["roles"].append("roles/viewer")
    story.file.write_text(yaml.safe_dump(story.content))
    plan = prepared(story)
    story.done("destroy", "--yes")
    with pytest.raises(DriftSincePlanError, match="Another run has overtaken this one"):
        apply(plan, Allowances())


def test_who_only_updates_what_another_destroys_is_told_so_before_the_first_change(story: Story) -> None:
    story.done("apply", "--yes")
    story.write(google={"pool": {"id": story.name, "displayName": "Shop"}})
    plan = prepared(story)
    assert {change.action for change in plan.plan.changes} == {Action.UPDATE}
    story.done("destroy", "--yes")
    with pytest.raises(DriftSincePlanError, match="Another run has overtaken this one"):
        apply(plan, Allowances())


def test_while_one_changes_the_federation_the_other_is_told_who_and_nothing_is_left_of_it(story: Story) -> None:
    plan = prepared(story)
    with turn(story.kube, story.name, "apply"), pytest.raises(DriftSincePlanError) as caught:
        apply(plan, Allowances())
    assert f"process {os.getpid()}) is changing the federation {story.name}" in caught.value.what
    apply(plan, Allowances())
    with turn(story.kube, story.name, "apply"):
        refused = story.run("destroy", "--yes").error
        assert refused is not None
        assert "is changing the federation" in refused.what
    assert get_lease(story.kube, NAMESPACE, config_map_name(story.name)) is None


def test_who_writes_a_policy_between_plan_and_apply_loses_nothing(story: Story) -> None:
    plan = prepared(story)
    holder = ProjectPolicy(story.google, "demo-project")
    edit_policy(holder, lambda policy: add_member(policy, "roles/viewer", "user:late@example.com"))
    apply(plan, Allowances())
    members = {member for binding in holder.read_policy()["bindings"] for member in binding["members"]}
    assert "user:late@example.com" in members
    assert any(member.endswith(f"default:{story.name}") for member in members)


def test_what_somebody_makes_between_plan_and_apply_is_not_taken_over(story: Story) -> None:
    plan = prepared(story)
    iam.create_pool(story.google, PoolName("demo-project", story.name), {"displayName": "Quicker"})
    with pytest.raises(PartlyAppliedError, match=f"then: pool/{story.name} appeared while the plan was applied") as caught:
        apply(plan, Allowances())
    assert "it does not bear this federation's mark" in caught.value.why
    assert caught.value.next_step.endswith("Then run `podpass apply` again: it continues where this run stopped.")
    assert "exists already" in str(story.run("apply", "--yes").error)
    story.done("destroy", "--yes")
    assert (iam.get_pool(story.google, PoolName("demo-project", story.name)) or {})["state"] == "ACTIVE"


def test_a_bucket_into_which_others_have_put_something_is_named_and_stays(story: Story) -> None:
    bucket = f"{story.name}-oidc"
    url = f"https://storage.googleapis.com/{bucket}"
    story.write(issuer={"url": url, "keys": "bucket", "bucket": {"name": bucket}})
    story.done("apply", "--yes")
    storage.put_object(story.google, bucket, "theirs.txt", StoredObject(b"x", ""))
    answer = story.run("destroy", "--yes")
    assert isinstance(answer.error, PartlyAppliedError)
    assert f"delete the bucket {bucket}" in answer.error.what
    storage.delete_object(story.google, bucket, "theirs.txt")
    assert "1 thing deleted" in story.done("destroy", "--yes")
