# SPDX-License-Identifier: Apache-2.0
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from node_world import ClusterKind
from podpass.cli import main
from podpass.demo import cluster, manifests, services
from podpass.demo.answers import GOOD, OTHER_ACCOUNT, OTHER_AUDIENCE, QUESTIONS, Answer, ask
from podpass.demo.images import IMAGES
from podpass.kube.client import KubeClient, Request, connect
from podpass.kube.kubeconfig import from_dict
from podpass.kube.tokens import request_token
from podpass.names import Secret, ServiceAccountRef
from podpass.sandbox.binaries import cache_directory
from podpass.sandbox.hosting import HostedSandbox
from podpass.sandbox.settings import SandboxSettings

PODPASS = str(Path(sys.executable).with_name("podpass"))
OTHER = ServiceAccountRef(services.NAMESPACE, "default")
# A verdict of the API server holds ten seconds at most.
VERDICT_S = 10.0


def demo(*options: str, **variables: str) -> dict[str, Any]:
    """Run `podpass demo services --json`; return the story."""
    done = subprocess.run(
        [PODPASS, "demo", "services", "--json", *options],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (story,) = json.loads(done.stdout)["stories"]
    return dict(story)


def test_every_caller_gets_the_answer_that_is_his_and_nothing_is_left(cluster_kind: ClusterKind) -> None:
    story = demo(*(["--control-plane", str(cache_directory())] if cluster_kind == "real" else []))
    assert [table["signing_key"] for table in story["tables"]] == (["first", "new"] if cluster_kind == "real" else ["first"])
    for table in story["tables"]:
        assert [row["case"] for row in table["answers"]] == [question.name for question in QUESTIONS]
        assert [row for row in table["answers"] if not row["as_wanted"]] == []
    assert story["comparison"] == {"equal": True, "tombstones": []}


def test_no_kubectl_is_needed(tmp_path: Path) -> None:
    for program in ("bwrap", "unshare", "nsenter", "true"):  # what the node agent looks for
        if found := shutil.which(program):
            (tmp_path / program).symlink_to(found)
    story = demo(PATH=str(tmp_path))
    assert all(row["as_wanted"] for row in story["tables"][0]["answers"])
    assert story["comparison"]["equal"]
    assert "pod/auth-client created" in story["steps"][0]["lines"]


def test_answer_that_is_not_the_wanted_one_is_shown_and_ends_the_demo_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lax = tmp_path / services.FILES.name
    shutil.copytree(services.FILES, lax)
    (lax / "policy.yaml").write_text((lax / "policy.yaml").read_text().replace("id-namespace/gke-sa", "id-namespace/*"))
    monkeypatch.setattr(services, "FILES", lax)
    with pytest.raises(SystemExit) as ended:
        main(["demo", "services"])
    assert ended.value.code == 1
    printed = capsys.readouterr()
    assert "  /private of an account not in the policy  403     200 (wanted 403 policy.not-a-member)\n" in printed.out
    assert "not-in-policy (signing key: first): 200, wanted 403 policy.not-a-member." in printed.err
    assert printed.out.count("(wanted") == 1


@pytest.mark.slow
def test_running_server_learns_a_new_signing_key() -> None:
    """As on the real control plane, where it is part of every demo."""
    story = services.tell(rotate=True)
    assert story.faults == []
    assert [table["signing_key"] for table in story.results["tables"]] == ["first", "new"]


@dataclass(frozen=True)
class Town:
    """A sandbox in which the second article's manifests are applied; with ways to change them."""

    kube: KubeClient
    folder: Path

    @property
    def private(self) -> str:
        return f"{(self.folder / 'endpoint.env').read_text().rpartition('=')[2].strip()}/private"

    def token(self, account: ServiceAccountRef = services.ACCOUNT, audience: str = services.AUDIENCE) -> Secret[str]:
        return request_token(self.kube, account, audiences=[audience]).value

    def until_answered(self, token: Secret[str], wanted: Answer) -> float:
        """Ask until the answer is `wanted`; return after how many seconds it was asked last in vain."""
        begun = time.monotonic()
        asked: list[float] = []

        def is_answered() -> bool:
            asked.append(time.monotonic() - begun)
            return ask(self.private, token) == wanted

        cluster.until(self.kube, is_answered, f"the answer {wanted}")
        return asked[-2] if asked[1:] else 0.0

    def until_served(self) -> None:
        cluster.until(self.kube, self._is_served, "the server")

    def _is_served(self) -> bool:
        try:
            ask(self.private)
        except httpx2.TransportError:
            return False
        return True

    def manifest(self, kind: str, name: str) -> dict[str, Any]:
        (found,) = (each for each in manifests.read(self.folder) if (each["kind"], each["metadata"]["name"]) == (kind, name))
        return dict(found)


@pytest.fixture(scope="module")
def town(cluster_kind: ClusterKind) -> Iterator[Town]:
    settings = SandboxSettings(control_plane=cache_directory() if cluster_kind == "real" else None)
    with ExitStack() as stack:
        sandbox = stack.enter_context(HostedSandbox(settings, images=IMAGES))
        assert sandbox.cluster is not None
        kube = stack.enter_context(connect(from_dict(sandbox.cluster.admin_kubeconfig())))
        folder = stack.enter_context(services.files())
        for manifest in manifests.read(folder):
            manifests.make(kube, manifest)
        found = Town(kube, folder)
        found.until_served()
        yield found


def test_token_that_was_accepted_a_moment_ago_ends_with_its_pod(town: Town) -> None:
    cluster.until(town.kube, lambda: bool(cluster.log_of(town.kube, services.NAMESPACE, services.CLIENT)), "the client to run")
    token = cluster.token_of_pod(town.kube, services.NAMESPACE, services.CLIENT, services.AUDIENCE)
    assert ask(town.private, token) == GOOD.wanted
    cluster.delete_pod(town.kube, services.NAMESPACE, services.CLIENT)
    assert town.until_answered(token, Answer(401, "token.revoked")) <= VERDICT_S
    assert ask(town.private, town.token()) == GOOD.wanted  # the account's own tokens go on


@pytest.mark.slow
def test_policy_that_changes_is_heeded_by_the_running_server(town: Town) -> None:
    """Kubelet swaps the file in the pod's volume within seconds, and the guard reads it again."""
    assert ask(town.private, town.token(OTHER)) == OTHER_ACCOUNT.wanted
    path = f"/api/v1/namespaces/{services.NAMESPACE}/configmaps/auth-policy"
    changed = town.kube.call(Request("GET", path, "read the policy"))
    changed["data"]["policy.yaml"] = changed["data"]["policy.yaml"].replace("id-namespace/gke-sa", "id-namespace/*")
    town.kube.call(Request("PUT", path, "change the policy", body=changed))
    town.until_answered(town.token(OTHER), GOOD.wanted)


def test_two_variables_of_the_article_admit_every_account_of_the_cluster_and_nobody_else(town: Town) -> None:
    pod = town.manifest("Pod", services.SERVER)
    container = pod["spec"]["containers"][0]
    container["env"] = [each for each in container["env"] if each["name"] != "PODPASS_POLICY"]
    cluster.delete_pod(town.kube, services.NAMESPACE, services.SERVER)
    manifests.make(town.kube, pod)
    town.until_served()
    assert ask(town.private, town.token()) == GOOD.wanted
    assert ask(town.private, town.token(OTHER)) == GOOD.wanted
    assert ask(town.private, town.token(audience="https://another.example")) == OTHER_AUDIENCE.wanted
    assert ask(town.private) == Answer(401, "token.missing")
