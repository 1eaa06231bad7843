# SPDX-License-Identifier: Apache-2.0
"""The credential configuration beside the one that the real gcloud writes; it does so without a request."""

import os
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from podpass.exchange.credential_config import credential_config, read_credential_config
from podpass.names import GoogleServiceAccount, PoolName

pytestmark = [pytest.mark.gcloud, pytest.mark.skipif(not shutil.which("gcloud"), reason="gcloud is not installed")]

PROVIDER = PoolName("415104041262", "workload-identity-demo").provider("wif-demo-oidc")
ACCOUNT = GoogleServiceAccount("wif-demo-sa@demo-project.iam.gserviceaccount.com")
CASES = {
    "the article's": (ACCOUNT, "/var/run/secrets/tokens/gcp-ksa/token", None),
    "direct access": (None, "/var/run/secrets/tokens/gcp-ksa/token", None),
    "a lifetime": (ACCOUNT, "/token", timedelta(minutes=10)),
    "a path that is not ASCII": (ACCOUNT, '/tök "en\\', None),
}


@pytest.mark.parametrize(("account", "path", "lifetime"), CASES.values(), ids=CASES)
def test_gcloud_writes_the_same_bytes(account: GoogleServiceAccount | None, path: str, lifetime: timedelta | None, tmp_path: Path) -> None:
    command = [
        "gcloud",
        "iam",
        "workload-identity-pools",
        "create-cred-config",
        str(PROVIDER),
        "--output-file",
        str(tmp_path / "theirs.json"),
    ]
    command += ["--credential-source-file", path]
    command += ["--service-account", account.email] if account else []
    command += ["--service-account-token-lifetime-seconds", str(int(lifetime.total_seconds()))] if lifetime else []
    environment = os.environ | {"CLOUDSDK_CONFIG": str(tmp_path / "config"), "CLOUDSDK_CORE_DISABLE_PROMPTS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    theirs = (tmp_path / "theirs.json").read_bytes()
    assert theirs.decode() == credential_config(PROVIDER, token_path=path, service_account=account, lifetime=lifetime)
    assert read_credential_config(theirs).token_path == path
