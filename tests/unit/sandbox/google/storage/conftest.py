# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator

import pytest

from unit.sandbox.google.storage.cloud import Cloud


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    made = Cloud()
    yield made
    made.universe.close()
