# SPDX-License-Identifier: Apache-2.0
"""The unmodified kubectl, on the built-in API server and on a real control plane: the same commands, the same answers."""

import json
import os
import shutil
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import pytest

from node_world import NodeWorld
from pods import SH

pytestmark = [pytest.mark.kubectl, pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")]

JOB = """
apiVersion: batch/v1
kind: Job
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec:
  backoffLimit: {limit}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      restartPolicy: Never
      serviceAccountName: {account}
      containers:
        - name: main
          image: {image}
          args: ["echo one; sleep 0.3; echo two"]
"""


@dataclass(frozen=True)
class Kubectl:
    """Runs kubectl as the cluster's administrator, with a home of its own: its discovery cache is per host and port."""

    directory: Path

    @property
    def environment(self) -> dict[str, str]:
        quiet = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        return quiet | {"KUBECONFIG": str(self.directory / "kubeconfig"), "HOME": str(self.directory)}

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["kubectl", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            env=self.environment,
            cwd=self.directory,
            timeout=60,
            check=False,
        )

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        """Run a command that must succeed; return what it prints."""
        ended = self.run(*arguments, stdin=stdin)
        assert ended.returncode == 0, f"{arguments}: {ended.stderr}"
        return ended.stdout

    def fails(self, *arguments: str, stdin: str = "") -> str:
        """Run a command that must fail; return what it says."""
        ended = self.run(*arguments, stdin=stdin)
        assert ended.returncode != 0, f"{arguments}: {ended.stdout}"
        return ended.stderr

    def get(self, *arguments: str) -> Any:  # noqa: ANN401 - JSON
        return json.loads(self("get", *arguments, "-o", "json"))

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command that goes on."""
        return subprocess.Popen(["kubectl", *arguments], stdout=subprocess.PIPE, text=True, env=self.environment, cwd=self.directory)


@pytest.fixture(scope="module")
def kubectl(node_world: NodeWorld, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    directory = tmp_path_factory.mktemp("kubectl")
    (directory / "kubeconfig").write_text(json.dumps(node_world.cluster.admin_kubeconfig()))
    kubectl = Kubectl(directory)
    node_world.until(lambda: kubectl.run("get", "serviceaccount", "default").returncode, lambda code: code == 0)
    return kubectl


def manifest(name: str, *, limit: int = 0, account: str = "default") -> str:
    return JOB.format(name=name, limit=limit, account=account, image=SH)


def test_article_s_commands_run_a_job_with_an_account_and_a_config_map(kubectl: Kubectl) -> None:
    (kubectl.directory / "config.json").write_text('{"type": "external_account"}\n')
    assert kubectl("create", "serviceaccount", "wif") == "serviceaccount/wif created\n"
    assert kubectl("create", "configmap", "sts-config", "--from-file=config=config.json") == "configmap/sts-config created\n"
    assert kubectl.get("configmap", "sts-config")["data"] == {"config": '{"type": "external_account"}\n'}
    assert kubectl("apply", "-f", "-", stdin=manifest("article", account="wif")) == "job.batch/article created\n"
    assert kubectl("wait", "--for=condition=complete", "job/article", "--timeout=60s") == "job.batch/article condition met\n"
    assert kubectl("logs", "-l", "app=article") == "one\ntwo\n"
    assert kubectl("logs", "-f", "job/article") == "one\ntwo\n"
    headings, row = kubectl("get", "jobs", "article").splitlines()
    assert headings.split() == ["NAME", "STATUS", "COMPLETIONS", "DURATION", "AGE"]
    assert row.split()[:3] == ["article", "Complete", "1/1"]
    headings, row = kubectl("get", "pods", "-l", "app=article").splitlines()
    assert headings.split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert row.split()[1:4] == ["0/1", "Completed", "0"]
    assert kubectl("delete", "job", "article") == 'job.batch "article" deleted\n'
    assert kubectl.get("pods", "-l", "app=article")["items"] == []


def test_apply_again_changes_only_what_has_changed(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=manifest("twice"))
    assert kubectl("apply", "-f", "-", stdin=manifest("twice")) == "job.batch/twice unchanged\n"
    assert kubectl("apply", "-f", "-", stdin=manifest("twice", limit=3)) == "job.batch/twice configured\n"
    assert kubectl.get("job", "twice")["spec"]["backoffLimit"] == 3
    refused = kubectl.fails("apply", "-f", "-", stdin=manifest("twice", limit=3).replace("echo one", "echo three"))
    assert "field is immutable" in refused


def test_unknown_field_is_refused_at_creation_and_at_change(kubectl: Kubectl) -> None:
    wrong = manifest("wrong").replace("backoffLimit", "backofLimit")
    assert 'strict decoding error: unknown field "spec.backofLimit"' in kubectl.fails("apply", "-f", "-", stdin=wrong)
    assert 'strict decoding error: unknown field "spec.backofLimit"' in kubectl.fails("create", "-f", "-", stdin=wrong)
    assert ".spec.backofLimit: field not declared in schema" in kubectl.fails("apply", "--server-side", "-f", "-", stdin=wrong)
    ended = kubectl.run("create", "--validate=warn", "--dry-run=server", "-f", "-", stdin=wrong)
    assert (ended.returncode, ended.stderr) == (0, 'Warning: unknown field "spec.backofLimit"\n')


def test_server_side_apply_shares_an_object_between_managers(kubectl: Kubectl) -> None:
    def config_map(**data: str) -> str:
        return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shared"}, "data": data})

    mine, yours = (
        ("apply", "--server-side", "--field-manager=mine", "-f", "-"),
        ("apply", "--server-side", "--field-manager=yours", "-f", "-"),
    )
    assert kubectl(*mine, stdin=config_map(a="1", b="1")) == "configmap/shared serverside-applied\n"
    assert 'conflict with "mine": .data.a' in kubectl.fails(*yours, stdin=config_map(a="2"))
    kubectl(*yours, "--force-conflicts", stdin=config_map(a="2", c="3"))
    kubectl(*mine, stdin=config_map())
    assert kubectl.get("configmap", "shared")["data"] == {"a": "2", "c": "3"}


def test_client_side_apply_can_go_over_to_server_side(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=manifest("moves"))
    ended = kubectl.run("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=manifest("moves", limit=2))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "job.batch/moves serverside-applied\n", "")
    assert kubectl.get("job", "moves")["spec"]["backoffLimit"] == 2


def test_dry_run_and_diff_change_nothing(kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "still", "--from-literal=a=1")
    changed = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "still"}, "data": {"a": "2"}})
    ended = kubectl.run("diff", "-f", "-", stdin=changed)
    assert ended.returncode == 1
    assert '-  a: "1"\n+  a: "2"' in ended.stdout
    assert kubectl("apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-", stdin=changed).endswith(
        "(server dry run)\n"
    )
    assert kubectl("create", "configmap", "never", "--dry-run=server") == "configmap/never created (server dry run)\n"
    assert kubectl.get("configmap", "still")["data"] == {"a": "1"}
    assert kubectl("get", "configmap", "never", "--ignore-not-found") == ""


def test_edits_in_place(kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "edited")
    kubectl("label", "configmap", "edited", "app=x")
    kubectl("annotate", "configmap", "edited", "podpass.dev/inject=false")
    kubectl("patch", "configmap", "edited", "-p", '{"data": {"k": "v"}}')
    kubectl("patch", "configmap", "edited", "--type=merge", "-p", '{"data": {"l": "w"}}')
    kubectl("patch", "configmap", "edited", "--type=json", "-p", '[{"op": "remove", "path": "/data/k"}]')
    found = kubectl.get("configmap", "edited")
    assert (found["data"], found["metadata"]["labels"]) == ({"l": "w"}, {"app": "x"})
    assert found["metadata"]["annotations"] == {"podpass.dev/inject": "false"}
    assert "already has a value (x)" in kubectl.fails("label", "configmap", "edited", "app=y")
    kubectl("label", "configmap", "edited", "app-")
    kubectl("replace", "-f", "-", stdin=json.dumps({**found, "metadata": {"name": "edited"}, "data": {"m": "x"}}))
    assert kubectl.get("configmap", "edited")["data"] == {"m": "x"}
    kubectl("delete", "configmap", "edited")
    assert '(NotFound): configmaps "edited" not found' in kubectl.fails("get", "configmap", "edited")
    assert '(NotFound): configmaps "edited" not found' in kubectl.fails("delete", "configmap", "edited")


def test_typed_creations_arrive_whole(kubectl: Kubectl) -> None:
    """kubectl 1.32 and later send these as protobuf."""
    kubectl("create", "namespace", "typed")
    kubectl("create", "secret", "generic", "s", "-n", "typed", "--from-literal=k=v", "--type=podpass.dev/test")
    kubectl("create", "job", "j", "-n", "typed", f"--image={SH}", "--", "sh", "-c", "true")
    secret = kubectl.get("secret", "s", "-n", "typed")
    assert (secret["data"], secret["type"]) == ({"k": "dg=="}, "podpass.dev/test")
    spec = kubectl.get("job", "j", "-n", "typed")["spec"]["template"]["spec"]
    assert (spec["restartPolicy"], spec["containers"][0]["command"]) == ("Never", ["sh", "-c", "true"])
    assert '(AlreadyExists): namespaces "typed" already exists' in kubectl.fails("create", "namespace", "typed")
    assert kubectl("delete", "namespace", "typed") == 'namespace "typed" deleted\n'
    assert '(NotFound): namespaces "typed" not found' in kubectl.fails("get", "namespace", "typed")


def test_a_role_in_a_namespace_gives_what_its_rules_say_and_no_more(kubectl: Kubectl) -> None:
    kubectl("create", "serviceaccount", "reader")
    own = ("--token", kubectl("create", "token", "reader").strip(), "auth", "can-i")
    kubectl("create", "role", "reads-itself", "--verb=get", "--resource=serviceaccounts", "--resource-name=reader")
    assert kubectl.run(*own, "get", "serviceaccounts/reader").stdout.endswith("no\n")
    kubectl("create", "rolebinding", "reader", "--role=reads-itself", "--serviceaccount=default:reader")
    assert "Role/reads-itself" in kubectl("get", "rolebinding", "reader")
    assert kubectl.run(*own, "get", "serviceaccounts/reader").stdout.endswith("yes\n")
    others = (
        ("get", "serviceaccounts/default"),
        ("get", "serviceaccounts"),
        ("update", "serviceaccounts/reader"),
        ("create", "serviceaccounts/reader", "--subresource=token"),
        ("get", "configmaps/reader"),
        ("get", "serviceaccounts/reader", "--namespace=kube-system"),
    )
    assert [action for action in others if not kubectl.run(*own, *action).stdout.endswith("no\n")] == []
    kubectl("delete", "role", "reads-itself")
    assert kubectl.run(*own, "get", "serviceaccounts/reader").stdout.startswith("no")
    kubectl("delete", "rolebinding", "reader")


def test_account_that_is_bound_to_the_auth_delegator_may_review_tokens(kubectl: Kubectl) -> None:
    kubectl("create", "serviceaccount", "guard")
    role, reviewer = "--clusterrole=system:auth-delegator", "--serviceaccount=default:guard"
    own = ("--token", kubectl("create", "token", "guard").strip(), "auth", "can-i", "create", "tokenreviews.authentication.k8s.io")
    assert kubectl.run(*own).stdout.endswith("no\n")
    kubectl("create", "clusterrolebinding", "guards", role, reviewer)
    kubectl("create", "clusterrolebinding", "groups", role, "--group=system:nobodies")
    assert "ClusterRole/system:auth-delegator" in kubectl("get", "clusterrolebinding", "guards")
    subjects = kubectl.get("clusterrolebinding", "guards")["subjects"] + kubectl.get("clusterrolebinding", "groups")["subjects"]
    assert subjects == [
        {"kind": "ServiceAccount", "name": "guard", "namespace": "default"},
        {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:nobodies"},
    ]
    assert kubectl.run(*own).stdout.endswith("yes\n")
    kubectl("delete", "clusterrolebinding", "guards", "groups")
    assert kubectl.run(*own).stdout.endswith("no\n")


def test_each_namespace_gets_its_account_and_certificate(kubectl: Kubectl, node_world: NodeWorld) -> None:
    kubectl("create", "namespace", "furnished")
    node_world.until(lambda: kubectl.run("get", "sa/default", "cm/kube-root-ca.crt", "-n", "furnished").returncode, lambda code: code == 0)
    certificate = kubectl.get("configmap", "kube-root-ca.crt", "-n", "furnished")["data"]["ca.crt"]
    assert certificate.strip() == node_world.cluster.ca_pem.decode().strip()


def test_tokens_are_made_as_asked(kubectl: Kubectl, node_world: NodeWorld) -> None:
    kubectl("create", "serviceaccount", "robot")
    token = kubectl("create", "token", "robot", "--audience=sts", "--audience=other", "--duration=20m").strip()
    claims = jwt.decode(token, options={"verify_signature": False})
    account = kubectl.get("serviceaccount", "robot")["metadata"]
    assert claims["aud"] == ["sts", "other"]
    assert claims["exp"] - claims["iat"] == 1200
    assert claims["iss"] == node_world.cluster.issuers[0]
    assert claims["sub"] == "system:serviceaccount:default:robot"
    assert claims["kubernetes.io"] == {"namespace": "default", "serviceaccount": {"name": "robot", "uid": account["uid"]}}
    assert list(claims) == sorted(claims)
    keys = json.loads(kubectl("get", "--raw", "/openid/v1/jwks"))["keys"]
    assert jwt.get_unverified_header(token)["kid"] in {key["kid"] for key in keys}
    assert json.loads(kubectl("get", "--raw", "/.well-known/openid-configuration"))["issuer"] == claims["iss"]
    refused = kubectl.fails("create", "token", "robot", "--duration=599s")
    assert "spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes" in refused
    unbound = kubectl.fails("create", "token", "robot", "--bound-object-kind=Pod", "--bound-object-name=nope")
    assert '(NotFound): pods "nope" not found' in unbound or 'pods "nope" not found' in unbound
    own = kubectl("create", "token", "robot").strip()
    assert "system:serviceaccount:default:robot" in kubectl("--token", own, "auth", "whoami")
    assert 'cannot list resource "pods"' in kubectl.fails("--token", own, "get", "pods")
    assert kubectl.run("--token", own, "auth", "can-i", "get", "pods").stdout == "no\n"
    assert "Unauthorized" in kubectl.fails("--token", token, "auth", "whoami") or "logged in" in kubectl.fails(
        "--token", token, "get", "pods"
    )


def test_log_is_followed_while_it_is_written(kubectl: Kubectl, node_world: NodeWorld) -> None:
    script = "echo first; for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.1; echo $i; done"
    node_world.make_pod("talker", script)
    node_world.until(lambda: kubectl.run("logs", "talker").stdout, lambda text: "first" in text)
    assert kubectl("logs", "-f", "talker").splitlines() == ["first", *map(str, range(1, 11))]
    assert kubectl("logs", "talker", "--tail=2") == "9\n10\n"
    assert "container nobody is not valid for pod talker" in kubectl.fails("logs", "talker", "-c", "nobody")


def test_watch_shows_changes_as_they_come(kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "seen", "--from-literal=a=1")
    watch = kubectl.begin("get", "configmaps", "seen", "-w", "--output-watch-events")
    stop = threading.Timer(30, watch.kill)
    stop.start()
    try:
        assert watch.stdout
        assert watch.stdout.readline().split() == ["EVENT", "NAME", "DATA", "AGE"]
        assert watch.stdout.readline().split()[:3] == ["ADDED", "seen", "1"]
        kubectl("patch", "configmap", "seen", "-p", '{"data": {"b": "2"}}')
        assert watch.stdout.readline().split()[:3] == ["MODIFIED", "seen", "2"]
        kubectl("delete", "configmap", "seen")
        assert watch.stdout.readline().split()[:3] == ["DELETED", "seen", "2"]
    finally:
        stop.cancel()
        watch.kill()
        watch.communicate()


def test_it_explains_and_describes(kubectl: Kubectl, node_world: NodeWorld) -> None:
    assert "Container image name." in kubectl("explain", "job.spec.template.spec.containers.image")
    kubectl("create", "serviceaccount", "described")
    assert "described" in kubectl("describe", "serviceaccount", "described")
    node_world.make_pod("told", "true")
    node_world.ended("told")
    assert "Started" in kubectl("describe", "pod", "told")
    assert kubectl("get", "pod", "told", "-o", "jsonpath={.status.phase}") == "Succeeded"
    assert "told" in kubectl("get", "all")
    assert kubectl("auth", "can-i", "create", "jobs.batch") == "yes\n"
    assert "Server Version: v1." in kubectl("version")
    assert "doesn't have a resource type" in kubectl.fails("get", "nonsense")
