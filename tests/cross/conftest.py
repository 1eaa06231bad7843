# SPDX-License-Identifier: Apache-2.0
"""Every test of Kubernetes' side runs on the built-in API server, and under the marker `cluster` on a real control plane."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from node_world import IMAGES, ClusterKind, NodeWorld
from podpass.errors import ConfigError
from podpass.sandbox.binaries import Binaries, cache_directory
from podpass.sandbox.hosting import HostedSandbox
from podpass.sandbox.settings import SandboxSettings

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
