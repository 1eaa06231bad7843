# SPDX-License-Identifier: Apache-2.0
"""The first article's commands, by the real gcloud, from an empty project to a listed bucket and back."""

import json
import shutil
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from cross.outside import ACCOUNT, POOL, PROVIDER, SUBJECT, Issuer, Outside
from podpass.sandbox.hosting import HostedSandbox
from podpass.sandbox.settings import SandboxSettings

pytestmark = [pytest.mark.gcloud, pytest.mark.skipif(not shutil.which("gcloud"), reason="gcloud is not installed")]

SCRIPT = str(Path(__file__).parents[2] / "examples/first-article/gcloud.sh")
TOKEN_PATH = "/var/run/secrets/tokens/gcp-ksa/token"
LIST_BUCKETS = "from google.cloud import storage\nprint([bucket.name for bucket in storage.Client().list_buckets()])"
CREDENTIALS = f"""{{
  "universe_domain": "googleapis.com",
  "type": "external_account",
  "audience": "//iam.googleapis.com/{PROVIDER}",
  "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
  "token_url": "https://sts.googleapis.com/v1/token",
  "credential_source": {{
    "file": "{TOKEN_PATH}"
  }},
  "service_account_impersonation_url": "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken"
}}"""


def documents(directory: Path, issuer: Issuer) -> dict[str, str]:
    """Write what a cluster would serve where the script reads it."""
    directory.mkdir()
    (directory / "jwks").write_text(issuer.keys)
    (directory / "openid-configuration").write_text(issuer.configuration)
    return {"DOCUMENTS": str(directory)}


def workload(directory: Path, token: str) -> dict[str, str]:
    """Give a process the identity of the workload: the article's file, with the token at a place that we can write."""
    config = json.loads((directory / "sts-creds.json").read_text())
    config["credential_source"]["file"] = str(directory / "token")
    (directory / "token").write_text(token)
    (directory / "workload.json").write_text(json.dumps(config))
    path = str(directory / "workload.json")
    # A configuration directory of its own: gcloud would find the operator's cached token in the other one (google-behaviour: clients).
    return {
        "GOOGLE_APPLICATION_CREDENTIALS": path,
        "CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE": path,
        "CLOUDSDK_CONFIG": str(directory / "gcloud-of-the-workload"),
    }


@pytest.mark.slow  # scenario/federate/test_adoption.py begins with the same commands, up to a workload that works
def test_the_article_s_commands_federate_a_cluster_and_clean_up(tmp_path: Path) -> None:
    issuer = Issuer("https://storage.googleapis.com/demo-oidc")
    with HostedSandbox(SandboxSettings(propagation=timedelta(milliseconds=200)), with_cluster=False) as sandbox:
        outside, before = Outside(sandbox, tmp_path), sandbox.dump()

        outside.does("bash", SCRIPT, "up", environment=documents(tmp_path / "documents", issuer))
        assert (tmp_path / "sts-creds.json").read_text() == CREDENTIALS
        assert outside.does("curl", "-sSf", f"{issuer.url}/keys.json") == issuer.keys
        head = outside.does("curl", "-sSfI", "--suppress-connect-headers", f"{issuer.url}/.well-known/openid-configuration").lower()
        assert "cache-control: public, max-age=0\r\n" in head
        assert "content-type: application/json\r\n" in head

        identity = workload(tmp_path, issuer.token())
        assert outside.does(sys.executable, "-c", LIST_BUCKETS, environment=identity) == "['demo-oidc']\n"
        assert outside.does("gcloud", "storage", "ls", environment=identity) == "gs://demo-oidc/\n"
        assert set(outside.callers("storage.buckets.list")) == {ACCOUNT}
        assert f"principal://iam.googleapis.com/{POOL}/subject/{SUBJECT}" in outside.callers(
            "iamcredentials.projects.serviceAccounts.generateAccessToken"
        )

        outside.does("bash", SCRIPT, "down")
        after = sandbox.dump()
        tombstones = after["google"].pop("tombstones")
        assert before["google"].pop("tombstones") == []
        assert after == before
        assert {each.partition(" ")[2] for each in tombstones} == {POOL, PROVIDER, ACCOUNT}
