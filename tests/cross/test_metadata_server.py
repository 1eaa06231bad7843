# SPDX-License-Identifier: Apache-2.0
"""Unmodified clients of Google's metadata server at podpass's, which has its tokens from the sandbox's Google."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import google.auth
import pytest
from google.auth.transport.requests import AuthorizedSession

from cross.outside import ACCOUNT, NUMBER, POOL, PROJECT, PROVIDER, SUBJECT, Issuer
from metadata_sidecar import SidecarProcess, federated, metadata_sidecar
from podpass.sandbox.hosting import HostedSandbox

# Google's libraries leave connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

IAM, MANAGER = "https://iam.googleapis.com/v1", "https://cloudresourcemanager.googleapis.com/v1"
UNBOUND = f"unbound-sa@{PROJECT}.iam.gserviceaccount.com"
WORKLOAD = f"principal://iam.googleapis.com/{POOL}/subject/{SUBJECT}"
POOL_NAME = f"workload-identity-demo.global.{NUMBER}.workload.id.goog"
SERVICE = "https://orders.example"
TOKEN = "/computeMetadata/v1/instance/service-accounts/default/token"


@pytest.fixture(scope="module")
def token_file(logged_in: HostedSandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The subject token of a workload that may act as an account; both may list buckets."""
    issuer = Issuer("https://issuer.example/cluster")
    credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    assert logged_in.settings.project_id == PROJECT
    with AuthorizedSession(credentials) as operator:
        pools = f"{IAM}/projects/{PROJECT}/locations/global/workloadIdentityPools"
        call(operator, f"{pools}?workloadIdentityPoolId=workload-identity-demo", {})
        provider = {"attributeMapping": {"google.subject": "assertion.sub"}, "oidc": {"issuerUri": issuer.url, "jwksJson": issuer.keys}}
        call(operator, f"{IAM}/{POOL}/providers?workloadIdentityPoolProviderId=wif-demo-oidc", provider)
        for email in (ACCOUNT, UNBOUND):
            call(operator, f"{IAM}/projects/{PROJECT}/serviceAccounts", {"accountId": email.partition("@")[0]})
        bind(operator, f"{IAM}/projects/{PROJECT}/serviceAccounts/{ACCOUNT}", "roles/iam.workloadIdentityUser", WORKLOAD)
        for member in (f"serviceAccount:{ACCOUNT}", WORKLOAD):
            bind(operator, f"{MANAGER}/projects/{PROJECT}", "roles/storage.admin", member)
    file = tmp_path_factory.mktemp("pod") / "token"
    file.write_text(issuer.token())
    return file


def call(session: AuthorizedSession, url: str, body: object) -> Any:  # noqa: ANN401 - whatever JSON holds
    answer = session.post(url, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def bind(session: AuthorizedSession, url: str, role: str, member: str) -> None:
    policy = call(session, f"{url}:getIamPolicy", {})
    policy.setdefault("bindings", []).append({"role": role, "members": [member]})
    call(session, f"{url}:setIamPolicy", {"policy": policy})


@pytest.fixture(scope="module")
def acting(token_file: Path) -> Iterator[SidecarProcess]:
    """The sidecar of a pod that acts as a Google service account."""
    with metadata_sidecar(*federated(PROVIDER, token_file, f"--google-service-account={ACCOUNT}", "--zone=europe-west3-a")) as sidecar:
        yield sidecar


@pytest.fixture(scope="module")
def direct(token_file: Path) -> Iterator[SidecarProcess]:
    """The sidecar of a pod that is its own principal. As in a pod it is told no `--verbose`, and says where it listens all the same."""
    with metadata_sidecar(*federated(PROVIDER, token_file), options=()) as sidecar:
        yield sidecar


def run(sandbox: HostedSandbox, sidecar: SidecarProcess, *command: str, **environment: str) -> str:
    """Run a program as a container of the pod does, with nothing but the pod's environment; return its output."""
    inside = {**sandbox.pod_environment(), **sidecar.environment(), "PATH": os.environ["PATH"], **environment}
    done = subprocess.run(command, env=inside, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def python(sandbox: HostedSandbox, sidecar: SidecarProcess, program: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Run a program in a process of its own: google-auth reads its variables when it is imported."""
    return json.loads(run(sandbox, sidecar, sys.executable, "-c", program))


DEFAULT = """
import json, google.auth
from google.auth.transport.requests import AuthorizedSession
credentials, project = google.auth.default(scopes=["https://www.googleapis.com/auth/devstorage.read_only"])
session = AuthorizedSession(credentials)
buckets = session.get(f"https://storage.googleapis.com/storage/v1/b?project={project}")
found = [type(credentials).__module__, project, credentials.universe_domain, credentials.service_account_email]
print(json.dumps([*found, buckets.status_code]))
"""
ID_TOKEN = f"""
import json
from google.auth import jwt
from google.auth.transport.requests import Request
from google.oauth2 import id_token
claims = jwt.decode(id_token.fetch_id_token(Request(), "{SERVICE}"), verify=False)
print(json.dumps([claims["aud"], claims["email"], claims["iss"]]))
"""
INFO = """
import json
from google.auth.compute_engine import _metadata
from google.auth.transport.requests import Request
request = Request()
print(json.dumps([_metadata.is_on_gce(request), _metadata.get_service_account_info(request), _metadata.get_project_id(request)]))
"""
STORAGE = """
import json
from google.cloud import storage
print(json.dumps([bucket.name for bucket in storage.Client().list_buckets()]))
"""


def test_google_auth_s_default_chain_finds_the_account_and_calls_an_api_as_it(logged_in: HostedSandbox, acting: SidecarProcess) -> None:
    found = python(logged_in, acting, DEFAULT)
    assert found == ["google.auth.compute_engine.credentials", PROJECT, "googleapis.com", ACCOUNT, 200]
    assert logged_in.requests()[-1]["caller"] == ACCOUNT


def test_google_auth_s_default_chain_works_without_an_account_too(logged_in: HostedSandbox, direct: SidecarProcess) -> None:
    assert python(logged_in, direct, DEFAULT)[3:] == [POOL_NAME, 200]
    assert logged_in.requests()[-1]["caller"] == WORKLOAD


def test_google_cloud_storage_lists_buckets(logged_in: HostedSandbox, acting: SidecarProcess) -> None:
    assert python(logged_in, acting, STORAGE) == []


def test_google_auth_fetches_an_id_token_which_it_cannot_from_a_credential_configuration(
    logged_in: HostedSandbox, acting: SidecarProcess
) -> None:
    assert python(logged_in, acting, ID_TOKEN) == [SERVICE, ACCOUNT, "https://accounts.google.com"]


def test_google_auth_reads_the_account_and_the_project(logged_in: HostedSandbox, acting: SidecarProcess) -> None:
    scopes = ["https://www.googleapis.com/auth/cloud-platform"]
    assert python(logged_in, acting, INFO) == [True, {"aliases": ["default"], "email": ACCOUNT, "scopes": scopes}, PROJECT]


@pytest.mark.gcloud
@pytest.mark.skipif(not shutil.which("gcloud"), reason="gcloud is not installed: https://cloud.google.com/sdk/docs/install")
def test_gcloud_finds_account_and_project_and_prints_both_kinds_of_token(
    logged_in: HostedSandbox, acting: SidecarProcess, tmp_path: Path
) -> None:
    quiet = {"CLOUDSDK_CONFIG": str(tmp_path), "CLOUDSDK_CORE_DISABLE_PROMPTS": "1", "HOME": str(tmp_path)}
    quiet["CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE"] = logged_in.pod_environment()["SSL_CERT_FILE"]
    assert run(logged_in, acting, "gcloud", "config", "get-value", "project", **quiet) == PROJECT
    accounts = json.loads(run(logged_in, acting, "gcloud", "auth", "list", "--format=json", **quiet))
    assert [account["account"] for account in accounts] == [ACCOUNT]
    token = run(logged_in, acting, "gcloud", "auth", "print-access-token", **quiet)
    assert token == acting.get(TOKEN).json()["access_token"]
    identity = run(logged_in, acting, "gcloud", "auth", "print-identity-token", f"--audiences={SERVICE}", **quiet)
    assert identity == acting.get(f"{TOKEN[:-5]}identity?audience={SERVICE}").text


def test_many_first_requests_cost_one_exchange(logged_in: HostedSandbox, token_file: Path) -> None:
    def exchanges() -> int:
        return sum(entry["method"].startswith("sts.") for entry in logged_in.requests())

    before = exchanges()
    with metadata_sidecar(*federated(PROVIDER, token_file)) as sidecar, ThreadPoolExecutor(20) as pool:
        tokens = {answer.json()["access_token"] for answer in pool.map(lambda _: sidecar.get(TOKEN), range(60))}
    assert len(tokens) == 1
    assert exchanges() - before == 1


def test_a_client_that_is_there_before_the_server_can_answer_is_not_failed(token_file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "podpass.cli", "metadata-server", f"--listen=127.0.0.1:{port}", *federated(PROVIDER, token_file)]
    with subprocess.Popen(command) as server, socket.socket() as early:
        while early.connect_ex(("127.0.0.1", port)):  # it listens before it has read what it needs to answer
            assert server.poll() is None
        early.settimeout(20)
        early.sendall(f"GET {TOKEN} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nMetadata-Flavor: Google\r\n\r\n".encode())
        assert early.recv(65536).startswith(b"HTTP/1.1 200 OK")
        server.terminate()


def test_an_account_that_the_workload_may_not_be_is_403_with_the_cause_and_the_cure(token_file: Path) -> None:
    with metadata_sidecar(*federated(PROVIDER, token_file, f"--google-service-account={UNBOUND}")) as sidecar:
        answer = sidecar.get(TOKEN)
        assert sidecar.get(TOKEN.replace("token", "email")).text == UNBOUND
        assert sidecar.get("/readyz").status_code == 200
    assert answer.status_code == 403
    assert answer.headers["metadata-flavor"] == "Google"
    assert answer.text.startswith(
        "Unable to generate access token; IAM returned 403 Forbidden: "
        "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).\n"
    )
    assert "roles/iam.workloadIdentityUser" in answer.text


def test_google_away_is_503_with_the_time_to_come_back(token_file: Path) -> None:
    nowhere = dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:9")
    with metadata_sidecar(*federated(PROVIDER, token_file), environment=nowhere) as sidecar:
        answer = sidecar.get(TOKEN)
        assert sidecar.get("/").status_code == 200
        assert sidecar.get("/computeMetadata/v1/project/project-id").text == PROJECT
        assert sidecar.get("/readyz").status_code == 503
    assert (answer.status_code, answer.headers["metadata-flavor"]) == (503, "Google")
    assert int(answer.headers["retry-after"]) >= 1


def test_the_server_ends_with_0_at_sigterm_and_has_logged_no_token(token_file: Path) -> None:
    with metadata_sidecar(*federated(PROVIDER, token_file, f"--google-service-account={ACCOUNT}")) as sidecar:
        tokens = [sidecar.get(TOKEN).json()["access_token"], sidecar.get(f"{TOKEN[:-5]}identity?audience=a").text]
        assert sidecar.stop() == 0
    log = "".join(sidecar.log)
    assert f"This pod acts as {ACCOUNT}." in log
    assert not any(token in log or token[20:60] in log for token in [*tokens, token_file.read_text()])
