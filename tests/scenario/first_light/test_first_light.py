# SPDX-License-Identifier: Apache-2.0
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from node_world import ClusterKind
from podpass.demo.comparison import compare
from podpass.demo.images import IMAGES
from podpass.sandbox.binaries import cache_directory
from podpass.sandbox.hosting import HostedSandbox
from podpass.sandbox.settings import SandboxSettings

EXAMPLE = Path(__file__).parents[3] / "examples" / "inline-keys"
NOTHING_TO_DO, CHANGES = 0, 10
MAKE_BUCKET = "from google.cloud.storage import Client; Client().create_bucket('my-first-bucket')"


def run(*command: str, environment: dict[str, str] | None = None, code: int = 0) -> str:
    """Run a command that must end with `code`; return what it wrote."""
    program = str(Path(sys.executable).with_name("podpass")) if command[0] == "podpass" else command[0]
    variables = os.environ | (environment or {})
    ended = subprocess.run([program, *command[1:]], capture_output=True, text=True, env=variables, cwd=EXAMPLE, timeout=600, check=False)
    assert ended.returncode == code, f"{' '.join(command)} ended with {ended.returncode}:\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


@dataclass(frozen=True)
class User:
    """Somebody who is logged in to a sandbox and types commands beside the example's files."""

    sandbox: HostedSandbox

    def types(self, line: str, code: int = 0) -> str:
        return run(*line.split(), environment=self.sandbox.environment(), code=code)

    def writes(self) -> int:
        """Count the requests to Google's side so far that could change something."""
        quiet = {"GET", "HEAD", "CONNECT"}
        asked = [entry for entry in self.sandbox.requests() if entry["verb"] not in quiet]
        return len([entry for entry in asked if not entry["method"].endswith((".getIamPolicy", ".testIamPermissions", "token"))])


@pytest.fixture(scope="module")
def user(cluster_kind: ClusterKind) -> Iterator[User]:
    settings = SandboxSettings(control_plane=cache_directory() if cluster_kind == "real" else None)
    with HostedSandbox(settings, images=IMAGES) as sandbox:
        yield User(sandbox)


def test_whole_article_shows_googles_refusal_then_the_buckets_and_leaves_nothing(cluster_kind: ClusterKind) -> None:
    control_plane = ["--control-plane", str(cache_directory())] if cluster_kind == "real" else []
    (story,) = json.loads(run("podpass", "demo", "federation", "--json", *control_plane))["stories"]
    assert "PERMISSION_DENIED" in story["refusal"][0]
    assert story["buckets"] == ["demo-oidc", "holiday-photos", "quarterly-reports"]
    assert story["comparison"]["equal"]


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_least_change_is_planned_made_once_examined_used_and_taken_away(user: User) -> None:
    user.types("kubectl create serviceaccount inline-demo")
    run(sys.executable, "-c", MAKE_BUCKET, environment=user.sandbox.environment())
    before: dict[str, Any] = user.sandbox.dump()
    user.types("podpass plan --exit-code", CHANGES)
    user.types("podpass apply --yes")
    assert (written := user.writes()) > 0
    made = user.sandbox.dump()
    user.types("podpass apply --yes")
    user.types("podpass plan --exit-code", NOTHING_TO_DO)
    assert (user.writes(), user.sandbox.dump()) == (written, made)
    user.types("podpass doctor")
    user.types("kubectl apply -f job.yaml")
    user.types("kubectl wait --for=condition=complete job/inline-demo --timeout=60s")
    assert user.types("kubectl logs -l app=inline-demo") == "my-first-bucket\n"
    user.types("kubectl delete job inline-demo")
    user.types("podpass destroy --yes")
    user.types("kubectl wait --for=delete namespace/podpass-system --timeout=60s")  # a real one takes some seconds to empty it
    after = compare(before, user.sandbox.dump())
    assert after.differences == ()
    assert [name.split()[0] for name in after.tombstones] == ["pool", "provider"]
