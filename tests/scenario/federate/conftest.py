# SPDX-License-Identifier: Apache-2.0
"""A federation of one's own, and `podpass` in this process, logged in to the sandbox."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from podpass.cli.root import podpass
from podpass.errors import PodpassError
from podpass.google import operator
from podpass.google.connections import new_http
from podpass.google.rest import GoogleClient
from podpass.kube.client import KubeClient, connect
from podpass.kube.kubeconfig import from_dict
from podpass.kube.objects import ensure_service_account
from podpass.names import ServiceAccountRef
from podpass.sandbox.binaries import cache_directory
from podpass.sandbox.hosting import HostedSandbox
from podpass.sandbox.settings import SandboxSettings

SHORT = timedelta(milliseconds=200)
_READING = ("getIamPolicy", "testIamPermissions", ".get", ".list", "oauth2.token")


@dataclass
class Answer:
    """What a command printed and how it ended."""

    code: int
    out: str
    error: PodpassError | None


@dataclass
class Story:
    """A federation file and the sandbox that it is applied to.

    Attributes:
        name: Of the federation, its pool, and everything else.
        file: The federation file.
        sandbox: Where it is applied.
        google: Google, as the operator.
        kube: The cluster, as its administrator.
    """

    name: str
    file: Path
    sandbox: HostedSandbox
    google: GoogleClient
    kube: KubeClient
    content: dict[str, Any] = field(default_factory=dict)

    def write(self, **spec: object) -> None:
        """Write the file: direct access with inline keys, and on top what is asked for."""
        google = {"project": "demo-project", "pool": {"id": self.name}, "provider": {"id": "cluster"}}
        workload = {
            "serviceAccount": f"default/{self.name}",
            "roles": ["roles/storage.admin"],
            "credentials": {"configMap": f"{self.name}-sts"},
        }
        self.content = {
            "apiVersion": "podpass.dev/v1alpha1",
            "kind": "Federation",
            "metadata": {"name": self.name},
            "spec": {"google": google | dict(spec.pop("google", {})), "workloads": [workload], **spec},  # type: ignore[call-overload]  # a mapping
        }
        self.file.write_text(yaml.safe_dump(self.content))

    def run(self, command: str, *arguments: str) -> Answer:
        """Run a command on the file."""
        return self.run_bare(command, "-f", str(self.file), *arguments)

    def run_bare(self, *arguments: str) -> Answer:
        """Run a command as it is given."""
        result = CliRunner().invoke(podpass, arguments)
        error = result.exception if isinstance(result.exception, PodpassError) else None
        if result.exception and not error and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Answer(1 if error else result.exit_code, result.output, error)

    def done(self, command: str, *arguments: str) -> str:
        """Run a command that has to succeed; return what it printed."""
        answer = self.run(command, *arguments)
        assert answer.code == 0, answer
        return answer.out

    def written(self, act: Callable[[], object]) -> list[str]:
        """Return the methods of Google that changed something while `act` ran, in their order."""
        before = len(self.sandbox.requests())
        act()
        methods = [str(entry["method"]) for entry in self.sandbox.requests()[before:]]
        return [method for method in methods if not method.endswith(_READING)]


_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def world(cluster_kind: str) -> Iterator[HostedSandbox]:
    """A sandbox for a module's stories, on either cluster."""
    control_plane = cache_directory() if cluster_kind == "real" else None
    with HostedSandbox(SandboxSettings(control_plane=control_plane, propagation=SHORT, account_visibility=SHORT)) as sandbox:
        yield sandbox


def enter(sandbox: HostedSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Log this process in."""
    for name, value in sandbox.environment().items():
        monkeypatch.setenv(name, value)


@contextmanager
def begun(sandbox: HostedSandbox, folder: Path) -> Iterator[Story]:
    """A story in a sandbox that this process is logged in to."""
    assert sandbox.cluster
    http = new_http()
    with GoogleClient(operator.find(http), http=http) as google, connect(from_dict(sandbox.cluster.admin_kubeconfig())) as kube:
        story = Story(f"story-{next(_numbers)}", folder / "podpass.yaml", sandbox, google, kube)
        story.write()
        ensure_service_account(kube, ServiceAccountRef("default", story.name))
        yield story


@pytest.fixture
def story(world: HostedSandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Story]:
    """A story of its own in the module's sandbox, to which this process is logged in; its workload's account is there."""
    enter(world, monkeypatch)
    with begun(world, tmp_path) as story:
        yield story


@pytest.fixture
def story_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[HostedSandbox], Story]]:
    """Begin a story in a sandbox of one's own."""
    with ExitStack() as stack:

        def begin(sandbox: HostedSandbox) -> Story:
            enter(sandbox, monkeypatch)
            return stack.enter_context(begun(sandbox, tmp_path))

        yield begin
