# SPDX-License-Identifier: Apache-2.0
"""The receipt is a config map: whoever may write it must not have the operator take away, or change, what is not podpass's."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from podpass.federate.records.receipt import NAMESPACE
from podpass.google import iam, storage
from podpass.google.policy import add_member
from podpass.google.policy_edit import edit_policy
from podpass.google.projects import ProjectPolicy
from podpass.google.storage import StoredObject
from podpass.kube.config_maps import ConfigMap, create_config_map, get_config_map, replace_config_map
from podpass.names import PoolName
from scenario.federate.conftest import Story

PROJECT = "demo-project"
POOLS = "iam.googleapis.com/projects/415104041262/locations/global/workloadIdentityPools"
CONDITION = {"title": "Office hours", "expression": "request.time.getHours('Europe/Berlin') < 18"}


def forge(story: Story, edit: Callable[[dict[str, Any]], object]) -> None:
    """Change the receipt as somebody may who can write config maps in podpass-system."""
    found = get_config_map(story.kube, NAMESPACE, f"federation-{story.name}")
    assert found
    receipt = json.loads(found.data["receipt.json"])
    edit(receipt)
    replace_config_map(story.kube, found.with_data({"receipt.json": json.dumps(receipt)}))


def grant(member: str, role: str = "roles/browser", target: str = f"project/{PROJECT}", **more: object) -> dict[str, Any]:
    return {"state": "made", "identity": {"target": target, "role": role, "member": member, **more}}


def precious(story: Story) -> dict[str, dict[str, Any]]:
    """Make what others rest on; return the entries of a receipt that would have it taken away."""
    google, name = story.google, f"{story.name}-prod"
    storage.create_bucket(google, PROJECT, name, {"iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}}})
    for path in ("keys.json", "salaries.csv"):
        storage.put_object(google, name, path, StoredObject(b"{}", "0", content_type="application/json"))
    edit_policy(storage.BucketPolicy(google, name), lambda policy: add_member(policy, "roles/storage.legacyObjectReader", "allUsers"))
    iam.create_pool(google, PoolName(PROJECT, name), {"displayName": "Production"})
    provider = PoolName(PROJECT, name).provider("production")
    oidc = {"issuerUri": "https://token.actions.githubusercontent.com"}
    iam.create_provider(
        google,
        provider,
        {
            "attributeMapping": {"google.subject": "assertion.sub"},
            "attributeCondition": "assertion.repository_owner == 'shop'",
            "oidc": oidc,
        },
    )
    iam.create_service_account(google, PROJECT, name, {})
    create_config_map(story.kube, ConfigMap("kube-system", name, {"Corefile": "."}))
    account = f"{name}@{PROJECT}.iam.gserviceaccount.com"
    pipeline = f"principal://{POOLS}/{name}/subject/repo:shop/site"

    def give(policy: dict[str, Any]) -> dict[str, Any]:
        given = add_member(policy, "roles/browser", pipeline)
        given = add_member(given, "roles/browser", f"serviceAccount:{account}", CONDITION)
        return add_member(given, "roles/editor", f"serviceAccount:{account}")

    edit_policy(ProjectPolicy(google, PROJECT), give, just_created=True)
    pool = {"project": PROJECT, "pool": name}
    return {
        f"pool/{name}": {"state": "undeleting", "identity": pool},
        "provider/production": {"state": "undeleting", "identity": {**pool, "provider": "production"}},
        f"account/{name}": {"state": "made", "identity": {"project": PROJECT, "email": account}},
        f"bucket/{name}": {"state": "made", "identity": {"project": PROJECT, "bucket": name}},
        f"object/{name}/keys.json": {"state": "made", "identity": {"bucket": name, "object": "keys.json"}},
        f"configmap/kube-system/{name}": {"state": "made", "identity": {"namespace": "kube-system", "name": name, "key": "Corefile"}},
        f"grant/default/{name}:browser@project/{PROJECT}": grant(pipeline),
        f"grant/{name}:editor@project/{PROJECT}": grant(f"serviceAccount:{account}", "roles/editor"),
        f"grant/{name}:browser@project/{PROJECT}:office-hours": grant(f"serviceAccount:{account}", condition=CONDITION),
        f"grant/allUsers:storage.legacyObjectReader@bucket/{name}": grant("allUsers", "roles/storage.legacyObjectReader", f"bucket/{name}"),
    }


def without_ours(story: Story) -> dict[str, Any]:
    """Return everything but what podpass itself keeps, the receipt and traces of what was deleted."""
    dump = copy.deepcopy(story.sandbox.dump())
    dump["google"].pop("tombstones", None)
    return dump


def test_destroy_and_apply_take_nothing_away_on_the_receipts_word_alone(story: Story) -> None:
    entries = precious(story)
    pipeline = entries[f"grant/default/{story.name}-prod:browser@project/{PROJECT}"]["identity"]
    before = without_ours(story)
    story.done("apply", "--yes")
    own = f"grant/default/{story.name}:browser@project/{PROJECT}"
    story.content["spec"]["workloads"][0]["roles"].append("roles/browser")
    story.file.write_text(yaml.safe_dump(story.content))
    story.done("apply", "--yes")

    def edit(receipt: dict[str, Any]) -> None:
        receipt["entries"].update(entries)
        receipt["entries"][own]["former"] = [pipeline]

    forge(story, edit)
    refused = str(story.run("apply", "--yes", "--allow-delete", "*").error)
    assert f"The plan takes roles/browser on project/{PROJECT} from {pipeline['member']}" in refused
    assert refused.count("only the receipt says") == 3
    forge(story, edit)
    told = story.done("destroy", "--yes")
    assert without_ours(story) == before
    for address in (*entries, own):
        assert f"    {address}  stays: " in told, address
    assert f"--member={pipeline['member']} --role=roles/browser" in told


def test_a_former_member_of_another_pool_stays_when_its_successor_is_given(story: Story) -> None:
    entries = precious(story)
    pipeline = entries[f"grant/default/{story.name}-prod:browser@project/{PROJECT}"]["identity"]
    story.write(workloads=[{"serviceAccount": f"default/{story.name}", "roles": ["roles/browser"]}])
    story.done("apply", "--yes")
    own = f"grant/default/{story.name}:browser@project/{PROJECT}"
    forge(story, lambda receipt: receipt["entries"][own].update(identity=pipeline))
    assert f"The receipt says that podpass gave {pipeline['member']}" in " ".join(story.done("plan").split())
    story.done("apply", "--yes")
    browsers = next(one for one in ProjectPolicy(story.google, PROJECT).read_policy()["bindings"] if one["role"] == "roles/browser")
    assert pipeline["member"] in browsers["members"]


@pytest.mark.parametrize("state", ["made", "undeleting"])
def test_what_was_adopted_does_not_become_podpass_s_to_delete(story: Story, state: str) -> None:
    pool = PoolName(PROJECT, story.name)
    iam.create_pool(story.google, pool, {"displayName": "By hand", "description": "Everybody's"})
    before = iam.get_pool(story.google, pool)
    story.done("apply", "--yes", "--adopt")
    forge(story, lambda receipt: receipt["entries"][f"pool/{story.name}"].update(state=state))
    refused = str(story.run("apply", "--yes").error)
    assert ("--adopt" if state == "made" else "--allow-undelete") + f" pool/{story.name}" in refused
    if state == "made":
        assert "The receipt says that podpass made it, but it does not bear the mark." in refused
        story.done("apply", "--yes", "--adopt")
    assert f"pool/{story.name}  stays: " in story.done("destroy", "--yes")
    assert iam.get_pool(story.google, pool) == before


@pytest.mark.parametrize("command", ["plan", "apply", "destroy"])
def test_another_federations_receipt_is_refused_under_this_ones_name(story: Story, command: str) -> None:
    story.done("apply", "--yes")
    forge(story, lambda receipt: receipt.update(federation="billing"))
    before = story.sandbox.dump()
    answer = story.run(command, *(["--yes"] if command != "plan" else []))
    assert f"is that of the federation 'billing', not of {story.name}." in str(answer.error)
    assert story.sandbox.dump() == before
