# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator

import pytest

from unit.sandbox.google.world import World


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.universe.close()
