# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator

import pytest

from scenario.crash_walk.world import Forge, World


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The states that the walks begin with."""
    folder = tmp_path_factory.mktemp("crash-walk")
    forge = Forge(folder)
    yield World(folder, forge)
    forge.close()
