# SPDX-License-Identifier: Apache-2.0
"""Somebody else edits the same IAM policies, at any moment of an apply or a destroy: nothing of theirs is lost, nothing of ours is left.

Google's side is in this process, so that a thousand orders of events are a matter of minutes. What the other one does and when is drawn
from a seed; a failure names it.
"""

import functools
import random
import threading
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from conftest import StartSandbox
from podpass.config.federation import Federation
from podpass.config.reading import load
from podpass.federate.execution import destroy
from podpass.federate.execution.apply import apply
from podpass.federate.planning.prepared import prepare
from podpass.federate.safety.allowances import Allowances
from podpass.google import policy_edit
from podpass.google.backoff import Pacing
from podpass.google.policy import Policy, add_member, remove_member
from podpass.google.policy_edit import PolicyHolder, edit_policy
from podpass.google.projects import ProjectPolicy
from podpass.google.rest import GoogleClient
from podpass.google.storage import BucketPolicy, create_bucket
from podpass.kube.client import KubeClient
from podpass.sandbox.google.caller import CLOUD_PLATFORM
from podpass.sandbox.google.catalogue import SERVICES
from podpass.sandbox.google.dispatcher import Dispatcher
from podpass.sandbox.google.message import Request
from podpass.sandbox.google.universe import Universe
from podpass.sandbox.hosting import HostedSandbox
from podpass.sandbox.settings import SandboxSettings
from scenario.federate.conftest import Story

BUCKET = "photos"
ROLES = ("roles/storage.objectViewer", "roles/storage.admin")
CONDITION = {"title": "Office hours", "expression": "request.time.getHours('Europe/Berlin') < 18"}
PEOPLE = tuple(f"user:{name}@example.com" for name in ("ada", "grace", "joan"))
# How often the other one is at work when podpass asks for anything about a policy.
OFTEN = 0.6


@dataclass
class InProcess(httpx2.BaseTransport):
    """Google's side without a network, for one caller; others may act before each request."""

    dispatcher: Dispatcher
    lock: threading.RLock = field(default_factory=threading.RLock)
    editor: "Editor | None" = None
    conflicts: int = 0

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        with self.lock:
            if self.editor and request.url.path.endswith(("IamPolicy", "/iam")):
                self.editor.may_act()
            asked = Request(
                request.method,
                request.url.host,
                request.url.raw_path.decode().partition("?")[0],
                request.url.query.decode(),
                {name.lower(): value for name, value in request.headers.items()},
                request.read(),
            )
            answer = self.dispatcher.handle(asked)
            self.conflicts += answer.status in {httpx2.codes.CONFLICT, httpx2.codes.PRECONDITION_FAILED}
        return httpx2.Response(answer.status, headers=dict(answer.headers), content=answer.body)


@dataclass(frozen=True)
class Signed:
    """The operator, who needs no refreshing here."""

    token: str

    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"}

    def renew(self, stale: object) -> None:
        raise AssertionError(stale)


@dataclass
class Editor:
    """The other one: adds and removes people, with and without a condition, in the roles that podpass grants too.

    Attributes:
        chance: Draws what is done, and whether.
        holders: The policies, by name.
        theirs: What they have made and not taken away, by policy.
    """

    chance: random.Random
    holders: dict[str, PolicyHolder]
    theirs: dict[str, Policy]

    def may_act(self) -> None:
        if self.chance.random() < OFTEN:
            name = self.chance.choice(sorted(self.holders))
            role, person = self.chance.choice(ROLES), self.chance.choice(PEOPLE)
            condition = self.chance.choice((None, CONDITION))
            act = self.chance.choice((add_member, add_member, remove_member))
            edit_policy(self.holders[name], lambda policy: act(policy, role, person, condition))
            self.theirs[name] = act(self.theirs[name], role, person, condition)


def stripped(policy: Policy) -> set[tuple[str, str, str]]:
    """Return a policy's members, each with its role and condition: their order says nothing."""
    bindings: list[dict[str, Any]] = policy.get("bindings") or []
    return {(one["role"], str(one.get("condition")), member) for one in bindings for member in one["members"]}


@dataclass
class World:
    """A universe in this process, a cluster beside it, and a federation of both."""

    universe: Universe
    kube: KubeClient
    folder: Path
    story: Story

    def client(self, transport: InProcess) -> GoogleClient:
        token = self.universe.identities.user_token("operator@example.com", [CLOUD_PLATFORM])
        return GoogleClient(Signed(token), http=httpx2.Client(transport=transport))

    def federation(self, number: int) -> Federation:
        """Return the seed's federation; every one has a pool of its own, since ids of deleted ones stay taken."""
        grants = [{"role": ROLES[0], "bucket": BUCKET}, {"role": ROLES[1], "bucket": BUCKET}]
        workloads = [
            {"serviceAccount": f"default/{self.story.name}", "roles": list(ROLES), "grants": grants},
            {"serviceAccount": f"default/{self.story.name}-2", "googleServiceAccount": f"seed-{number:05}", "roles": [ROLES[1]]},
        ]
        google = {"project": "demo-project", "pool": {"id": f"seed-{number:05}"}, "provider": {"id": "cluster"}}
        spec = {"google": google, "workloads": workloads}
        file = self.folder / f"{number}.yaml"
        content = {"apiVersion": "podpass.dev/v1alpha1", "kind": "Federation", "metadata": {"name": f"seed-{number}"}, "spec": spec}
        file.write_text(yaml.safe_dump(content))
        return load(file)


@pytest.fixture
def here(
    start_sandbox: StartSandbox, story_in: Callable[[HostedSandbox], Story], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    """The world, in which nobody pauses after a conflict."""
    hurried = functools.partial(Pacing, first=timedelta(microseconds=1), longest=timedelta(microseconds=1))
    monkeypatch.setattr(policy_edit, "Pacing", hurried)
    universe = Universe(SandboxSettings(propagation=timedelta(0), account_visibility=timedelta(0)))
    story = story_in(start_sandbox())
    yield World(universe, story.kube, tmp_path, story)
    universe.close()


def interleave(world: World, number: int) -> int:
    """Apply and destroy under one seed's edits; return how often one of them came between podpass's reading and its writing."""
    dispatcher = Dispatcher(world.universe, SERVICES)
    quiet, watched = InProcess(dispatcher), InProcess(dispatcher)
    with world.client(quiet) as theirs, world.client(watched) as ours:
        if number == 0:
            create_bucket(theirs, "demo-project", BUCKET, {"iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}}})
        holders: dict[str, PolicyHolder] = {"project": ProjectPolicy(theirs, "demo-project"), "bucket": BucketPolicy(theirs, BUCKET)}
        before = {name: deepcopy(holder.read_policy()) for name, holder in holders.items()}
        watched.editor = editor = Editor(random.Random(number), holders, before)
        federation = world.federation(number)

        prepared = prepare(federation, ours, world.kube)
        wanted = {name: set[tuple[str, str, str]]() for name in holders}
        for resource in prepared.plan.desired:
            name = str(resource.identity.get("target", "")).partition("/")[0]
            if name in wanted:
                wanted[name].add((resource.identity["role"], "None", resource.identity["member"]))
        apply(prepared, Allowances())
        assert all(wanted.values())
        for name, holder in holders.items():
            assert stripped(holder.read_policy()) == stripped(editor.theirs[name]) | wanted[name], f"seed {number}, applied, {name}"

        destroy.destroy(destroy.prepare(federation, ours, world.kube))
        for name, holder in holders.items():
            assert stripped(holder.read_policy()) == stripped(editor.theirs[name]), f"seed {number}, destroyed, {name}"
    return watched.conflicts


def test_a_second_editor_of_the_same_policies_loses_nothing(here: World) -> None:
    assert sum(interleave(here, number) for number in range(12)) > 12


@pytest.mark.slow
def test_a_second_editor_loses_nothing_in_a_thousand_interleavings(here: World) -> None:
    assert sum(interleave(here, number) for number in range(1000)) > 1000
