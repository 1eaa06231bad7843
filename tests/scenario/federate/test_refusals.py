# SPDX-License-Identifier: Apache-2.0
"""What is told before the first change."""

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from conftest import StartSandbox
from podpass.google import iam
from podpass.google.policy import add_member, remove_member
from podpass.google.policy_edit import edit_policy
from podpass.google.projects import ProjectPolicy
from podpass.names import PoolName
from podpass.sandbox.hosting import HostedSandbox
from scenario.federate.conftest import Story

Begin = Callable[[HostedSandbox], Story]


def refused(story: Story, command: str = "apply") -> str:
    """Run a command that has to be refused before it changed anything; return why."""
    before = story.sandbox.dump()
    arguments = ["--yes"] if command == "apply" else []
    answer = story.run(command, *arguments)
    assert answer.error is not None, answer.out
    assert story.sandbox.dump() == before
    return f"{answer.error} [{answer.error.full_code}]"


def test_without_a_terminal_and_without_yes_nothing_is_done(story: Story) -> None:
    assert "[config.no-terminal]" in refused_without_yes(story)


def refused_without_yes(story: Story) -> str:
    before = story.sandbox.dump()
    answer = story.run("apply")
    assert answer.error is not None
    assert story.sandbox.dump() == before
    return f"[{answer.error.full_code}]"


def test_no_kubeconfig(story: Story, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "There is no kubeconfig." in refused(story)


def test_a_mistyped_role(story: Story) -> None:
    story.content["spec"]["workloads"][0]["roles"] = ["roles/storage.objectViwer", "roles/viewer"]
    story.file.write_text(yaml.safe_dump(story.content))
    for command in ("plan", "apply"):
        said = refused(story, command)
        assert "Google has no role roles/storage.objectViwer." in said
        assert "[config.role]" in said


def test_a_mistyped_bucket(story: Story) -> None:
    story.content["spec"]["workloads"][0]["grants"] = [{"role": "roles/storage.objectViewer", "bucket": "holiday-photoz"}]
    story.file.write_text(yaml.safe_dump(story.content))
    for command in ("plan", "apply"):
        said = refused(story, command)
        assert "There is no bucket holiday-photoz." in said
        assert "[config.no-bucket]" in said


def test_a_dead_cluster(story: Story, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        kubeconfig = yaml.safe_load(Path(story.sandbox.environment()["KUBECONFIG"]).read_text())
        kubeconfig["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{taken.getsockname()[1]}"
        path = tmp_path / "kubeconfig"
        path.write_text(json.dumps(kubeconfig))
        monkeypatch.setenv("KUBECONFIG", str(path))
        assert "[neighbour.cluster-unreachable]" in refused(story)


def test_no_credentials(story: Story, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "There are no Google credentials here." in refused(story)


def test_an_unknown_project(story: Story) -> None:
    story.write(google={"project": "nobodys-project"})
    assert "look up the project nobodys-project" in refused(story, "plan")


def test_an_api_that_is_off_and_needed_to_look(start_sandbox: StartSandbox, story_in: Begin) -> None:
    story = story_in(start_sandbox(disabled_apis=frozenset({"iam.googleapis.com", "cloudresourcemanager.googleapis.com"})))
    why = refused(story)
    assert "[neighbour.google-api-disabled]" in why
    assert "Nothing was changed, for 2 reasons" in why
    assert "gcloud services enable iam.googleapis.com" in why
    assert "gcloud services enable cloudresourcemanager.googleapis.com" in why


def test_an_api_that_is_off_and_not_needed_to_look_is_enabled_as_planned(start_sandbox: StartSandbox, story_in: Begin) -> None:
    story = story_in(start_sandbox(disabled_apis=frozenset({"sts.googleapis.com"})))
    assert "+ api/sts.googleapis.com" in story.done("apply", "--yes")
    assert "Nothing to change" in story.done("plan")
    assert "api/" not in story.done("destroy", "--yes")


def test_permissions_that_are_missing_at_google(start_sandbox: StartSandbox, story_in: Begin) -> None:
    story = story_in(start_sandbox())
    operator = "user:operator@example.com"
    holder = ProjectPolicy(story.google, "demo-project")
    edit_policy(holder, lambda policy: remove_member(add_member(policy, "roles/viewer", operator), "roles/owner", operator))
    story.sandbox.change_settings()
    why = wait_for_refusal(story)
    assert "The operator lacks iam.workloadIdentityPools.create on the project demo-project." in why
    assert "The operator lacks resourcemanager.projects.setIamPolicy on the project demo-project." in why
    assert "[neighbour.not-permitted]" in why


def wait_for_refusal(story: Story) -> str:
    """The loss of the owner's role takes a moment to be felt."""
    for _ in range(50):
        answer = story.run("plan")
        if answer.error:
            return f"{answer.error} [{answer.error.full_code}]"
    raise AssertionError


def test_a_namespace_that_is_not_there(story: Story) -> None:
    story.write()
    story.content["spec"]["workloads"][0]["serviceAccount"] = "nowhere/web"
    story.file.write_text(yaml.safe_dump(story.content))
    assert "There is no namespace 'nowhere'." in refused(story)


def test_a_pool_shared_by_two_clusters(story: Story) -> None:
    pool = PoolName("demo-project", story.name)
    iam.create_pool(story.google, pool, {})
    theirs = {"attributeMapping": {"google.subject": "assertion.sub"}, "oidc": {"issuerUri": "https://other.example"}}
    iam.create_provider(story.google, pool.provider("theirs"), theirs)
    before = story.sandbox.dump()
    answer = story.run("apply", "--yes", "--adopt")
    assert answer.error is not None
    assert answer.error.full_code == "plan.shared-pool"
    assert story.sandbox.dump() == before
    story.write(google={"attributeMapping": {"google.subject": "'mine::' + assertion.sub"}})
    story.done("apply", "--yes", "--adopt", f"pool/{story.name}")


def test_a_subject_over_127_bytes(story: Story) -> None:
    story.content["spec"]["workloads"][0]["serviceAccount"] = f"default/{'a' * 120}"
    story.file.write_text(yaml.safe_dump(story.content))
    assert "[config.subject-too-long]" in refused(story, "plan")


def test_a_condition_over_4096_characters(story: Story) -> None:
    story.write(google={"attributeCondition": f"assertion.sub != '{'x' * 4096}'"})
    assert "4096" in refused(story, "plan")


def test_googles_audience_at_the_api_server(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """No sandbox takes such a flag, so the cluster's answer is bent on its way."""
    from podpass.federate.observed import survey  # noqa: PLC0415 - bent here only

    audience = f"//iam.googleapis.com/projects/415104041262/locations/global/workloadIdentityPools/{story.name}/providers/cluster"
    monkeypatch.setattr(survey, "_audiences_in", lambda _: frozenset({audience}))
    assert "[plan.audience-confusion]" in refused(story)


def test_a_plan_of_yesterday(story: Story, tmp_path: Path) -> None:
    kept = tmp_path / "plan.json"
    story.done("plan", "-o", str(kept))
    iam.create_pool(story.google, PoolName("demo-project", story.name), {"displayName": "Quicker"})
    before = story.sandbox.dump()
    answer = story.run_bare("apply", str(kept), "--yes")
    assert answer.error is not None
    assert answer.error.full_code == "plan.drift-since-plan"
    assert f"pool/{story.name}" in answer.error.what
    assert story.sandbox.dump() == before


def test_a_kept_plan_is_applied_as_it_was_read(story: Story, tmp_path: Path) -> None:
    kept = tmp_path / "plan.json"
    story.done("plan", "-o", str(kept))
    answer = story.run_bare("apply", str(kept), "--yes")
    assert answer.code == 0, answer
    assert "4 changes made" in answer.out


def test_a_file_that_changed_since_the_plan(story: Story, tmp_path: Path) -> None:
    kept = tmp_path / "plan.json"
    story.done("plan", "-o", str(kept))
    story.write(google={"attributeCondition": "assertion.sub == 'a'"})
    answer = story.run_bare("apply", str(kept), "--yes")
    assert "other things would be asked for now" in str(answer.error)


def test_the_plan_as_json_and_its_exit_code(story: Story) -> None:
    answer = story.run("plan", "--json", "--exit-code")
    assert answer.code == 10
    plan = json.loads(answer.out)
    assert (plan["apiVersion"], plan["kind"], plan["federation"]) == ("podpass.dev/v1alpha1", "Plan", story.name)
    assert [change["action"] for change in plan["changes"]] == ["create"] * 4


def test_documents_that_google_does_not_read_are_said_to_be_for_others(story: Story) -> None:
    assert "Google reads none of these" in story.done("export", "--format", "documents")
    story.content["spec"]["issuer"] = {"url": "https://oidc.example.com/shop", "keys": "discovery"}
    story.file.write_text(yaml.safe_dump(story.content))
    assert "Google reads none of these" not in story.done("export", "--format", "documents")
