# SPDX-License-Identifier: Apache-2.0
"""Unmodified clients in pods, beside podpass's metadata server as a sidecar: what they get, and what other pods do not."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml

import npm_packages
from cross.outside import NUMBER, PROJECT
from node_world import IMAGES, ClusterKind
from podpass.demo import images
from podpass.sandbox.binaries import cache_directory
from podpass.sandbox.cluster_client import ClusterClient, Object
from podpass.sandbox.hosting import HostedSandbox
from podpass.sandbox.node import pod_network
from podpass.sandbox.settings import SandboxSettings
from pods import SH, Pods

_T = TypeVar("_T")
EXAMPLE = Path(__file__).parents[2] / "examples" / "metadata-server"
NODE_PROGRAM = Path(__file__).parent / "programs" / "google_auth_library"
SERVICE = "https://orders.example"
TOKEN = "/computeMetadata/v1/instance/service-accounts/default/token"


def account(name: str) -> str:
    return f"{name}@{PROJECT}.iam.gserviceaccount.com"


class SandboxPods(Pods):
    """Pods of a sandbox's cluster, of three workloads: the example's, one whose account may list buckets, one whose account may not."""

    def __init__(self, sandbox: HostedSandbox) -> None:
        self.sandbox = sandbox

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return self.sandbox.run(work)

    def make_client(self, stack: ExitStack) -> None:
        async def enter() -> ClusterClient:
            assert self.sandbox.cluster is not None
            return await ClusterClient(self.sandbox.cluster.admin_kubeconfig(), agent="test").__aenter__()

        self.client = self.run(enter())
        stack.callback(lambda: self.run(self.client.__aexit__(None, None, None)))

    def federate(self, directory: Path) -> None:
        (federation,) = yaml.safe_load_all((EXAMPLE / "podpass.yaml").read_text())
        for name in ("reader", "stranger"):
            self.make("serviceaccounts", name)
            config = {"configMap": f"sts-config-{name}", "key": "config", "tokenPath": "/var/run/secrets/podpass/token"}
            roles = ["roles/storage.admin"] if name == "reader" else []
            workload = {"serviceAccount": f"default/{name}", "googleServiceAccount": f"{name}-sa", "roles": roles, "credentials": config}
            federation["spec"]["workloads"].append(workload)
        self.make("serviceaccounts", "metadata-demo")
        (directory / "podpass.yaml").write_text(yaml.safe_dump(federation))
        podpass = Path(sys.executable).with_name("podpass")
        environment = os.environ | self.sandbox.environment()
        done = subprocess.run([podpass, "apply", "--yes"], env=environment, cwd=directory, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self, name: str, identity: str, script: str, **more: Any) -> None:  # noqa: ANN401 - JSON
        """Make a pod like the example's, for a workload and a script of one's own."""
        spec = example()["spec"]["template"]["spec"]
        (main,) = spec.pop("containers")
        volume = spec["volumes"][0]["projected"]["sources"]
        volume[1]["configMap"]["name"] = f"sts-config-{identity}"
        env = [entry for entry in main["env"] if entry["name"] != "NO_GCE_CHECK"]
        container = {"env": [*env, {"name": "NO_GCE_CHECK", "value": "false"}], "image": SH}
        self.make_pod(name, script, container=container, **{**spec, "serviceAccountName": identity, **more})

    def caller(self, method: str) -> set[str]:
        return {entry["caller"] for entry in self.sandbox.requests() if entry["method"] == method}


def example() -> Object:
    (job,) = yaml.safe_load_all((EXAMPLE / "job.yaml").read_text())
    return dict(job)


@pytest.fixture(scope="module")
def pods(cluster_kind: ClusterKind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxPods]:
    if not pod_network.choose():
        pytest.skip("this machine gives no network namespaces (run as root, or allow user namespaces)")
    control_plane = cache_directory() if cluster_kind == "real" else None
    settings = SandboxSettings(control_plane=control_plane, propagation=timedelta(0), account_visibility=timedelta(0))
    with ExitStack() as stack:
        pods = SandboxPods(stack.enter_context(HostedSandbox(settings, images=images.IMAGES | IMAGES)))
        pods.make_client(stack)
        pods.federate(tmp_path_factory.mktemp("federation"))
        yield pods


def python(program: str) -> str:
    return shlex.join([sys.executable, "-c", program])


GOOGLE_AUTH = f"""
import json, google.auth
from google.auth import compute_engine, exceptions, jwt
from google.auth.transport.requests import AuthorizedSession, Request
from google.cloud import storage
from google.oauth2 import id_token
credentials, project = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
direct = compute_engine.Credentials()
direct.refresh(Request())
claims = jwt.decode(id_token.fetch_id_token(Request(), "{SERVICE}"), verify=False)
try:
    listed = [bucket.name for bucket in storage.Client().list_buckets()]
except Exception as error:
    listed = str(error)
same = isinstance(credentials, compute_engine.Credentials) and direct.service_account_email
print(json.dumps([project, same, claims["aud"], claims["email"], listed]))
"""


def test_google_auth_and_cloud_storage_act_as_the_account(pods: SandboxPods) -> None:
    pods.start("python", "reader", python(GOOGLE_AUTH))
    assert json.loads(pods.output("python")) == [PROJECT, account("reader-sa"), SERVICE, account("reader-sa"), []]
    assert account("reader-sa") in pods.caller("storage.buckets.list")


def test_call_is_refused_by_iam_for_an_account_without_a_role(pods: SandboxPods) -> None:
    pods.start("python-refused", "stranger", python(GOOGLE_AUTH))
    *known, listed = json.loads(pods.output("python-refused"))
    assert known == [PROJECT, account("stranger-sa"), SERVICE, account("stranger-sa")]
    assert f"{account('stranger-sa')} does not have storage.buckets.list access" in listed


@pytest.mark.gcloud
@pytest.mark.skipif(not shutil.which("gcloud"), reason="gcloud is not installed: https://cloud.google.com/sdk/docs/install")
def test_gcloud_acts_as_the_account(pods: SandboxPods) -> None:
    quiet = "export CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE=$SSL_CERT_FILE CLOUDSDK_CORE_DISABLE_PROMPTS=1"
    listing = "gcloud storage buckets list --format='value(name)' && echo listed"
    asks = ["gcloud auth list --format='value(account)'", listing, f"gcloud auth print-identity-token --audiences={SERVICE}"]
    pods.start("gcloud", "reader", "\n".join([quiet, *(f"{ask} 2> /dev/null" for ask in asks)]))
    who, listed, token = pods.output("gcloud").splitlines()
    assert (who, listed, token.count(".")) == (account("reader-sa"), "listed", 2)


def test_google_auth_library_of_node_acts_as_the_account(pods: SandboxPods) -> None:
    packages = npm_packages.obtain(NODE_PROGRAM)
    shutil.copy(NODE_PROGRAM / "ask.mjs", packages)
    pods.start("node", "reader", f"node {packages}/ask.mjs {SERVICE}")
    assert json.loads(pods.output("node")) == ["Compute", PROJECT, account("reader-sa"), 200, SERVICE, account("reader-sa")]


def test_example_s_job_completes_and_its_sidecar_ends_with_it(pods: SandboxPods) -> None:
    pods.run(pods.client.post("/apis/batch/v1/namespaces/default/jobs", example()))
    path = "/apis/batch/v1/namespaces/default/jobs/metadata-demo"
    job = pods.until(lambda: pods.run(pods.client.get(path)), lambda job: job.get("status", {}).get("completionTime"))
    assert job["status"]["succeeded"] == 1
    (pod,) = pods.run(pods.client.get("/api/v1/namespaces/default/pods", labelSelector="app=metadata-demo"))["items"]
    (sidecar,) = pod["status"]["initContainerStatuses"]
    assert (pod["status"]["phase"], sidecar["state"]["terminated"]["exitCode"]) == ("Succeeded", 0)
    workload = f"principal://iam.googleapis.com/projects/{NUMBER}/locations/global/workloadIdentityPools/metadata-demo"
    assert f"{workload}/subject/system:serviceaccount:default:metadata-demo" in pods.caller("storage.buckets.list")


ASK = f"""
import http.client, sys
limit_s, *addresses = sys.argv[1:]
for address in addresses:
    connection = http.client.HTTPConnection(address, timeout=float(limit_s))
    try:
        connection.request("GET", "{TOKEN}", headers={{"Metadata-Flavor": "Google"}})
        print(connection.getresponse().status)
    except OSError as error:
        print(error.strerror)
"""


def test_no_other_pod_and_not_the_machine_reaches_a_sidecar(pods: SandboxPods) -> None:
    spy = python(ASK)
    pods.start("serves", "reader", f"{spy} 30 127.0.0.1:8987; sleep 60")
    assert pods.until(lambda: pods.log_or_nothing("serves"), bool) == "200\n"
    address = pods.pod("serves")["status"]["podIP"]
    tried = [f"{host}:8987" for host in ("127.0.0.1", address)]
    pods.make_pod("other", f"{spy} 30 {' '.join(tried)}")
    pods.make_pod("host", f"{spy} 3 {' '.join(tried)}", hostNetwork=True)  # its network may lead nowhere, without a word
    assert pods.output("other").splitlines() == ["Connection refused", "Network is unreachable"]
    on_host = pods.output("host").splitlines()
    assert on_host[0] == "Connection refused"
    assert "200" not in on_host
    pods.delete_pod("serves", 0)


def test_pod_of_the_hosts_network_gets_no_metadata_server(pods: SandboxPods) -> None:
    pods.start("on-host", "reader", "echo never", hostNetwork=True)
    waits = pods.until(lambda: pods.pod("on-host")["status"].get("initContainerStatuses", [{}])[0], lambda row: row.get("restartCount"))
    assert waits["lastState"]["terminated"]["exitCode"] == 2
    assert "This pod shares the network of its node (hostNetwork)." in pods.log("on-host", container="metadata-server", previous="true")
    assert pods.pod("on-host")["status"]["phase"] == "Pending"
    pods.delete_pod("on-host", 0)


def test_client_that_asks_in_its_first_moment_is_answered(pods: SandboxPods) -> None:
    """Google's libraries look for a metadata server once, and briefly: containers start when it has its first token, not before."""
    pods.sandbox.change_settings(latency=timedelta(milliseconds=300))
    try:
        pods.start("early", "reader", f"{python(ASK)} 3 127.0.0.1:8987")
        assert pods.output("early") == "200\n"
    finally:
        pods.sandbox.change_settings(latency=timedelta(0))
    status = pods.pod("early")["status"]
    sidecar, main = (status[name][0]["state"]["terminated"]["startedAt"] for name in ("initContainerStatuses", "containerStatuses"))
    assert datetime.fromisoformat(main) > datetime.fromisoformat(sidecar)
