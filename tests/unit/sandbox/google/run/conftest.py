# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta

import pytest

from podpass.sandbox.hosting import HostedSandbox
from podpass.sandbox.settings import SandboxSettings
from unit.sandbox.google.run.running import IMAGE, IMAGES, Running


@pytest.fixture(scope="module")
def run() -> Iterator[Running]:
    """Google's side with a service `echo` that anybody may invoke, and one `closed` that nobody may but the owner."""
    with ExitStack() as stack:
        settings = SandboxSettings(propagation=timedelta(0))
        side = stack.enter_context(HostedSandbox(settings, images=IMAGES, with_cluster=False))
        running = stack.enter_context(Running(side))
        for name in ("echo", "closed"):
            running.deploy(name, IMAGE)
        for name in ("echo", "closed"):
            running.until_ready(name)
        running.let("echo", "allUsers")
        yield running
