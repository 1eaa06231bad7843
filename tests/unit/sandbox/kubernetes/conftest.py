# SPDX-License-Identifier: Apache-2.0
"""The built-in API server alone, and objects without a server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from podpass.clock import SteppedClock
from podpass.sandbox.kubernetes.garbage import CollectedObjects
from podpass.sandbox.kubernetes.kinds import NAMESPACE, SERVICE_ACCOUNT
from podpass.sandbox.kubernetes.options import Write
from podpass.sandbox.settings import SandboxSettings
from podpass.sandbox.store import Store
from unit.sandbox.kubernetes.api_world import NOON, ApiWorld


@pytest.fixture
def api_world(tmp_path: Path) -> Iterator[ApiWorld]:
    """An API server of one's own."""
    world = ApiWorld(tmp_path, SandboxSettings(key_type="p256"))
    yield world
    world.close()


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock(NOON)


@pytest.fixture
def objects(clock: SteppedClock) -> CollectedObjects:
    """The objects of a cluster with the namespace `default` and its account."""
    found = CollectedObjects(Store(), clock)
    found.create(NAMESPACE, "", {"metadata": {"name": "default"}}, Write())
    found.create(SERVICE_ACCOUNT, "default", {"metadata": {"name": "default"}}, Write())
    return found
