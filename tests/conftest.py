# SPDX-License-Identifier: Apache-2.0
"""A sandbox for every test that wants one."""

import gc
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from node_world import IMAGES, ClusterKind, NodeWorld
from podpass.errors import ConfigError
from podpass.sandbox.binaries import Binaries, cache_directory
from podpass.sandbox.hosting import HostedSandbox
from podpass.sandbox.settings import SandboxSettings

StartSandbox = Callable[..., HostedSandbox]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Keep the garbage collector from what stays to the end: thousands of tests, and every module."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


# Long enough that a test can see the delay, short enough that the others do not wait for it.
SHORT = timedelta(milliseconds=200)


def _start(stack: ExitStack, **asked: Any) -> HostedSandbox:  # noqa: ANN401 - settings, and Sandbox's own keywords
    own = {name: asked.pop(name) for name in ("images", "with_cluster", "clock") if name in asked}
    settings = SandboxSettings(**{"propagation": SHORT, "account_visibility": SHORT, **asked})
    return stack.enter_context(HostedSandbox(settings, **own))


@pytest.fixture(scope="module")
def sandbox() -> Iterator[HostedSandbox]:
    """A whole sandbox, one a test module."""
    with ExitStack() as stack:
        yield _start(stack)


@pytest.fixture(scope="module")
def google_side() -> Iterator[HostedSandbox]:
    """Google's side alone, one a test module."""
    with ExitStack() as stack:
        yield _start(stack, with_cluster=False)


@pytest.fixture
def start_sandbox() -> Iterator[StartSandbox]:
    """Start a sandbox of one's own: keywords of `SandboxSettings`, and `images`, `with_cluster`, `clock`."""
    with ExitStack() as stack:
        yield lambda **asked: _start(stack, **asked)


@pytest.fixture
def inside(google_side: HostedSandbox) -> dict[str, str]:
    """The environment of a process that is logged in to Google's side."""
    return {**os.environ, **google_side.environment()}


@pytest.fixture(scope="module")
def logged_in() -> Iterator[HostedSandbox]:
    """Google's side where every change holds at once; this very process is logged in to it, for libraries that run in process."""
    with ExitStack() as stack:
        sandbox = _start(stack, with_cluster=False, propagation=timedelta(0), account_visibility=timedelta(0))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in sandbox.environment().items():
            patch.setenv(name, value)
        yield sandbox
        collect_foreign_sockets()


def collect_foreign_sockets() -> None:
    """Close what Google's libraries leave to the garbage collector, here and not in some later test that would be blamed for it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


# Every test of Kubernetes' side runs on the built-in API server, and under the marker `cluster` on a real control plane.
BOTH_CLUSTERS = ["built-in", pytest.param("real", marks=pytest.mark.cluster)]


@pytest.fixture(scope="module", params=BOTH_CLUSTERS)
def cluster_kind(request: pytest.FixtureRequest) -> ClusterKind:
    """Which API server this module's tests meet: `built-in` or `real`."""
    kind: ClusterKind = request.param
    if kind == "real":
        try:
            Binaries.find(cache_directory())
        except ConfigError as error:
            pytest.skip(str(error))
    return kind


@pytest.fixture(scope="module")
def node_world(cluster_kind: ClusterKind) -> Iterator[NodeWorld]:
    """A cluster with one quick node agent, whose clock the test moves; no Google."""
    with TemporaryDirectory() as directory, NodeWorld(cluster_kind, Path(directory)) as world:
        yield world


@pytest.fixture(scope="module")
def cluster_sandbox(cluster_kind: ClusterKind) -> Iterator[HostedSandbox]:
    """A whole sandbox, on either cluster, with the tests' images."""
    control_plane = cache_directory() if cluster_kind == "real" else None
    with ExitStack() as stack:
        yield stack.enter_context(HostedSandbox(SandboxSettings(control_plane=control_plane), images=IMAGES))
