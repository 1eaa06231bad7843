# SPDX-License-Identifier: Apache-2.0
"""Cloud Run by the real gcloud: deployed, described, opened and closed to callers, broken, deleted; and called with gcloud's own tokens."""

import json
import shutil
from collections.abc import Iterator
from datetime import timedelta

import pytest

from cross.outside import Outside
from podpass.sandbox.hosting import HostedSandbox
from podpass.sandbox.settings import SandboxSettings
from unit.sandbox.google.run.running import IMAGE, IMAGES, Running

pytestmark = [pytest.mark.gcloud, pytest.mark.skipif(not shutil.which("gcloud"), reason="gcloud is not installed")]

SERVICES = ("gcloud", "run", "services")
HERE = "--region=us-central1"
DEPLOY = ("gcloud", "run", "deploy", "auth-server", HERE)
CALLER = "caller@demo-project.iam.gserviceaccount.com"


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    settings = SandboxSettings(propagation=timedelta(0), account_visibility=timedelta(0))
    with HostedSandbox(settings, images=IMAGES, with_cluster=False) as sandbox:
        yield Outside(sandbox, tmp_path_factory.mktemp("outside"))


@pytest.fixture(scope="module")
def run(outside: Outside) -> Iterator[Running]:
    with Running(outside.sandbox) as running:
        yield running


@pytest.fixture(scope="module")
def url(outside: Outside) -> str:
    """The URL of a service that gcloud has deployed, closed to the public."""
    said = outside.run(
        *DEPLOY,
        f"--image={IMAGE}",
        "--set-env-vars=COLOR=green,OTHER=a b",
        "--no-allow-unauthenticated",
        "--add-custom-audiences=https://api.example",
    ).stderr.decode()
    assert "has been deployed and is serving" in said, said
    described = json.loads(outside.does(*SERVICES, "describe", "auth-server", HERE, "--format=json"))
    assert described["status"]["conditions"][0]["status"] == "True"
    assert described["metadata"]["annotations"]["run.googleapis.com/custom-audiences"] == '["https://api.example"]'
    return str(described["status"]["url"])


def test_the_public_stays_out_and_whoever_deployed_it_comes_in(outside: Outside, run: Running, url: str) -> None:
    assert run.client.get(url).status_code == 403
    token = outside.does("gcloud", "auth", "print-identity-token").strip()
    answer = run.client.get(url, headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["env"]["COLOR"]) == (200, "green")
    assert token.rpartition(".")[2] not in answer.text


def test_an_account_comes_in_once_it_is_bound(outside: Outside, run: Running, url: str) -> None:
    outside.does("gcloud", "iam", "service-accounts", "create", "caller")
    bind = ("gcloud", "iam", "service-accounts", "add-iam-policy-binding", CALLER, "--role=roles/iam.serviceAccountTokenCreator")
    outside.does(*bind, f"--member=user:{outside.sandbox.settings.operator}")
    mint = ("gcloud", "auth", "print-identity-token", f"--impersonate-service-account={CALLER}", "--audiences=https://api.example")
    token = {"Authorization": f"Bearer {outside.does(*mint).strip()}"}
    assert run.client.get(url, headers=token).status_code == 403
    binding = ("auth-server", HERE, f"--member=serviceAccount:{CALLER}", "--role=roles/run.invoker")
    outside.does(*SERVICES, "add-iam-policy-binding", *binding)
    assert run.client.get(url, headers=token).status_code == 200
    policy = json.loads(outside.does(*SERVICES, "get-iam-policy", "auth-server", HERE, "--format=json"))
    assert policy["bindings"] == [{"role": "roles/run.invoker", "members": [f"serviceAccount:{CALLER}"]}]
    outside.does(*SERVICES, "remove-iam-policy-binding", *binding)
    assert run.client.get(url, headers=token).status_code == 403


def test_it_is_opened_with_another_revision_and_keeps_what_was_not_changed(outside: Outside, run: Running, url: str) -> None:
    outside.does(*DEPLOY, f"--image={IMAGE}", "--update-env-vars=COLOR=red", "--allow-unauthenticated")
    answer = run.client.get(url)
    assert (answer.status_code, answer.json()["env"]["COLOR"]) == (200, "red")
    assert answer.json()["env"]["K_REVISION"].startswith("auth-server-00002-")
    rows = json.loads(outside.does(*SERVICES, "list", "--format=json"))
    assert [(row["metadata"]["name"], row["metadata"]["labels"]["cloud.googleapis.com/location"]) for row in rows] == [
        ("auth-server", "us-central1")
    ]
    variables = {each["name"]: each["value"] for each in rows[0]["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert variables == {"COLOR": "red", "OTHER": "a b"}


def test_an_update_that_breaks_it_says_why_and_the_one_before_serves_on(outside: Outside, run: Running, url: str) -> None:
    run.let("auth-server", "allUsers")
    before = run.client.get(url).json()["env"]
    said = outside.fails(*SERVICES, "update", "auth-server", HERE, "--update-env-vars=BROKEN=1")
    assert "The user-provided container failed to start and listen on the port" in said
    assert "cannot go on" in said
    assert run.client.get(url).json()["env"] == before


def test_deleted_it_is_gone(outside: Outside, run: Running, url: str) -> None:
    assert run.client.get(url).status_code != 404
    outside.does(*SERVICES, "delete", "auth-server", HERE)
    assert "Cannot find service [auth-server]" in outside.fails(*SERVICES, "describe", "auth-server", HERE)
    assert run.client.get(url).status_code == 404
