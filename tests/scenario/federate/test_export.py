# SPDX-License-Identifier: Apache-2.0
"""What is exported does what the plan does."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from podpass.federate.doctor.published import published_keys
from podpass.google.connections import new_http
from podpass.names import Issuer
from scenario.federate.conftest import Story


@pytest.mark.gcloud
@pytest.mark.kubectl
def test_the_script_makes_what_apply_would_make(story: Story) -> None:
    if not (shutil.which("gcloud") and shutil.which("kubectl")):
        pytest.skip("gcloud and kubectl are wanted: https://cloud.google.com/sdk/docs/install, https://kubernetes.io/docs/tasks/tools/")
    script = story.done("export", "--format", "gcloud")
    done = subprocess.run(
        ["sh"], input=script, text=True, env=os.environ | story.sandbox.environment(), capture_output=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    plan = json.loads(story.done("plan", "--json"))
    assert {change["address"]: (change["action"], change["fields"]) for change in plan["changes"]} == {
        f"pool/{story.name}": ("adopt", []),
        "provider/cluster": ("adopt", []),
        f"configmap/default/{story.name}-sts": ("adopt", []),
    }
    story.done("apply", "--yes", "--adopt")
    assert "Nothing to change" in story.done("plan")


def test_manifests_are_objects_of_the_cluster(story: Story) -> None:
    account, config_map = yaml.safe_load_all(story.done("export", "--format", "manifests"))
    assert account["metadata"]["name"] == story.name
    assert json.loads(config_map["data"]["config"])["type"] == "external_account"


def test_documents_for_any_static_host(story: Story, tmp_path: Path) -> None:
    story.write(issuer={"url": "https://oidc.example/shop", "keys": "discovery"})
    folder = tmp_path / "site"
    told = story.done("export", "--format", "documents", "-o", str(folder))
    assert "->  https://oidc.example/shop/keys.json" in told
    document = json.loads((folder / ".well-known" / "openid-configuration").read_text())
    assert document["issuer"] == "https://oidc.example/shop"
    assert json.loads((folder / "keys.json").read_text())["keys"]
    assert "# https://oidc.example/shop/keys.json\n{" in story.done("export", "--format", "documents"), "written nowhere"


def test_a_bucket_publishes_for_everybody_and_lists_for_nobody(story: Story) -> None:
    bucket = f"{story.name}-oidc"
    url = f"https://storage.googleapis.com/{bucket}"
    story.write(issuer={"url": url, "keys": "bucket", "bucket": {"name": bucket}})
    assert "Tokens of this cluster carry the issuer" in story.done("plan")
    story.done("apply", "--yes")
    with new_http() as stranger:
        for _ in range(50):
            if stranger.get(f"{url}/keys.json").is_success:
                break
            time.sleep(0.05)  # real propagation, of the sandbox
        assert published_keys(stranger, Issuer(url)).keys
        assert stranger.get(f"{url}/keys.json").headers["cache-control"] == "public, max-age=0"
        assert stranger.get(f"https://storage.googleapis.com/storage/v1/b/{bucket}/o").status_code in {401, 403}
    assert "Nothing to change" in story.done("plan")
    story.done("destroy", "--yes")


def test_init_writes_a_file_that_plan_reads(story: Story, tmp_path: Path) -> None:
    file = tmp_path / "new.yaml"
    answer = story.run_bare("init", "-o", str(file), "--workload", f"default/{story.name}")
    assert answer.code == 0, answer
    story.file = file
    assert "+ provider/cluster" in story.done("plan")
    again = story.run_bare("init", "-o", str(file))
    assert "exists already" in str(again.error)
