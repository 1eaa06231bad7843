# SPDX-License-Identifier: Apache-2.0
"""What every walk needs: a sandbox in a state to begin with, podpass processes to kill, weather, and the end as it can be compared."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from podpass.sandbox.hosting import HostedSandbox
from podpass.sandbox.kubernetes.kinds.leases import LEASE
from podpass.sandbox.settings import SandboxSettings
from scenario.crash_walk.gallows import Gallows, Middle

ARTICLE: Final = str(Path(__file__).parents[3] / "examples" / "first-article" / "podpass.yaml")
COMMANDS: Final = {
    "apply": ["apply", "--yes", "--file", ARTICLE],
    "destroy": ["destroy", "--yes", "--file", ARTICLE],
    "undelete": ["apply", "--yes", "--allow-undelete", "*", "--file", ARTICLE],
}
BEGINNINGS: Final = {"apply": "nothing", "destroy": "applied", "undelete": "destroyed"}
_MADE_BY: Final = {"applied": "apply", "destroyed": "destroy"}
SHORT: Final = timedelta(milliseconds=100)
# What is given out anew each time: unique ids of accounts, and uids of Kubernetes.
_VOLATILE: Final = re.compile(r"\b1\d{20}\b|\b[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\b")
# Whom the weather is for: podpass, and nobody who plays a part of the sandbox.
_SIDES: Final = ({"host": "*.googleapis.com", "caller": "operator@example.com"}, {"host": "kubernetes", "caller": "kubernetes-admin"})
_TROUBLES: Final[tuple[dict[str, Any], ...]] = (
    {"error": 503},
    {"connection": "reset"},
    {"connection": "answer-lost"},
    {"connection": "body-truncated"},
)
# A process that gives up in bad weather is run again, in other weather and at last in none.
LATER: Final = (11, 13, 17, 19, 0, 0, 0)


def settings(folder: Path) -> SandboxSettings:
    return SandboxSettings(state_dir=folder, propagation=SHORT, account_visibility=SHORT)


class Forge:
    """Makes podpass processes."""

    def __init__(self, folder: Path) -> None:
        script = str(Path(__file__).with_name("forge.py"))
        self._process = subprocess.Popen([sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.output = folder / "output"

    def run(self, arguments: list[str], middle: Middle, gallows: Gallows) -> int:
        """Run podpass until it ends or is killed; return its exit code, negative for a signal."""
        assert self._process.stdin
        assert self._process.stdout
        self.output.write_text("")
        middle.gallows = gallows
        task = {"arguments": arguments, "environment": middle.environment, "output": str(self.output)}
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        gallows.name(int(self._process.stdout.readline().removeprefix("pid ")))
        return int(self._process.stdout.readline().removeprefix("exit "))

    def close(self) -> None:
        self._process.communicate()


@dataclass(eq=False)
class World:
    """Sandboxes in states to begin with, as often as wanted. A state is made when it is wanted first."""

    folder: Path
    forge: Forge
    made: int = 0
    known: set[str] = field(default_factory=set)

    def state(self, name: str) -> Path:
        """Return where a state is kept; not to be written to."""
        if name in _MADE_BY:
            self.make(name, BEGINNINGS[_MADE_BY[name]], lambda _, middle: self._done(COMMANDS[_MADE_BY[name]], middle))
        elif name not in self.known:
            with HostedSandbox(settings(self.folder / name)):
                self.known.add(name)
        return self.folder / name

    def make(self, name: str, beginning: str, build: Callable[[HostedSandbox, Middle], None]) -> None:
        """Make a state out of another one, once."""
        if name in self.known:
            return
        shutil.copytree(self.state(beginning), self.folder / name)
        with self.opened(self.folder / name) as (sandbox, middle):
            build(sandbox, middle)
        self.known.add(name)

    def _done(self, arguments: list[str], middle: Middle) -> None:
        assert self.forge.run(arguments, middle, Gallows()) == 0, self.said

    @contextmanager
    def opened(self, folder: Path) -> Iterator[tuple[HostedSandbox, Middle]]:
        """A sandbox that has its state in a folder, and the man in the middle before it."""
        with ExitStack() as stack:
            sandbox = stack.enter_context(HostedSandbox(settings(folder)))
            yield sandbox, stack.enter_context(Middle(sandbox.environment(), folder))

    @contextmanager
    def from_state(self, name: str) -> Iterator[tuple[HostedSandbox, Middle]]:
        """A sandbox of one's own that begins in a state."""
        self.made += 1
        own = self.folder / f"copy-{self.made}"
        shutil.copytree(self.state(name), own)
        with self.opened(own) as both:
            yield both
        shutil.rmtree(own)

    @property
    def said(self) -> str:
        """What the last process printed."""
        return self.forge.output.read_text()


def stable(sandbox: HostedSandbox) -> Any:  # noqa: ANN401 - JSON
    """Everything that there is on both sides, and whose turn it is to change it."""
    cluster: Any = sandbox.cluster
    held = [lease["metadata"]["name"] for lease in cluster._objects.select(LEASE) if lease["metadata"]["namespace"] == "podpass-system"]
    return json.loads(_VOLATILE.sub("(volatile)", json.dumps({**sandbox.dump(), "held": held}, sort_keys=True)))


def brew(sandbox: HostedSandbox, every: int) -> None:
    """Let every so-manieth request of podpass fail, in one way after the other, and one of each side be put off; 0: fair weather."""
    if not every:
        sandbox.clear_faults()
        return
    rules = [
        {"match": side, "when": {"every": every + number}, "then": trouble}
        for side in _SIDES
        for number, trouble in zip((0, 4, 6, 12), _TROUBLES, strict=True)
    ]
    busy = [{"match": side, "when": {"nth": every}, "then": {"error": 429, "retryAfter": 1}} for side in _SIDES]
    content = {"apiVersion": "podpass.dev/v1alpha1", "kind": "Faults", "metadata": {"name": "storm"}, "spec": {"rules": [*rules, *busy]}}
    sandbox.change_faults(json.dumps(content))


def struck(sandbox: HostedSandbox) -> int:
    """Count the requests that the weather has struck."""
    return sum(rule["struck"] for rule in sandbox.faults()["rules"])
