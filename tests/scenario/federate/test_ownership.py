# SPDX-License-Identifier: Apache-2.0
"""Whose a thing is, and what may happen to it. Invariant 6."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from podpass.federate.records.receipt import NAMESPACE
from podpass.google import iam, storage
from podpass.google.policy import add_member
from podpass.google.policy_edit import edit_policy
from podpass.google.projects import ProjectPolicy
from podpass.google.storage import StoredObject
from podpass.kube.client import Request
from podpass.kube.config_maps import ConfigMap, create_config_map, get_config_map, replace_config_map
from podpass.kube.objects import get_namespace
from podpass.names import PoolName
from podpass.sandbox.binaries import cache_directory
from podpass.sandbox.hosting import HostedSandbox
from podpass.sandbox.settings import SandboxSettings
from scenario.federate.conftest import SHORT, Story

CONDITION = {"title": "Office hours", "expression": "request.time.getHours('Europe/Berlin') < 18"}


def pool_of(story: Story) -> PoolName:
    return PoolName("demo-project", story.name)


def test_applying_twice_writes_nothing(story: Story) -> None:
    assert "4 changes made" in story.done("apply", "--yes")
    before = story.sandbox.dump()
    assert story.written(lambda: story.done("apply", "--yes")) == []
    assert story.sandbox.dump() == before
    assert "Nothing to change" in story.done("plan")


def test_plan_changes_nothing(story: Story) -> None:
    before = story.sandbox.dump()
    assert story.written(lambda: story.done("plan")) == []
    assert story.sandbox.dump() == before


def test_destroy_leaves_nothing_but_tombstones(story: Story) -> None:
    before = story.sandbox.dump()
    story.done("apply", "--yes")
    assert "4 things deleted" in story.done("destroy", "--yes")
    after = story.sandbox.dump()
    stones = set(after["google"].pop("tombstones", ())) - set(before["google"].pop("tombstones", ()))
    pool = f"projects/415104041262/locations/global/workloadIdentityPools/{story.name}"
    assert stones == {f"pool {pool}", f"provider {pool}/providers/cluster"}
    assert after == before
    assert f"no receipt of the federation {story.name}." in story.done("destroy", "--yes")


def test_whatever_has_moved_into_the_namespace_survives_and_is_looked_for_among_all_kinds(
    story_in: Callable[[HostedSandbox], Story],
) -> None:
    with HostedSandbox(SandboxSettings(propagation=SHORT, account_visibility=SHORT)) as sandbox:
        story = story_in(sandbox)
        story.done("apply", "--yes")
        roles = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}/roles"
        body = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": "theirs", "namespace": NAMESPACE},
            "rules": [],
        }
        story.kube.call(Request("POST", roles, "create a role", body=body))
        story.done("destroy", "--yes")
        assert story.kube.find(Request("GET", f"{roles}/theirs", "read the role")) is not None
        story.kube.call(Request("DELETE", f"{roles}/theirs", "delete the role"))
        story.done("apply", "--yes", "--allow-undelete", "*")
        story.done("destroy", "--yes")
        assert get_namespace(story.kube, NAMESPACE) is None


@pytest.mark.parametrize("cluster_kind", [pytest.param("real", marks=pytest.mark.cluster)], indirect=True)
@pytest.mark.usefixtures("cluster_kind")
def test_where_an_aggregated_api_is_dead_all_goes_but_the_namespace_and_the_api_is_named(
    story_in: Callable[[HostedSandbox], Story],
) -> None:
    with HostedSandbox(SandboxSettings(control_plane=cache_directory(), propagation=SHORT, account_visibility=SHORT)) as sandbox:
        story = story_in(sandbox)
        services = "/apis/apiregistration.k8s.io/v1/apiservices"
        spec = {
            "group": "metrics.k8s.io",
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "insecureSkipTLSVerify": True,
        }
        spec["service"] = {"namespace": "default", "name": "gone"}
        name = "v1beta1.metrics.k8s.io"
        dead = {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": name}, "spec": spec}
        story.done("apply", "--yes")
        story.kube.call(Request("POST", services, "register a dead API", body=dead))
        said = " ".join(story.done("destroy", "--yes").split())
        assert "4 things deleted." in said
        assert f"The namespace {NAMESPACE} stays: the cluster's API metrics.k8s.io/v1beta1 gives no answer" in said
        assert get_namespace(story.kube, NAMESPACE) is not None
        said = story.done("destroy", "--yes")
        assert "this cluster has no receipt of the federation" in said
        assert "metrics.k8s.io/v1beta1" in said
        story.kube.call(Request("DELETE", f"{services}/{name}", "remove the dead API"))
        story.done("destroy", "--yes")
        assert get_namespace(story.kube, NAMESPACE) is None


def test_foreign_bindings_and_conditions_survive(story: Story) -> None:
    holder = ProjectPolicy(story.google, "demo-project")
    edit_policy(holder, lambda policy: add_member(policy, "roles/storage.admin", "user:somebody@example.com"))
    edit_policy(holder, lambda policy: add_member(policy, "roles/storage.admin", "user:somebody@example.com", CONDITION))
    before = holder.read_policy()["bindings"]
    story.done("apply", "--yes")
    during = holder.read_policy()["bindings"]
    assert [binding for binding in during if "condition" in binding] == [binding for binding in before if "condition" in binding]
    story.done("destroy", "--yes")
    assert holder.read_policy()["bindings"] == before


def test_a_bucket_that_went_and_came_back_as_somebody_elses_gets_nothing_and_keeps_everything(
    story_in: Callable[[HostedSandbox], Story],
) -> None:
    settings = SandboxSettings(other_projects=(("their-project", "999999999999"),), propagation=SHORT, account_visibility=SHORT)
    with HostedSandbox(settings) as sandbox:
        story = story_in(sandbox)
        bucket = f"{story.name}-oidc"
        url = f"https://storage.googleapis.com/{bucket}"
        story.write(issuer={"url": url, "keys": "bucket", "bucket": {"name": bucket, "location": "us-east1"}})
        story.done("apply", "--yes")
        for name in storage.list_objects(story.google, bucket):
            storage.delete_object(story.google, bucket, name)
        storage.delete_bucket(story.google, bucket)
        storage.create_bucket(story.google, "their-project", bucket, {"location": "us-east1"})
        theirs = StoredObject(b"{}", "0", content_type="application/json")
        storage.put_object(story.google, bucket, "keys.json", theirs)
        refused = story.run("apply", "--yes")
        assert f"bucket/{bucket} exists already. podpass did not make it." in str(refused.error)
        unsafe = story.run_bare("keys", "sync", "--yes", "-f", str(story.file))
        assert f"bucket/{bucket} is not podpass's" in str(unsafe.error)
        assert (found := storage.get_object(story.google, bucket, "keys.json"))
        assert found.content == b"{}"
        assert storage.list_objects(story.google, bucket) == ["keys.json"]
        assert f"bucket/{bucket}  stays: podpass did not make it" in story.done("destroy", "--yes")
        assert storage.list_objects(story.google, bucket) == ["keys.json"]


def test_a_binding_that_was_there_before_stays_when_all_is_destroyed(story: Story) -> None:
    member = f"principal://iam.googleapis.com/projects/415104041262/locations/global/workloadIdentityPools/{story.name}"
    subject = f"{member}/subject/system:serviceaccount:default:{story.name}"
    story.done("apply", "--yes")
    story.content["spec"]["workloads"][0]["roles"] = ["roles/storage.admin", "roles/browser"]
    story.file.write_text(yaml.safe_dump(story.content))
    holder = ProjectPolicy(story.google, "demo-project")
    edit_policy(holder, lambda policy: add_member(policy, "roles/browser", subject))
    assert "Nothing to change" in story.done("plan")
    story.done("destroy", "--yes")
    left = [binding["role"] for binding in holder.read_policy()["bindings"] if subject in binding["members"]]
    assert left == ["roles/browser"]


def test_what_existed_before_is_adopted_only_when_told_and_never_destroyed(story: Story) -> None:
    iam.create_pool(story.google, pool_of(story), {"displayName": "By hand", "description": "Ours"})
    refused = story.run("apply", "--yes")
    assert refused.error is not None
    assert f"pool/{story.name} exists already. podpass did not make it." in str(refused.error)
    assert iam.list_providers(story.google, pool_of(story)) == []
    story.done("apply", "--yes", "--adopt")
    assert "Nothing to change" in story.done("plan")
    assert f"pool/{story.name}  stays" in story.done("destroy", "--yes")
    left = iam.get_pool(story.google, pool_of(story)) or {}
    assert (left["state"], left["displayName"], left["description"]) == ("ACTIVE", "By hand", "Ours")


def test_a_pool_that_others_use_is_adopted_by_its_own_address_only_and_their_providers_stay(story: Story) -> None:
    iam.create_pool(story.google, pool_of(story), {"displayName": "Pipelines"})
    condition = {"attributeMapping": {"google.subject": "'github::' + assertion.sub"}, "attributeCondition": "assertion.sub != ''"}
    github = pool_of(story).provider("github")
    iam.create_provider(story.google, github, {**condition, "oidc": {"issuerUri": "https://token.actions.githubusercontent.com"}})
    before = iam.get_provider(story.google, github)
    assert f"= pool/{story.name}  another's, needs --adopt pool/{story.name}" in story.done("plan")
    refused = str(story.run("apply", "--yes", "--adopt").error)
    assert "it holds providers that are not this cluster's: github (https://token.actions.githubusercontent.com)" in refused
    story.done("apply", "--yes", "--adopt", f"pool/{story.name}")
    story.done("destroy", "--yes")
    assert iam.get_provider(story.google, github) == before


def test_what_the_file_no_longer_asks_for_goes_only_when_allowed(story: Story) -> None:
    story.done("apply", "--yes")
    grant = f"grant/default/{story.name}:storage.admin@project/demo-project"
    story.content["spec"]["workloads"][0]["roles"] = []
    story.file.write_text(yaml.safe_dump(story.content))
    refused = story.run("apply", "--yes")
    assert f"apply with --allow-delete {grant}" in str(refused.error)
    misspelled = ("--allow-delete", f"{grant}s", "--adopt", "pool/x", "--allow-delete", "y*")
    told = " ".join(story.done("apply", "--yes", "--allow-delete", grant, *misspelled).split())
    assert f"- {grant}" in told
    assert told.count("allows nothing") == 2
    assert f"Note: --allow-delete {grant}s allows nothing: the plan has no such change. Note: --adopt pool/x allows nothing" in told
    assert "Nothing to change" in story.done("plan")


def test_a_member_that_moves_is_replaced_in_one_write(story: Story) -> None:
    story.done("apply", "--yes")
    prefixed = {"google.subject": f"'{story.name}::' + assertion.sub"}
    story.write(google={"attributeMapping": prefixed})
    written = story.written(lambda: story.done("apply", "--yes"))
    assert sorted(written) == ["cloudresourcemanager.projects.setIamPolicy", "iam.projects.locations.workloadIdentityPools.providers.patch"]
    members = [member for binding in ProjectPolicy(story.google, "demo-project").read_policy()["bindings"] for member in binding["members"]]
    ours = [member for member in members if member.endswith(f"default:{story.name}")]
    assert [member.rpartition("/")[2].partition("::")[0] for member in ours] == [story.name]
    story.done("destroy", "--yes")


def test_other_keys_of_our_config_map_stay(story: Story) -> None:
    story.done("apply", "--yes")
    name = f"{story.name}-sts"
    found = get_config_map(story.kube, "default", name)
    assert found
    replace_config_map(story.kube, found.with_data({**found.data, "theirs": "1"}))
    assert "Nothing to change" in story.done("plan")
    story.done("destroy", "--yes")
    left = get_config_map(story.kube, "default", name)
    assert left is not None
    assert dict(left.data) == {"theirs": "1"}


def test_a_config_map_of_somebody_else_is_adopted_with_its_other_keys(story: Story) -> None:
    create_config_map(story.kube, ConfigMap("default", f"{story.name}-sts", {"theirs": "1"}))
    assert "exists already" in str(story.run("apply", "--yes").error)
    story.done("apply", "--yes", "--adopt")
    found = get_config_map(story.kube, "default", f"{story.name}-sts")
    assert found is not None
    assert set(found.data) == {"theirs", "config"}


def test_a_drifted_provider_is_put_right(story: Story) -> None:
    story.done("apply", "--yes")
    name = pool_of(story).provider("cluster")
    iam.update_provider(story.google, name, {"attributeCondition": "true"}, ["attributeCondition"])
    answer = story.run("plan", "--exit-code")
    assert answer.code == 10
    assert "attributeCondition:\n        - true\n        + assertion.sub ==" in answer.out
    story.done("apply", "--yes")
    assert story.run("plan", "--exit-code").code == 0


def test_the_cluster_may_be_gone_when_the_receipt_was_kept(story: Story, tmp_path: Path) -> None:
    kept = tmp_path / "receipt.json"
    story.done("apply", "--yes", "--save-receipt", str(kept))
    assert json.loads(kept.read_text())["kind"] == "Receipt"
    answer = story.run_bare("destroy", "--yes", "--receipt", str(kept))
    assert "3 things deleted" in answer.out
    assert (iam.get_pool(story.google, pool_of(story)) or {})["state"] == "DELETED"
    assert "1 thing deleted" in story.done("destroy", "--yes")  # the cluster was there after all
