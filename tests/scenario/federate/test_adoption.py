# SPDX-License-Identifier: Apache-2.0
"""What the first article makes by hand is named, taken over as it is and made better, and its workload works all the time."""

import json
import os
import shlex
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.auth import identity_pool
from google.auth.exceptions import GoogleAuthError
from google.cloud import storage

from podpass.google.storage import delete_object, list_objects
from podpass.kube.client import Request
from podpass.kube.objects import ensure_service_account
from podpass.kube.tokens import request_token
from podpass.names import ServiceAccountRef
from podpass.sandbox.cluster import IssuerChange
from podpass.sandbox.hosting import HostedSandbox
from podpass.sandbox.settings import SandboxSettings
from scenario.federate.conftest import SHORT, Story

pytestmark = [
    pytest.mark.gcloud,
    pytest.mark.skipif(
        not all(map(shutil.which, ("gcloud", "kubectl"))),
        reason="gcloud or kubectl is not installed: https://cloud.google.com/sdk/docs/install, https://kubernetes.io/docs/tasks/tools/",
    ),
]
SCRIPT = Path(__file__).parents[3] / "examples/first-article/gcloud.sh"
ISSUER = "https://storage.googleapis.com/demo-oidc"
WORKLOAD = ServiceAccountRef("default", "workload-identity-demo")
ACCOUNT = "wif-demo-sa@demo-project.iam.gserviceaccount.com"
POOL = "iam.googleapis.com/projects/415104041262/locations/global/workloadIdentityPools/workload-identity-demo"
BY_HAND = f"principalSet://{POOL}/attribute.sub/{WORKLOAD.subject}"
# The article's change of the control plane and its pod, as it prints them.
PATCH = [
    {
        "op": "add",
        "path": "/cluster/apiServer",
        "value": {
            "extraArgs": {
                "api-audiences": f"https://kubernetes.default.svc.cluster.local,{POOL.partition('/')[2]}/providers/wif-demo-oidc",
                "service-account-issuer": ISSUER,
                "service-account-jwks-uri": f"{ISSUER}/keys.json",
            }
        },
    },
]
POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "wif-demo"},
    "spec": {
        "containers": [{"name": "wif-demo", "image": "demo"}],
        "volumes": [
            {
                "name": "token",
                "projected": {
                    "sources": [
                        {
                            "serviceAccountToken": {
                                "path": "token",
                                "audience": f"//{POOL}/providers/wif-demo-oidc",
                                "expirationSeconds": 172800,
                            }
                        }
                    ]
                },
            }
        ],
    },
}


def as_it_is(**workload: object) -> dict[str, Any]:
    """The federation file that says no more than what the article made."""
    return {
        "apiVersion": "podpass.dev/v1alpha1",
        "kind": "Federation",
        "metadata": {"name": "workload-identity-demo"},
        "spec": {
            "issuer": {"url": ISSUER, "keys": "discovery"},
            "google": {
                "project": "demo-project",
                "pool": {"id": "workload-identity-demo"},
                "provider": {"id": "wif-demo-oidc"},
                "attributeMapping": {"google.subject": "assertion.sub", "attribute.sub": "assertion.sub"},
                "attributeCondition": "none",
            },
            "workloads": [
                {
                    "serviceAccount": str(WORKLOAD),
                    "googleServiceAccount": "wif-demo-sa",
                    "member": "attribute.sub",
                    "roles": ["roles/storage.admin"],
                    "credentials": {
                        "configMap": "sts-config",
                        "key": "config",
                        "tokenPath": "/var/run/secrets/tokens/gcp-ksa/token",
                    },
                    **workload,
                }
            ],
        },
    }


def types(story: Story, *command: str, **environment: str) -> None:
    """Run a program as the person who is logged in."""
    variables = os.environ | environment
    done = subprocess.run(command, cwd=story.file.parent, env=variables, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


def by_hand(story: Story) -> None:
    """Do what the article does, with the programs that it does it with."""
    folder = story.file.parent
    ensure_service_account(story.kube, WORKLOAD)
    cluster = story.sandbox.cluster
    assert cluster
    story.sandbox.run(cluster.restart(IssuerChange(issuer=ISSUER)))
    documents = folder / "documents"
    documents.mkdir()
    jwks, discovery = (
        story.kube.send(Request("GET", path, "read what it publishes")) for path in ("/openid/v1/jwks", "/.well-known/openid-configuration")
    )
    (documents / "jwks").write_bytes(jwks)
    # What the article's service-account-jwks-uri does.
    (documents / "openid-configuration").write_text(json.dumps(json.loads(discovery) | {"jwks_uri": f"{ISSUER}/keys.json"}))
    types(story, "bash", str(SCRIPT), "up", DOCUMENTS=str(documents))
    types(story, "kubectl", "create", "configmap", "sts-config", "--from-file=config=sts-creds.json")


@contextmanager
def at_work(story: Story) -> Iterator[list[str]]:
    """List the project's buckets as the workload, from its token on, again and again; yields what failed."""
    config = json.loads((story.file.parent / "sts-creds.json").read_text())
    token = story.file.parent / "token"
    config["credential_source"]["file"] = str(token)
    failed: list[str] = []
    listed: list[int] = []
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(0.05):
            token.write_text(request_token(story.kube, WORKLOAD, audiences=[config["audience"]]).value.reveal())
            credentials = identity_pool.Credentials.from_info(config, scopes=["https://www.googleapis.com/auth/cloud-platform"])
            try:
                with storage.Client("demo-project", credentials) as client:
                    listed.append(len(list(client.list_buckets(retry=None))))
            except (GoogleAuthError, OSError, ValueError) as error:
                failed.append(str(error))
            except Exception as error:  # noqa: BLE001 - whatever it is, the workload did not work
                failed.append(repr(error))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield failed
    finally:
        ended.set()
        thread.join()
    assert len(listed) > 5
    assert set(listed) == {1}


@pytest.fixture
def article(story_in: Callable[[HostedSandbox], Story]) -> Iterator[Story]:
    """The article's way, walked to its end."""
    with HostedSandbox(SandboxSettings(propagation=SHORT, account_visibility=SHORT)) as sandbox:
        story = story_in(sandbox)
        by_hand(story)
        yield story


def lint(story: Story, name: str, content: object) -> set[str]:
    file = story.file.parent / name
    file.write_text(yaml.safe_dump(content))
    answer = story.run_bare("lint", "--json", str(file))
    return {one["code"].removeprefix("lint.") for one in json.loads(answer.out)["findings"]}


def warned(story: Story) -> dict[str, str]:
    """Return the plan's warnings: code to message."""
    return {one["code"]: one["message"] for one in json.loads(story.done("plan", "--json"))["warnings"]}


def test_the_articles_way_is_named_adopted_and_improved_while_its_workload_works(article: Story) -> None:
    story = article
    assert lint(story, "patch.yaml", PATCH) == {"google-audience", "issuer-replaced", "audience-dropped", "whole-replaced", "json-patch"}
    assert lint(story, "pod.yaml", POD) == {"token-life"}
    published = {"issuer": {"url": ISSUER, "keys": "bucket", "bucket": {"name": "demo-oidc"}}}
    printed = as_it_is()
    printed["spec"] |= published
    assert lint(story, "printed.yaml", printed) == {"principal-set", "broad-role", "bucket-not-needed"}

    with at_work(story) as failed:
        before = story.sandbox.dump()["google"]
        story.file.write_text(yaml.safe_dump(as_it_is()))
        assert "exists already" in str(story.run("apply", "--yes").error)
        story.done("apply", "--yes", "--adopt")
        assert story.sandbox.dump()["google"] == before
        assert "Nothing to change" in story.done("plan")
        assert set(warned(story)) == {"no-condition"}

        # Better: keys on the provider, a condition, one principal instead of a set, a role that only lists.
        better = as_it_is(member="subject", roles=["roles/storage.bucketViewer"])
        better["spec"]["issuer"] = {"url": "keep", "keys": "inline"}
        del better["spec"]["google"]["attributeCondition"]
        story.file.write_text(yaml.safe_dump(better))
        plan = json.loads(story.done("plan", "--json"))
        changes = {(one["action"], one["address"].partition("/")[0]): {each["name"] for each in one["fields"]} for one in plan["changes"]}
        assert changes == {
            ("update", "provider"): {"attributeCondition", "oidc.jwksJson"},
            ("create", "binding"): set(),
            ("create", "grant"): set(),
        }
        beyond = {one["code"]: one["message"] for one in plan["warnings"]}
        assert set(beyond) == {"undeclared-member", "undeclared-grant"}
        story.done("apply", "--yes")
        for message in beyond.values():
            assert message.endswith("`.")
            types(story, *shlex.split(message.rpartition(": `")[2].removesuffix("`.")))
        assert warned(story) == {}
        assert story.run("doctor").code == 0

        # Google reads the keys from the provider by now: the public bucket may lose them.
        for name in list_objects(story.google, "demo-oidc"):
            delete_object(story.google, "demo-oidc", name)
        assert story.run("doctor").code == 0
        assert BY_HAND not in json.dumps(story.sandbox.dump()["google"])
    assert failed == []
