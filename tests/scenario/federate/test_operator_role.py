# SPDX-License-Identifier: Apache-2.0
"""An operator with the roles of `examples/operator` and no other: enough for everything, and nothing in them is too much."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from conftest import StartSandbox
from podpass.google import storage
from podpass.google.policy import add_member, remove_member
from podpass.google.policy_edit import edit_policy
from podpass.google.projects import ProjectPolicy
from podpass.kube.tokens import request_token
from podpass.names import ServiceAccountRef
from podpass.sandbox.binaries import cache_directory
from podpass.sandbox.cluster import IssuerChange
from podpass.sandbox.google.roles import PERMISSIONS
from podpass.sandbox.hosting import HostedSandbox
from scenario.federate.conftest import Answer, Story

FILES = Path(__file__).parents[3] / "examples" / "operator"
OPERATOR = "user:operator@example.com"
ROLE = "projects/demo-project/roles/podpassOperator"
NEEDED: list[str] = yaml.safe_load((FILES / "google-role.yaml").read_text())["includedPermissions"]
# Of the bucket that podpass makes: nobody can be asked about them before it is there.
IN_BUCKET = {name for name in NEEDED if name.startswith("storage.") and name not in {"storage.buckets.create", "storage.buckets.delete"}}
OF_DESTROY = {name for name in NEEDED if name.endswith(".delete")}
CODES = {"neighbour.not-permitted", "neighbour.google-permission-denied", "neighbour.google-not-found", "plan.unsafe"}
OF_UPDATE = IN_BUCKET | {"iam.workloadIdentityPools.update", "iam.workloadIdentityPoolProviders.update"}


@dataclass
class Duty:
    """An operator's story, and the role that can be changed under it."""

    story: Story
    grant: Callable[[list[str]], None]

    @property
    def issuer(self) -> str:
        """The issuer, in a bucket that podpass makes."""
        return f"https://storage.googleapis.com/{self.story.name}-oidc"

    def ask_for(self, display_name: str) -> None:
        """Ask for everything that podpass can make, with a provider of this name."""
        self.story.write(
            issuer={"url": self.issuer, "keys": "bucket", "bucket": {"name": f"{self.story.name}-oidc"}},
            google={
                "pool": {"id": self.story.name, "displayName": display_name},
                "provider": {"id": "cluster", "displayName": display_name},
            },
        )
        self.story.content["spec"]["workloads"][0]["googleServiceAccount"] = self.story.name
        self.story.file.write_text(yaml.safe_dump(self.story.content))


@pytest.fixture
def duty(start_sandbox: StartSandbox, story_in: Callable[[HostedSandbox], Story], monkeypatch: pytest.MonkeyPatch) -> Duty:
    """The operator's rights are those of the role from the beginning on."""
    monkeypatch.setitem(PERMISSIONS, ROLE, frozenset(NEEDED))
    sandbox = start_sandbox(propagation=timedelta(0), account_visibility=timedelta(0))
    story = story_in(sandbox)
    edit_policy(
        ProjectPolicy(story.google, "demo-project"),
        lambda policy: remove_member(add_member(policy, ROLE, OPERATOR), "roles/owner", OPERATOR),
    )
    duty = Duty(story, lambda names: monkeypatch.setitem(PERMISSIONS, ROLE, frozenset(names)))
    duty.ask_for("Before")
    return duty


def test_the_role_is_enough_from_the_first_plan_to_the_last_deletion(duty: Duty) -> None:
    story = duty.story
    story.done("plan")
    story.done("apply", "--yes")
    assert "Nothing to change" in story.done("plan")
    story.run_bare("keys", "sync", "--yes", "-f", str(story.file))
    duty.ask_for("After")
    assert "2 changes made" in story.done("apply", "--yes")
    assert story.sandbox.cluster
    story.sandbox.run(story.sandbox.cluster.restart(IssuerChange(issuer=duty.issuer)))
    assert story.run("doctor").code == 0
    story.done("destroy", "--yes")
    refused = [entry for entry in story.sandbox.requests() if entry["status"] == 403]
    # Which APIs are on is asked, and done without where the operator may not know.
    assert {entry["method"] for entry in refused} == {"serviceusage.services.list"}


def test_without_any_one_permission_nothing_is_changed_and_the_reason_told(duty: Duty) -> None:
    story = duty.story
    making = [name for name in NEEDED if name not in OF_DESTROY | OF_UPDATE]
    missed(duty, making, "apply")
    story.done("apply", "--yes")
    overwrite(duty)
    missed(duty, sorted(OF_UPDATE), "apply")
    story.done("apply", "--yes")
    missed(duty, sorted(OF_DESTROY | {"storage.buckets.setIamPolicy"}), "destroy")
    story.done("destroy", "--yes")


def overwrite(duty: Duty) -> None:
    """Let there be something to do at the provider, in the bucket and in its policy."""
    bucket = f"{duty.story.name}-oidc"
    stored = storage.get_object(duty.story.google, bucket, "keys.json")
    assert stored
    storage.put_object(duty.story.google, bucket, "keys.json", storage.StoredObject(b"{}", "", metadata=stored.metadata))
    everybody = ("roles/storage.legacyObjectReader", "allUsers")
    edit_policy(storage.BucketPolicy(duty.story.google, bucket), lambda policy: remove_member(policy, *everybody))
    duty.ask_for("After")


def missed(duty: Duty, names: list[str], command: str) -> None:
    """Take one permission after another away; the command has to name it before it changes anything."""
    before = duty.story.sandbox.dump()
    for name in names:
        duty.grant([other for other in NEEDED if other != name])
        answer = duty.story.run(command, "--yes")
        assert answer.error is not None, f"{command} without {name}: {answer.out}"
        assert name in str(answer.error), f"{command} without {name}: {answer.error}"
        assert answer.error.full_code in CODES, f"{command} without {name}: {answer.error.full_code}"
        assert json.dumps(duty.story.sandbox.dump()) == json.dumps(before), name
    duty.grant(NEEDED)


MANIFEST = (FILES / "kubernetes.yaml").read_text()


def kubectl(manifest: str) -> None:
    """Apply manifests as the cluster's administrator."""
    subprocess.run(["kubectl", "apply", "-f", "-"], input=manifest, text=True, check=True, capture_output=True, timeout=60)


@pytest.mark.cluster
@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed: https://kubernetes.io/docs/tasks/tools/")
def test_the_roles_in_the_cluster_are_enough_and_none_of_their_verbs_is_too_much(
    start_sandbox: StartSandbox, story_in: Callable[[HostedSandbox], Story], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    story = story_in(start_sandbox(control_plane=cache_directory(), propagation=timedelta(0), account_visibility=timedelta(0)))
    administrator = story.sandbox.environment()["KUBECONFIG"]
    kubectl(MANIFEST)
    content = yaml.safe_load(Path(administrator).read_text())
    token = request_token(story.kube, ServiceAccountRef("podpass-system", "operator")).value.reveal()
    content["users"][0]["user"] = {"token": token}
    (tmp_path / "operator").write_text(json.dumps(content))

    def runs(*command: str) -> Answer:
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "operator"))
        answer = story.run(*command)
        monkeypatch.setenv("KUBECONFIG", administrator)
        return answer

    def is_refused(*command: str) -> bool:
        before = story.sandbox.dump()["google"]
        answer = runs(*command)
        if answer.error:
            assert answer.error.full_code in {"neighbour.not-permitted", "neighbour.kubernetes-forbidden"}, answer.error
            assert story.sandbox.dump()["google"] == before
        return answer.error is not None

    for verb, changed in without_one_verb():
        kubectl(changed)
        if verb in OF_DESTROY_IN_CLUSTER:
            assert not is_refused(*APPLY)
            assert is_refused("destroy", "--yes"), verb
        else:
            assert is_refused(*APPLY) is (verb not in NOT_ALWAYS), verb
        kubectl(MANIFEST)
        assert runs("destroy", "--yes").code == 0
    for command in (("plan",), APPLY, ("doctor",), ("destroy", "--yes")):
        assert runs(*command).code == 0, command


APPLY = ("apply", "--yes", "--allow-undelete", "*")
OF_DESTROY_IN_CLUSTER = {"podpass-system: delete configmaps", "default: delete configmaps"}
NOT_ALWAYS = {
    "cluster: get /openid/v1/jwks",  # every service account has it; other operators have not
    "default: create serviceaccounts/token",  # doctor's
    "podpass-system: get leases",  # where somebody else has the turn
    "podpass-system: update leases",  # where it lasts
}


def without_one_verb() -> Iterator[tuple[str, str]]:
    """Yield the manifest without each verb of each rule in turn."""
    documents = list(yaml.safe_load_all(MANIFEST))
    for document in documents:
        for rule in document.get("rules", ()):
            for verb in list(rule["verbs"]):
                rule["verbs"].remove(verb)
                rule["verbs"] = rule["verbs"] or ["watch"]  # a rule needs one
                what = (rule.get("resources") or rule["nonResourceURLs"])[0]
                yield f"{document['metadata'].get('namespace', 'cluster')}: {verb} {what}", yaml.safe_dump_all(documents)
                rule["verbs"] = [one for one in rule["verbs"] if one != "watch"] + [verb]
