# SPDX-License-Identifier: Apache-2.0
"""One of many: other federations in the project, grants in other projects, a pipeline as the operator."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from podpass.config.reading import load
from podpass.errors import UnreachableError
from podpass.federate.model import documents
from podpass.federate.planning.prepared import prepare
from podpass.federate.records.receipt import NAMESPACE
from podpass.google import iam, storage
from podpass.google.policy import add_member, has_member, remove_member
from podpass.google.policy_edit import edit_policy
from podpass.google.projects import ProjectPolicy
from podpass.kube.config_maps import ConfigMap, create_config_map, delete_config_map, get_config_map
from podpass.kube.objects import ensure_namespace, ensure_service_account
from podpass.kube.tokens import request_token
from podpass.names import GoogleServiceAccount, PoolName, ProviderName, ServiceAccountRef
from podpass.sandbox.google.roles import PERMISSIONS
from podpass.sandbox.hosting import HostedSandbox
from podpass.sandbox.settings import SandboxSettings
from scenario.federate.conftest import Story, enter

PIPELINE = ServiceAccountRef("ci", "deployer")
OPERATOR = "user:operator@example.com"
ROLE = "projects/demo-project/roles/podpassOperator"
NEEDED: list[str] = yaml.safe_load((Path(__file__).parents[3] / "examples/operator/google-role.yaml").read_text())["includedPermissions"]
TWO_PROJECTS = SandboxSettings(
    other_projects=(("data-project", "777777777777"),), propagation=timedelta(0), account_visibility=timedelta(0)
)


@pytest.fixture(scope="module")
def two_projects() -> Iterator[HostedSandbox]:
    """A sandbox of two projects, for all of this module's stories that want one."""
    with HostedSandbox(TWO_PROJECTS) as sandbox:
        yield sandbox


@pytest.fixture
def story_of_two(two_projects: HostedSandbox, story_in: Callable[[HostedSandbox], Story]) -> Story:
    return story_in(two_projects)


def another(story: Story, name: str) -> Story:
    """Return a second federation of the same cluster and project."""
    file = story.file.with_name(f"{name}.yaml")
    other = Story(name, file, story.sandbox, story.google, story.kube)
    ensure_service_account(story.kube, ServiceAccountRef("default", name))
    other.write()
    return other


def without_stones(dump: dict[str, Any]) -> dict[str, Any]:
    dump["google"].pop("tombstones", None)
    return dump


def test_two_federations_of_one_project_do_not_know_of_each_other(story: Story) -> None:
    other = another(story, f"{story.name}-b")
    workload = {"serviceAccount": "default/both", "roles": ["roles/storage.objectViewer"], "credentials": {"configMap": "{}"}}
    ensure_service_account(story.kube, ServiceAccountRef("default", "both"))
    for one in (story, other):
        one.write(workloads=[{**workload, "googleServiceAccount": one.name, "credentials": {"configMap": f"{one.name}-both"}}])
    story.done("apply", "--yes")
    before = story.sandbox.dump()
    other.done("apply", "--yes")
    assert "Nothing to change" in story.done("plan")
    assert "Nothing to change" in other.done("plan")
    other.done("destroy", "--yes")
    assert without_stones(story.sandbox.dump()) == without_stones(before)
    assert "Nothing to change" in story.done("plan")
    assert story.run("doctor").code == 0
    story.done("destroy", "--yes")


def test_a_second_federation_that_wants_the_same_things_is_refused_and_told_whose_they_are(story: Story) -> None:
    story.done("apply", "--yes")
    before = story.sandbox.dump()
    other = another(story, f"{story.name}-b")
    other.write(google={"pool": {"id": story.name}})
    refused = other.run("apply", "--yes")
    assert f"pool/{story.name} exists already, for another federation of this cluster." in str(refused.error)
    assert f"it carries the mark of federation {story.name} of this cluster" in str(refused.error)
    after = story.sandbox.dump()
    assert after["google"] == before["google"]
    story.done("destroy", "--yes")


def test_a_role_that_two_federations_give_to_one_account_goes_with_the_last_of_them(story: Story) -> None:
    email = f"{story.name}-shared@demo-project.iam.gserviceaccount.com"
    iam.create_service_account(story.google, "demo-project", f"{story.name}-shared", {})
    other = another(story, f"{story.name}-b")
    for one in (story, other):
        one.write(workloads=[{"serviceAccount": f"default/{one.name}", "googleServiceAccount": email, "roles": ["roles/browser"]}])
    address = f"grant/{story.name}-shared:browser@project/demo-project"

    def has_role() -> bool:
        return has_member(ProjectPolicy(story.google, "demo-project").read_policy(), "roles/browser", f"serviceAccount:{email}")

    story.done("apply", "--yes")
    junk = create_config_map(story.kube, ConfigMap(NAMESPACE, "federation-junk", {"receipt.json": "{}"}))
    assert f"+ {address}  the federation {story.name} gives it, too" in other.done("apply", "--yes")
    assert "Nothing to change" in other.done("plan")
    assert f"{address}  stays: the federation {other.name} gives it, too" in story.done("destroy", "--yes")
    assert has_role()
    assert "Nothing to change" in other.done("plan")
    assert f"- {address}" in other.done("destroy", "--yes")
    assert not has_role()
    delete_config_map(story.kube, junk)


def test_a_role_that_somebody_else_gives_to_a_shared_account_is_told(story: Story) -> None:
    email = f"{story.name}-shared@demo-project.iam.gserviceaccount.com"
    iam.create_service_account(story.google, "demo-project", f"{story.name}-shared", {})
    give = partial(add_member, role="roles/browser", member=f"serviceAccount:{email}")
    edit_policy(ProjectPolicy(story.google, "demo-project"), give, just_created=True)
    story.write(workloads=[{"serviceAccount": f"default/{story.name}", "googleServiceAccount": email, "roles": ["roles/browser"]}])
    plan = " ".join(story.done("plan").split())
    assert f"{email} has roles/browser on project/demo-project already, and no federation of this cluster gave it." in plan
    story.done("apply", "--yes")
    story.done("destroy", "--yes")
    assert has_member(ProjectPolicy(story.google, "demo-project").read_policy(), "roles/browser", f"serviceAccount:{email}")


def test_a_workload_that_gets_another_account_may_not_act_as_the_former_one_any_more(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    emails = [f"{story.name}-{which}@demo-project.iam.gserviceaccount.com" for which in ("former", "next")]

    def bound() -> list[bool]:
        policies = [iam.ServiceAccountPolicy(story.google, GoogleServiceAccount(email)).read_policy() for email in emails]
        return [f"default:{story.name}" in json.dumps(policy) for policy in policies]

    def fail(*_: object) -> None:
        raise UnreachableError("The network is gone.")

    for email in emails:
        iam.create_service_account(story.google, "demo-project", email.partition("@")[0], {})
    story.write(workloads=[{"serviceAccount": f"default/{story.name}", "googleServiceAccount": emails[0]}])
    story.done("apply", "--yes")
    assert bound() == [True, False]
    story.write(workloads=[{"serviceAccount": f"default/{story.name}", "googleServiceAccount": emails[1]}])
    with monkeypatch.context() as patch:
        patch.setattr("podpass.federate.kinds.policies.edit_policy", fail)
        assert story.run("apply", "--yes").error
    assert bound() == [True, False]
    story.done("apply", "--yes")
    assert bound() == [False, True]
    story.done("destroy", "--yes")
    assert bound() == [False, False]


def test_what_lies_in_another_project_is_granted_there_and_the_lack_of_a_right_names_that_project(
    story_of_two: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = story_of_two
    storage.create_bucket(story.google, "data-project", "their-photos", {})
    grants = [{"role": "roles/viewer", "project": "data-project"}, {"role": "roles/storage.objectViewer", "bucket": "their-photos"}]
    story.write(workloads=[{"serviceAccount": f"default/{story.name}", "roles": ["roles/browser"], "grants": grants}])
    there, grantor = ProjectPolicy(story.google, "data-project"), "projects/data-project/roles/grantor"
    reading = {"resourcemanager.projects.get", "resourcemanager.projects.getIamPolicy", "storage.buckets.getIamPolicy"}
    monkeypatch.setitem(PERMISSIONS, grantor, frozenset(reading))
    edit_policy(there, lambda policy: remove_member(add_member(policy, grantor, OPERATOR), "roles/owner", OPERATOR))
    before = story.sandbox.dump()
    refused = story.run("apply", "--yes")
    assert refused.error
    assert (
        refused.error.what == "Nothing was changed: The operator lacks resourcemanager.projects.setIamPolicy on the project data-project."
    )
    assert story.sandbox.dump() == before
    writing = {"resourcemanager.projects.setIamPolicy", "storage.buckets.setIamPolicy"}
    monkeypatch.setitem(PERMISSIONS, grantor, frozenset(reading | writing))
    story.done("apply", "--yes")
    member = f"workloadIdentityPools/{story.name}/subject/system:serviceaccount:default:{story.name}"
    bucket = storage.BucketPolicy(story.google, "their-photos")
    assert all(member in json.dumps(one.read_policy()) for one in (there, bucket))
    assert "pool" not in json.dumps([one for one in there.read_policy()["bindings"] if one["role"] != "roles/viewer"])
    assert story.run("doctor").code == 0
    story.done("destroy", "--yes")
    assert not any(member in json.dumps(one.read_policy()) for one in (there, bucket))


@pytest.mark.parametrize("account", [None, pytest.param("deployer", marks=pytest.mark.slow)], ids=["direct", "impersonating"])
def test_a_pipeline_applies_with_its_own_clusters_token(
    story_of_two: Story, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, account: str | None
) -> None:
    """No terminal, no key, no person: GOOGLE_APPLICATION_CREDENTIALS is what `podpass apply` wrote for the pipeline's own account."""
    story, pipeline = story_of_two, another(story_of_two, f"{story_of_two.name}-ci")
    ensure_namespace(story.kube, PIPELINE.namespace)
    ensure_service_account(story.kube, PIPELINE)
    monkeypatch.setitem(PERMISSIONS, ROLE, frozenset(NEEDED))
    token = tmp_path / "token"
    credentials = {"configMap": story.name, "key": "adc.json", "tokenPath": str(token)}
    impersonated = {"googleServiceAccount": account} if account else {}
    pipeline.write(workloads=[{"serviceAccount": str(PIPELINE), "roles": [ROLE], "credentials": credentials, **impersonated}])
    pipeline.done("apply", "--yes")

    found = get_config_map(story.kube, PIPELINE.namespace, story.name)
    assert found
    adc = tmp_path / "adc.json"
    adc.write_text(found.data["adc.json"])
    audience = json.loads(adc.read_text())["audience"]
    token.write_text(request_token(story.kube, PIPELINE, audiences=[audience]).value.reveal())
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(adc))
    story.write(workloads=[{"serviceAccount": f"default/{story.name}", "googleServiceAccount": story.name, "roles": ["roles/browser"]}])
    assert story.run("apply").error  # nobody is there to ask
    before = len(story.sandbox.requests())
    story.done("apply", "--yes")
    assert "Nothing to change" in story.done("plan")
    story.done("destroy", "--yes")
    callers = {str(entry["caller"]) for entry in story.sandbox.requests()[before:]} - {"anonymous"}
    principal = f"principal://iam.googleapis.com/projects/415104041262/locations/global/workloadIdentityPools/{pipeline.name}/subject/{PIPELINE.subject}"
    enter(story.sandbox, monkeypatch)  # a person again, who takes the pipeline's own rights back
    pipeline.done("destroy", "--yes")
    assert callers == ({principal} if account is None else {principal, f"{account}@demo-project.iam.gserviceaccount.com"})


def bootstrapped(story: Story) -> dict[str, Any]:
    """Let somebody else, by hand or with Terraform, make pool, provider and account; return the provider as it is."""
    cluster = prepare(load(story.file), story.google, story.kube)
    assert cluster.facts
    iam.create_pool(story.google, theirs(story).pool, {"description": "Terraform"})
    oidc = {"issuerUri": cluster.facts.issuer, "jwksJson": documents.inline_keys(cluster.facts.jwks)}
    body = {"attributeMapping": {"google.subject": "assertion.sub"}, "attributeCondition": "true", "oidc": oidc}
    iam.create_provider(story.google, theirs(story), body)
    iam.create_service_account(story.google, "demo-project", f"{story.name}-tf", {})
    return provider_of(story)


def theirs(story: Story) -> ProviderName:
    return PoolName("demo-project", story.name).provider("cluster")


def provider_of(story: Story) -> dict[str, Any]:
    found = iam.get_provider(story.google, theirs(story))
    assert found
    return dict(found)


def refer(story: Story, **google: object) -> None:
    """Write a file that refers to what somebody else made."""
    settings: dict[str, object] = {"pool": {"id": story.name, "existing": True}, "provider": {"id": "cluster", "existing": True}}
    account = f"{story.name}-tf@demo-project.iam.gserviceaccount.com"
    workload = {"serviceAccount": f"default/{story.name}", "googleServiceAccount": account, "roles": ["roles/browser"]}
    story.write(google=settings | google, workloads=[workload])


def test_what_terraform_keeps_is_referred_to_and_stays_as_it_is_to_the_last(story_of_two: Story) -> None:
    story = story_of_two
    before = bootstrapped(story)
    untouched = story.sandbox.dump()
    refer(story)
    plan = story.done("plan")
    assert f"+ binding/default/{story.name}" in plan
    assert "pool/" not in plan
    assert "provider/" not in plan
    wrote = story.written(lambda: story.done("apply", "--yes"))
    assert {method.rpartition(".")[2] for method in wrote if not method.startswith("sts")} == {"setIamPolicy"}
    assert story.run("doctor").code == 0
    assert provider_of(story) == before
    assert "Nothing to change" in story.done("plan")
    story.done("destroy", "--yes")
    assert without_stones(story.sandbox.dump()) == without_stones(untouched)


def test_a_reference_that_does_not_hold_is_named_and_left_to_whoever_keeps_it(story_of_two: Story) -> None:
    story = story_of_two
    refer(story)
    refused = story.run("plan")
    assert f"pool/{story.name} is not there." in str(refused.error)
    assert "neither makes nor undeletes it" in str(refused.error)
    story.write()
    bootstrapped(story)
    refer(story, attributeMapping={"google.subject": "'x::' + assertion.sub"})
    assert "The provider cluster maps google.subject from 'assertion.sub', the file from \"'x::' + assertion.sub\"." in str(
        story.run("apply", "--yes").error
    )
    refer(story)
    story.done("apply", "--yes")
    oidc = provider_of(story)["oidc"]
    other = json.loads(oidc["jwksJson"])["keys"][0] | {"kid": "former"}
    iam.update_provider(story.google, theirs(story), {"oidc": oidc | {"jwksJson": json.dumps({"keys": [other]})}}, ["oidc"])
    assert "The provider cluster does not have 1 of the cluster's keys" in " ".join(story.done("plan").split())
    assert "✗ keys" in " ".join(story.run("doctor").out.split())
    assert "Give them to whoever keeps the provider" in story.run("doctor").out
    assert "somebody else keeps the provider cluster" in str(story.run_bare("keys", "sync", "--yes", "-f", str(story.file)).error)
    iam.update_provider(story.google, theirs(story), {"oidc": {"allowedAudiences": ["sts.example"]}}, ["oidc.allowedAudiences"])
    assert "takes tokens for 'sts.example' and not for its own name" in " ".join(story.done("plan").split())
    iam.update_provider(story.google, theirs(story), {"disabled": True}, ["disabled"])
    assert "provider/cluster is disabled, so every token is refused." in " ".join(story.done("plan").split())
    assert "whoever keeps it can enable it" in " ".join(story.run("doctor").out.split())
    iam.delete_provider(story.google, theirs(story))
    assert "provider/cluster is deleted." in str(story.run("doctor").error)


def test_what_podpass_made_can_be_handed_over(story_of_two: Story) -> None:
    story = story_of_two
    story.done("apply", "--yes")
    before = provider_of(story)
    story.write(google={"pool": {"id": story.name, "existing": True}, "provider": {"id": "cluster", "existing": True}})
    assert "Nothing to change" in story.done("plan")
    story.done("apply", "--yes")
    story.done("destroy", "--yes")
    assert provider_of(story) == before
