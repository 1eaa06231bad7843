# SPDX-License-Identifier: Apache-2.0
"""A story in a sandbox whose weather the test makes."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from podpass.sandbox.hosting import HostedSandbox
from podpass.sandbox.settings import SandboxSettings
from scenario.federate.conftest import Story, begun, enter

SHORT = timedelta(milliseconds=100)


@pytest.fixture(scope="module")
def world() -> Iterator[HostedSandbox]:
    """A sandbox for a module's stories."""
    with HostedSandbox(SandboxSettings(propagation=SHORT, account_visibility=SHORT)) as sandbox:
        yield sandbox


@pytest.fixture
def story(world: HostedSandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Story]:
    """A story of its own; its weather ends with it."""
    enter(world, monkeypatch)
    with begun(world, tmp_path) as story:
        yield story
        world.clear_faults()


def weather(story: Story, *rules: dict[str, Any], **google: object) -> None:
    """Put faults into effect."""
    spec = {"rules": rules, "google": google}
    story.sandbox.change_faults(
        json.dumps({"apiVersion": "podpass.dev/v1alpha1", "kind": "Faults", "metadata": {"name": "storm"}, "spec": spec})
    )


def struck(story: Story) -> int:
    """Count what the faults have struck."""
    return sum(rule["struck"] for rule in story.sandbox.faults()["rules"])
