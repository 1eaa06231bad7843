# SPDX-License-Identifier: Apache-2.0
"""Ids that Google keeps for 30 days after their deletion."""

import pytest

from podpass.federate.observed.survey import Survey
from podpass.google import iam
from podpass.names import PoolName
from scenario.federate.conftest import Story

POOLS = "iam.projects.locations.workloadIdentityPools"


def test_after_destroy_apply_undeletes_as_planned_and_only_when_allowed(story: Story) -> None:
    story.done("apply", "--yes")
    before = story.sandbox.dump()
    story.done("destroy", "--yes")
    answer = story.run("apply", "--yes")
    assert f"^ pool/{story.name}  undelete, needs --allow-undelete" in answer.out
    assert f"apply with --allow-undelete pool/{story.name}" in str(answer.error)
    story.done("apply", "--yes", "--allow-undelete", f"pool/{story.name}", "--allow-undelete", "provider/cluster")
    after = story.sandbox.dump()
    before["kubernetes"]["configmaps"].pop(f"podpass-system/federation-{story.name}")  # the config map has another uid now
    after["kubernetes"]["configmaps"].pop(f"podpass-system/federation-{story.name}")
    assert after == before


def test_the_receipt_allows_to_undelete_what_somebody_deleted(story: Story) -> None:
    story.done("apply", "--yes")
    iam.delete_pool(story.google, PoolName("demo-project", story.name))
    assert f"^ pool/{story.name}  undelete\n" in story.done("apply", "--yes")
    assert "Nothing to change" in story.done("plan")


def test_no_trust_of_the_past_is_live_in_between(story: Story) -> None:
    """The pool stays closed until the provider is right; nothing else is opened or corrected after that."""
    story.done("apply", "--yes")
    story.done("destroy", "--yes")
    story.write(google={"attributeCondition": "assertion.sub == 'nobody'"})
    story.content["spec"]["workloads"][0]["roles"] = []
    written = story.written(lambda: story.done("apply", "--yes", "--allow-undelete", "*"))
    assert [method.removeprefix(POOLS) for method in written if method.startswith(POOLS)] == [
        ".undelete",
        ".patch",
        ".providers.undelete",
        ".providers.patch",
        ".patch",
    ]
    pool = iam.get_pool(story.google, PoolName("demo-project", story.name)) or {}
    assert not pool.get("disabled")


def test_a_stale_provider_comes_back_behind_a_closed_pool(story: Story) -> None:
    story.done("apply", "--yes")
    name = PoolName("demo-project", story.name).provider("cluster")
    iam.update_provider(story.google, name, {"attributeCondition": "true"}, ["attributeCondition"])
    iam.delete_provider(story.google, name)
    written = story.written(lambda: story.done("apply", "--yes"))
    assert [method.removeprefix(POOLS) for method in written] == [".patch", ".providers.undelete", ".providers.patch", ".patch"]
    assert "Nothing to change" in story.done("plan")


def test_a_pool_that_comes_back_with_a_provider_that_nobody_saw_stays_closed(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether Google lists the providers of a deleted pool is not known."""
    pool = PoolName("demo-project", story.name)
    iam.create_pool(story.google, pool, {})
    trust = {"attributeMapping": {"google.subject": "'old::' + assertion.sub"}, "attributeCondition": "assertion.sub != ''"}
    iam.create_provider(story.google, pool.provider("cluster-old"), {**trust, "oidc": {"issuerUri": "https://old.example"}})
    iam.delete_pool(story.google, pool)
    assert "it holds providers that are not this cluster's: cluster-old (https://old.example)" in str(
        story.run("apply", "--yes", "--allow-undelete", "*").error
    )
    with monkeypatch.context() as patch:
        patch.setattr(Survey, "_others", lambda _: ())
        refused = story.run("apply", "--yes", "--allow-undelete", "*")
    assert "holds a provider that was not seen when the plan was made: cluster-old." in str(refused.error)
    assert (iam.get_pool(story.google, pool) or {})["disabled"] is True
