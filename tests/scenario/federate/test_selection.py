# SPDX-License-Identifier: Apache-2.0
"""Workloads that the file does not name: by label, and by namespace."""

import itertools
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from podpass.errors import UnreachableError
from podpass.federate.records.receipt import NAMESPACE, Receipt
from podpass.federate.records.receipt_store import ReceiptStore
from podpass.google import iam
from podpass.google.policy import add_member
from podpass.google.policy_edit import edit_policy
from podpass.google.projects import ProjectPolicy
from podpass.kube.client import KubeClient, Request
from podpass.kube.config_maps import ConfigMap, create_config_map, get_config_map, replace_config_map
from podpass.kube.fault import KubeFault, KubeRefusedError
from podpass.kube.objects import ensure_namespace
from podpass.names import PoolName
from scenario.federate.conftest import Story

MAPPING = {"google.subject": "assertion.sub", "attribute.namespace": "assertion['kubernetes.io']['namespace']"}
READER, EDITOR = "roles/storage.objectViewer", "roles/storage.objectAdmin"


class Cluster:
    """The cluster of a story: a namespace of its own, whose accounts bear labels."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.namespace = story.name
        ensure_namespace(story.kube, self.namespace, labels={"team": story.name})

    def account(self, name: str, namespace: str | None = None, **labels: str) -> str:
        where = namespace or self.namespace
        body: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": name, "namespace": where, "labels": labels},
        }
        self.story.kube.call(Request("POST", f"/api/v1/namespaces/{where}/serviceaccounts", "create", body=body))
        return f"{where}/{name}"

    def label(self, name: str, **labels: str | None) -> None:
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{name}"
        found = self.story.kube.call(Request("GET", path, "read"))
        known = {**(found["metadata"].get("labels") or {}), **labels}
        found["metadata"]["labels"] = {key: value for key, value in known.items() if value is not None}
        self.story.kube.call(Request("PUT", path, "label", body=found))

    def delete(self, name: str) -> None:
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{name}"
        self.story.kube.call(Request("DELETE", path, "delete"))

    def selector(self, **more: object) -> dict[str, Any]:
        return {"selector": {"matchLabels": {"app": self.story.name}, **more}, "roles": [READER]}

    def declare(self, *workloads: dict[str, Any], **google: object) -> None:
        self.story.write(workloads=list(workloads), google=google)

    def members(self, role: str = READER) -> set[str]:
        """Return who of this story's pool has a role on the project."""
        policy = ProjectPolicy(self.story.google, "demo-project").read_policy()
        found = {one for binding in policy["bindings"] if binding["role"] == role for one in binding["members"]}
        return {one.partition(f"/workloadIdentityPools/{self.story.name}/")[2] for one in found if f"/{self.story.name}/" in one}

    def condition(self) -> str:
        provider = iam.get_provider(self.story.google, PoolName("demo-project", self.story.name).provider("cluster"))
        assert provider
        return str(provider["attributeCondition"])


@pytest.fixture
def cluster(story: Story) -> Cluster:
    return Cluster(story)


def subject(account: str) -> str:
    return f"subject/system:serviceaccount:{account.replace('/', ':')}"


def subjects(accounts: Iterable[str]) -> set[str]:
    return {subject(account) for account in accounts}


def shown(out: str) -> str:
    return " ".join(out.split())


def test_accounts_are_found_by_label_shown_by_name_and_lose_what_they_had_when_the_label_goes(cluster: Cluster) -> None:
    story, app = cluster.story, cluster.story.name
    one, two = cluster.account("one", app=app), cluster.account("two", app=app)
    cluster.account("other", app="other")
    cluster.declare({**cluster.selector(), "credentials": {"configMap": "google"}})
    plan = story.done("plan")
    assert f"+ grant/{one}:storage.objectViewer@project/demo-project  selected by spec.workloads[0]" in plan
    assert "finds 2 accounts" in shown(plan)
    assert "Whoever may label a service account there (app) can give it roles/storage.objectViewer." in shown(plan)
    story.done("apply", "--yes")
    assert cluster.members() == subjects([one, two])
    assert "Nothing to change" in story.done("plan")
    assert story.run("doctor", "--workload", one).out.count("✓") >= 9

    three = cluster.account("three", app=app)
    cluster.label("two", app=None)
    by_hand = ProjectPolicy(story.google, "demo-project")
    pool = f"principal://iam.googleapis.com/projects/415104041262/locations/global/workloadIdentityPools/{app}"
    edit_policy(by_hand, lambda policy: add_member(policy, "roles/browser", f"{pool}/{subject(two)}"))
    plan = story.done("plan")
    assert f"+ grant/{three}:storage.objectViewer@project/demo-project  selected by spec.workloads[0]" in plan
    assert f"- grant/{two}:storage.objectViewer@project/demo-project  delete: no selector gives it any more" in plan
    story.done("apply", "--yes")  # no --allow-delete: the file has not changed
    assert cluster.members() == subjects([one, three])
    assert cluster.members("roles/browser") == subjects([two])  # podpass did not give it
    assert cluster.condition() == f"assertion.sub in ['{subject(one)[8:]}', '{subject(three)[8:]}']"
    story.done("destroy", "--yes")
    assert cluster.members() == set()
    assert get_config_map(story.kube, cluster.namespace, "google") is None


def test_an_empty_match_is_a_warning_and_keeps_the_google_account(cluster: Cluster) -> None:
    story = cluster.story
    cluster.declare({**cluster.selector(), "googleServiceAccount": f"{story.name}-sa", "credentials": {"configMap": "google"}})
    assert "finds no account: it looks for accounts with app=" in shown(story.done("plan"))
    story.done("apply", "--yes")
    cluster.account("one", app=story.name)
    story.done("apply", "--yes")
    cluster.label("one", app="none")
    plan = story.done("plan")
    assert {line.split()[1] for line in plan.splitlines() if line.startswith("  - ")} == {
        f"binding/{cluster.namespace}/one",
        f"configmap/{cluster.namespace}/google",
    }
    story.done("apply", "--yes")
    assert get_config_map(story.kube, cluster.namespace, "google") is None
    assert "Nothing to change" in story.done("plan")


def test_a_role_that_leaves_the_file_and_an_entry_that_does_are_no_lapses(cluster: Cluster) -> None:
    story = cluster.story
    one = cluster.account("one", app=story.name)
    cluster.declare({**cluster.selector(), "roles": [READER, EDITOR]})
    story.done("apply", "--yes")
    cluster.label("one", app="none")
    cluster.declare(cluster.selector())
    refused = story.run("apply", "--yes")
    assert f"The plan deletes grant/{one}:storage.objectAdmin@project/demo-project." in str(refused.error)
    assert "storage.objectViewer" not in str(refused.error)
    assert cluster.members(EDITOR) == subjects([one])


def test_a_named_account_has_what_its_own_entry_says_and_two_selectors_do_not_quarrel(cluster: Cluster) -> None:
    story, app = cluster.story, cluster.story.name
    named, both, second = cluster.account("named", app=app), cluster.account("both", app=app, tier="b"), cluster.account("second", tier="b")
    tier = {"selector": {"matchExpressions": [{"key": "tier", "operator": "In", "values": ["b", "c"]}], "namespaces": [cluster.namespace]}}
    cluster.declare(cluster.selector(), {"serviceAccount": named, "roles": [EDITOR]}, {**tier, "roles": ["roles/browser"]})
    plan = shown(story.done("plan"))
    assert f"finds {named}, too. The file names it, or an earlier selector has it" in plan
    assert f"finds {both}, too. The file names it" in plan
    story.done("apply", "--yes")
    assert cluster.members() == subjects([both])
    assert cluster.members(EDITOR) == subjects([named])
    assert cluster.members("roles/browser") == subjects([second])
    # It is a name of the file's that goes now, though a selector finds the account from here on.
    cluster.declare(cluster.selector(), {**tier, "roles": ["roles/browser"]})
    assert f"The plan deletes grant/{named}:storage.objectAdmin@" in str(story.run("apply", "--yes").error)
    # And it is the file that takes away, by a name, what a selector had given.
    names: list[dict[str, Any]] = [{"serviceAccount": named, "roles": [EDITOR]}, {"serviceAccount": both}]
    cluster.declare(cluster.selector(), *names, {**tier, "roles": ["roles/browser"]})
    assert f"The plan deletes grant/{both}:storage.objectViewer@" in str(story.run("apply", "--yes").error)
    # From one selector to the other is no change of the file's.
    cluster.label("second", app=app)
    cluster.declare(cluster.selector(), names[0], {**tier, "roles": ["roles/browser"]})
    story.done("apply", "--yes")
    assert (cluster.members(), cluster.members("roles/browser")) == (subjects([both, second]), set())


def test_more_than_the_limit_is_refused_and_the_keys_are_brought_all_the_same(cluster: Cluster) -> None:
    story = cluster.story
    for name in ("one", "two"):
        cluster.account(name, app=story.name)
    cluster.declare(cluster.selector(atMost=2))
    story.done("apply", "--yes")
    had, condition = cluster.members(), cluster.condition()
    cluster.account("three", app=story.name)
    before = story.sandbox.dump()["google"]
    for command in (("plan",), ("apply", "--yes"), ("export", "--format", "gcloud")):
        error = story.run(*command).error
        assert error
        assert error.full_code == "plan.selector-too-wide"
        assert f"The selector at {story.file}:" in error.what
        assert f"kubectl get serviceaccounts -A --selector 'app={story.name}'" in error.next_step
    assert story.sandbox.dump()["google"] == before

    brought = with_former_keys(story)
    assert story.run_bare("keys", "sync", "--yes", "-f", str(story.file)).code == 0
    assert brought()
    assert (cluster.members(), cluster.condition()) == (had, condition)
    cluster.label("three", app=None)
    assert "Nothing to change" in story.done("plan")


def with_former_keys(story: Story) -> Callable[[], bool]:
    """Give the provider keys that the cluster has not any more; return whether it is as it was again."""
    provider = PoolName("demo-project", story.name).provider("cluster")
    before = iam.get_provider(story.google, provider)
    assert before
    former = json.dumps({"keys": [key | {"kid": "former"} for key in json.loads(before["oidc"]["jwksJson"])["keys"]]})
    iam.update_provider(story.google, provider, {"oidc": before["oidc"] | {"jwksJson": former}}, ["oidc"])
    return lambda: iam.get_provider(story.google, provider) == before


@pytest.mark.slow
def test_nor_do_many_long_names_stop_the_keys(cluster: Cluster) -> None:
    story = cluster.story
    cluster.declare(cluster.selector())
    story.done("apply", "--yes")
    brought = with_former_keys(story)
    for index in range(60):
        cluster.account(f"{'a' * 80}-{index}", app=story.name)
    refused = story.run("apply", "--yes").error
    assert refused
    assert refused.full_code == "config.condition-too-long"
    assert story.run_bare("keys", "sync", "--yes", "-f", str(story.file)).code == 0
    assert brought()
    assert cluster.members() == set()


def test_namespaces_are_chosen_by_label_too(cluster: Cluster) -> None:
    story, app = cluster.story, cluster.story.name
    ensure_namespace(story.kube, f"{app}-else")
    inside = cluster.account("one", app=app)
    cluster.account("one", namespace=f"{app}-else", app=app)
    cluster.declare(cluster.selector(namespaceSelector={"matchLabels": {"team": app}}))
    assert "there (app) and its namespace can give it" in shown(story.done("apply", "--yes"))
    assert cluster.members() == subjects([inside])


@pytest.mark.slow
def test_everything_takes_the_default_account_along(cluster: Cluster) -> None:
    story = cluster.story
    one = cluster.account("one")
    cluster.declare({"selector": {"everything": True, "namespaces": [cluster.namespace]}, "roles": [READER]})
    plan = shown(story.done("plan"))
    assert f"grant/{one}:storage.objectViewer" in plan
    assert "Whoever may create a service account there can give it" in plan


def test_an_account_made_between_plan_and_apply_is_not_taken_along_unread(cluster: Cluster, tmp_path: Path) -> None:
    story = cluster.story
    one = cluster.account("one", app=story.name)
    cluster.declare(cluster.selector())
    kept = tmp_path / "plan.json"
    story.done("plan", "-o", str(kept))
    cluster.account("two", app=story.name)
    late = story.run_bare("apply", str(kept), "--yes")
    assert late.error
    assert late.error.full_code == "plan.drift-since-plan"
    assert "its selectors find other accounts" in late.error.why
    assert cluster.members() == set()
    cluster.delete("two")
    assert story.run_bare("apply", str(kept), "--yes").code == 0
    assert cluster.members() == subjects([one])


def test_a_label_that_goes_while_a_run_is_interrupted_leaves_nothing(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    story, write, writings = cluster.story, ReceiptStore.write, itertools.count(1)
    cluster.account("one", app=story.name)
    cluster.declare({**cluster.selector(), "credentials": {"configMap": "google"}})

    def lost(store: ReceiptStore, receipt: Receipt) -> None:
        if next(writings) == 2:  # what was made is not confirmed
            raise UnreachableError("The cluster gave no answer.")
        write(store, receipt)

    monkeypatch.setattr(ReceiptStore, "write", lost)
    assert story.run("apply", "--yes").error
    assert cluster.members() != set()
    cluster.label("one", app=None)
    story.done("apply", "--yes")
    assert cluster.members() == set()
    assert get_config_map(story.kube, cluster.namespace, "google") is None
    assert "Nothing to change" in story.done("plan")


def test_whoever_labels_an_account_cannot_stop_the_plan_by_its_name(cluster: Cluster) -> None:
    story = cluster.story
    one = cluster.account("one", app=story.name)
    long = cluster.account(f"{'a' * 120}.x", app=story.name)
    cluster.declare(cluster.selector())
    out = shown(story.done("apply", "--yes"))
    assert f"finds {long}, of which Google could make no principal" in out, out
    assert cluster.members() == subjects([one])


def test_nor_by_a_config_map_that_was_there_before(cluster: Cluster) -> None:
    story = cluster.story
    ensure_namespace(story.kube, f"{story.name}-x")
    one, two = cluster.account("one", app=story.name), cluster.account("two", namespace=f"{story.name}-x", app=story.name)
    theirs = create_config_map(story.kube, ConfigMap(f"{story.name}-x", "google", {"config": "theirs"}))
    cluster.declare({**cluster.selector(), "credentials": {"configMap": "google"}})
    assert f"The config map {story.name}-x/google, which spec.workloads[0] asks for, is somebody else's" in shown(
        story.done("apply", "--yes")
    )
    assert cluster.members() == subjects([one, two])
    found = get_config_map(story.kube, f"{story.name}-x", "google")
    assert found
    assert (found.uid, found.data) == (theirs.uid, {"config": "theirs"})
    story.done("destroy", "--yes")
    assert get_config_map(story.kube, f"{story.name}-x", "google")


def test_a_server_that_knows_no_selector_selects_nobody_else(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    story, call = cluster.story, KubeClient.call
    one = cluster.account("one", app=story.name)
    cluster.account("other", app="other")

    def deaf(client: KubeClient, request: Request) -> dict[str, Any]:
        query = {name: value for name, value in request.query.items() if name != "labelSelector"}
        return call(client, replace(request, query=query))

    monkeypatch.setattr(KubeClient, "call", deaf)
    cluster.declare(cluster.selector())
    story.done("apply", "--yes")
    assert cluster.members() == subjects([one])


@pytest.mark.slow
def test_who_may_not_list_accounts_is_told_so_and_asked_in_the_named_namespaces_alone(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    story, call = cluster.story, KubeClient.call
    one = cluster.account("one", app=story.name)
    forbidden = {"/api/v1/serviceaccounts"}

    def restricted(client: KubeClient, request: Request) -> dict[str, Any]:
        if request.path in forbidden:
            raise KubeRefusedError(KubeFault(403, "Forbidden", "cannot list"), request.doing, "test")
        return call(client, request)

    monkeypatch.setattr(KubeClient, "call", restricted)
    cluster.declare(cluster.selector())
    assert "list the service accounts of all namespaces" in str(story.run("plan").error)
    others = [f"{story.name}-{index}" for index in range(4)]
    for name in others:
        ensure_namespace(story.kube, name)
    cluster.declare(cluster.selector(namespaces=[cluster.namespace, *others]))
    story.done("apply", "--yes")
    assert cluster.members() == subjects([one])


def test_a_forged_receipt_lets_nothing_lapse_that_the_selector_does_not_give(cluster: Cluster) -> None:
    """Whoever may write config maps in podpass-system must not get a deletion past --allow-delete."""
    story = cluster.story
    cluster.account("one", app=story.name)
    cluster.declare(cluster.selector())
    story.done("apply", "--yes")
    holder = ProjectPolicy(story.google, "demo-project")
    victim = f"serviceAccount:{story.name}@demo-project.iam.gserviceaccount.com"
    iam.create_service_account(story.google, "demo-project", story.name, {})
    for _ in range(30):
        try:
            edit_policy(holder, lambda policy: add_member(policy, READER, victim))
            break
        except Exception:  # noqa: BLE001 - the account is too new
            time.sleep(0.1)
    found = get_config_map(story.kube, NAMESPACE, f"federation-{story.name}")
    assert found
    receipt = json.loads(found.data["receipt.json"])
    receipt["entries"][f"grant/{story.name}:storage.objectViewer@project/demo-project"] = {
        "state": "made",
        "selected": True,
        "identity": {"target": "project/demo-project", "role": READER, "member": victim},
    }
    replace_config_map(story.kube, found.with_data({"receipt.json": json.dumps(receipt)}))
    refused = str(story.run("apply", "--yes", "--allow-delete", "*").error)
    assert f"The plan takes {READER} on project/demo-project from {victim}" in refused


def test_a_whole_namespace_is_one_set_and_says_who_is_in_it(cluster: Cluster) -> None:
    story = cluster.story
    cluster.account("one")
    cluster.account("two")
    cluster.declare({"namespace": cluster.namespace, "roles": [READER], "credentials": {"configMap": "google"}}, attributeMapping=MAPPING)
    plan = story.done("plan")
    address = f"grant/attribute.namespace/{cluster.namespace}:storage.objectViewer@project/demo-project"
    assert f"+ {address}" in plan
    assert f"is the whole namespace {cluster.namespace}: " in shown(plan)
    assert "one, two)" in shown(plan)
    assert "it runs as `default`" in shown(plan)
    story.done("apply", "--yes")
    assert cluster.members() == {f"attribute.namespace/{cluster.namespace}"}
    assert cluster.condition() == f"assertion['kubernetes.io']['namespace'] == '{cluster.namespace}'"
    for _ in range(30):
        walked = story.run("doctor", "--workload", f"{cluster.namespace}/two")
        if walked.code == 0:
            break
        time.sleep(0.1)  # real propagation, of the sandbox
    assert f"attribute.namespace = {cluster.namespace}" in walked.out
    assert walked.code == 0, walked.out
    assert "Nothing to change" in story.done("plan")
    story.done("destroy", "--yes")
    assert cluster.members() == set()


def test_the_lines_that_a_full_policy_s_refusal_gives_are_accepted(cluster: Cluster) -> None:
    story = cluster.story
    for index in range(31):
        cluster.account(f"app-{index}", app=story.name)
    cluster.declare(cluster.selector())
    crowd = [f"user:somebody-{index}@example.com" for index in range(1470)]
    holder = ProjectPolicy(story.google, "demo-project")

    def filled(policy: dict[str, Any]) -> dict[str, Any]:
        return {**policy, "bindings": [*policy["bindings"], {"role": "roles/browser", "members": crowd}]}

    def emptied(policy: dict[str, Any]) -> dict[str, Any]:
        return {**policy, "bindings": [one for one in policy["bindings"] if "user:somebody-1@example.com" not in one["members"]]}

    edit_policy(holder, filled)
    try:
        refused = story.run("apply", "--yes")
        assert refused.error
        assert refused.error.full_code == "plan.policy-too-large"
        assert story.run("plan").error
        # Who looks, or brings keys, is not in its way.
        assert "The pool is absent." in story.run("doctor").out
        lines = yaml.safe_load(refused.error.next_step.partition(":\n")[2])["spec"]
        cluster.declare(*lines["workloads"], **lines["google"])
        story.done("apply", "--yes")
        assert cluster.members() == {f"attribute.namespace/{cluster.namespace}"}
    finally:
        edit_policy(holder, emptied)
