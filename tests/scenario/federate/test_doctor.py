# SPDX-License-Identifier: Apache-2.0
"""The first broken link is named, with its cure."""

import json
import time

import pytest
import yaml

from podpass.google import iam
from podpass.google.policy import remove_member
from podpass.google.policy_edit import edit_policy
from podpass.google.projects import ProjectPolicy
from podpass.google.rest import Request
from podpass.kube.config_maps import delete_config_map, get_config_map
from podpass.names import PoolName
from scenario.federate.conftest import Story


def links(out: str) -> list[str]:
    return [f"{words[0]} {words[1]}" for line in out.splitlines() if (words := line.split())[:1] and words[0] in {"✓", "✗", "-"}]


def examined(story: Story) -> tuple[list[str], str]:
    """Walk the chain until what was just changed is felt everywhere; return its links."""
    out = ""
    for _ in range(30):
        answer = story.run("doctor")
        out = answer.out
        if answer.code == 0 or "call" not in out.rpartition("✗")[2]:
            break
        time.sleep(0.1)  # real propagation, of the sandbox
    return links(out), out


CLUSTER = ["✓ issuer", "✓ provider", "✓ keys"]
WORKLOAD = ["✓ token", "✓ mapping", "✓ condition", "✓ exchange", "✓ principal", "✓ binding", "✓ role", "✓ call", "✓ credentials"]


def test_a_sound_chain_passes_every_link(story: Story) -> None:
    story.done("apply", "--yes")
    assert examined(story)[0] == CLUSTER + WORKLOAD


def impersonating(story: Story) -> str:
    """Apply the file with a Google account for its workload; return the account's email."""
    story.content["spec"]["workloads"][0]["googleServiceAccount"] = account = f"{story.name}-sa"
    story.file.write_text(yaml.safe_dump(story.content))
    story.done("apply", "--yes")
    return f"{account}@demo-project.iam.gserviceaccount.com"


def test_impersonation_passes_every_link_too(story: Story) -> None:
    impersonating(story)
    for _ in range(30):
        found, out = examined(story)
        if found == CLUSTER + WORKLOAD:
            break
        time.sleep(0.1)  # real propagation, of the sandbox
    assert found == CLUSTER + WORKLOAD, out


def test_an_account_that_somebody_disabled_is_named_with_the_command_that_enables_it(story: Story) -> None:
    email = impersonating(story)
    story.google.call(Request("POST", "iam", f"/v1/projects/-/serviceAccounts/{email}:disable", "disable an account"))
    found, out = examined(story)
    while "is disabled" not in out and found[-1] == "✗ binding":  # the binding, too, takes its time
        found, out = examined(story)
    assert found == CLUSTER + WORKLOAD[:5] + ["✗ binding"]
    assert f"`gcloud iam service-accounts enable {email}`" in out


def test_an_account_that_somebody_deleted_is_named(story: Story) -> None:
    email = impersonating(story)
    story.google.call(Request("DELETE", "iam", f"/v1/projects/-/serviceAccounts/{email}", "delete an account"))
    found, out = examined(story)
    assert found == CLUSTER + WORKLOAD[:5] + ["✗ binding"]
    assert f"The Google account {email} is absent." in " ".join(out.split())
    assert "Next: Run `podpass apply`." in out


def test_what_was_destroyed_comes_back_by_the_command_that_is_named(story: Story) -> None:
    story.done("apply", "--yes")
    story.done("destroy", "--yes")
    found, out = examined(story)
    assert found == ["✓ issuer", "✗ provider"]
    asked = ("--allow-undelete", f"pool/{story.name}", "--allow-undelete", "provider/cluster")
    assert f"Run `podpass apply {' '.join(asked)}`." in " ".join(out.split())
    story.done("apply", "--yes", *asked)
    assert examined(story)[0] == CLUSTER + WORKLOAD


def test_before_apply_the_pool_is_missing(story: Story) -> None:
    found, out = examined(story)
    assert found == ["✓ issuer", "✗ provider"]
    assert "The pool is absent." in out
    assert "Next: Run `podpass apply`." in out


@pytest.mark.parametrize(
    ("extra", "said"),
    [("", "The cluster has 1 that Google does not have"), ("present", "Google trusts 1 that the cluster does not have any more")],
)
def test_keys_that_were_rotated_are_named_by_their_own_link(story: Story, extra: str, said: str) -> None:
    story.done("apply", "--yes")
    name = PoolName("demo-project", story.name).provider("cluster")
    provider = iam.get_provider(story.google, name)
    assert provider
    oidc = provider["oidc"]
    keys = json.loads(oidc["jwksJson"])["keys"]
    former = [key | {"kid": "former"} for key in keys]
    jwks = json.dumps({"keys": keys + former if extra else former})
    iam.update_provider(story.google, name, {"oidc": oidc | {"jwksJson": jwks}}, ["oidc"])
    found, out = examined(story)
    assert found == ["✓ issuer", "✓ provider", "✗ keys"]
    assert said in out
    assert "Next: Run `podpass apply`." in out
    story.done("apply", "--yes")
    assert examined(story)[0] == CLUSTER + WORKLOAD


def test_a_condition_that_is_false_is_shown(story: Story) -> None:
    story.write(google={"attributeCondition": "assertion.sub == 'somebody-else'"})
    story.done("apply", "--yes")
    found, out = examined(story)
    assert found[-1] == "✗ condition"
    assert "assertion.sub == 'somebody-else' is False" in " ".join(out.split())


def test_a_role_that_was_taken_away_is_named(story: Story) -> None:
    story.done("apply", "--yes")
    subject = f"principal://iam.googleapis.com/projects/415104041262/locations/global/workloadIdentityPools/{story.name}/subject/"
    member = f"{subject}system:serviceaccount:default:{story.name}"
    edit_policy(ProjectPolicy(story.google, "demo-project"), lambda policy: remove_member(policy, "roles/storage.admin", member))
    assert examined(story)[0][-1] == "✗ role"


def test_a_config_map_that_pods_cannot_mount_is_the_last_link(story: Story) -> None:
    story.done("apply", "--yes")
    name = story.content["spec"]["workloads"][0]["credentials"]["configMap"]
    config_map = get_config_map(story.kube, "default", name)
    assert config_map is not None
    delete_config_map(story.kube, config_map)
    found, out = examined(story)
    assert found == CLUSTER + WORKLOAD[:-1] + ["✗ credentials"]
    assert f"The config map default/{name} is missing: pods that mount it do not start." in " ".join(out.split())


def test_a_role_of_a_service_that_the_sandbox_does_not_play_can_be_rehearsed(story: Story) -> None:
    story.content["spec"]["workloads"][0]["roles"] = ["roles/pubsub.publisher"]
    story.file.write_text(yaml.safe_dump(story.content))
    story.done("apply", "--yes")
    assert examined(story)[0] == CLUSTER + WORKLOAD[:-2] + ["- call", "✓ credentials"]


def test_an_unknown_workload_is_told(story: Story) -> None:
    answer = story.run("doctor", "--workload", "default/nobody")
    assert "'default/nobody' is no workload of this federation." in str(answer.error)


@pytest.mark.parametrize("wanted", ["default/{name}"])
def test_one_workload_can_be_examined_alone(story: Story, wanted: str) -> None:
    story.done("apply", "--yes")
    assert story.run("doctor", "--workload", wanted.format(name=story.name)).out.count("default/") >= 1


@pytest.mark.parametrize(
    ("broken", "link", "planned"),
    [
        ("disabled provider", "The provider is disabled.", "~ provider/cluster disabled: true -> false"),
        pytest.param("disabled pool", "The pool is disabled.", "~ pool/{name} disabled: true -> false", marks=pytest.mark.slow),
        ("deleted pool", "The pool is deleted.", "^ pool/{name} undelete"),
        pytest.param("deleted provider", "The provider is deleted.", "^ provider/cluster undelete", marks=pytest.mark.slow),
        ("former keys", "The cluster has 1 that Google does not have", "~ provider/cluster oidc.jwksJson: 1 key (former) -> 1 key"),
    ],
)
def test_what_somebody_broke_doctor_names_plan_shows_and_apply_cures(story: Story, broken: str, link: str, planned: str) -> None:
    story.done("apply", "--yes")
    pool = PoolName("demo-project", story.name)
    provider = pool.provider("cluster")
    if broken == "disabled provider":
        iam.update_provider(story.google, provider, {"disabled": True}, ["disabled"])
    elif broken == "disabled pool":
        iam.update_pool(story.google, pool, {"disabled": True}, ["disabled"])
    elif broken == "deleted pool":
        iam.delete_pool(story.google, pool)
    elif broken == "deleted provider":
        iam.delete_provider(story.google, provider)
    else:
        found = iam.get_provider(story.google, provider)
        assert found
        keys = [key | {"kid": "former"} for key in json.loads(found["oidc"]["jwksJson"])["keys"]]
        iam.update_provider(story.google, provider, {"oidc": found["oidc"] | {"jwksJson": json.dumps({"keys": keys})}}, ["oidc"])
    walked = story.run("doctor")
    said = " ".join(walked.out.split())
    assert walked.code == 1
    assert link in said
    assert "apply`" in said.partition("Next: ")[2]
    plan = " ".join(story.done("plan").split())
    assert planned.format(name=story.name) in plan
    story.done("apply", "--yes")
    assert examined(story)[0] == CLUSTER + WORKLOAD
