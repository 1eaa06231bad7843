# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator
from datetime import timedelta

import pytest

from podpass.sandbox.hosting import HostedSandbox
from podpass.sandbox.settings import SandboxSettings


@pytest.fixture(scope="module")
def google() -> Iterator[HostedSandbox]:
    """Google's side of a sandbox; this very process is logged in to it."""
    settings = SandboxSettings(propagation=timedelta(0), account_visibility=timedelta(0))
    with HostedSandbox(settings, with_cluster=False) as sandbox, pytest.MonkeyPatch.context() as patch:
        for name, value in sandbox.environment().items():
            patch.setenv(name, value)
        yield sandbox
