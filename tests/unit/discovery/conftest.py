# SPDX-License-Identifier: Apache-2.0
"""A certificate authority for the servers on loopback, and a clock that stands still."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from issuer_server import IssuerServer
from podpass.clock import SteppedClock
from token_forge import NOW, ec_signer


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock(NOW)


@pytest.fixture
def issuer(authority: trustme.CA) -> Iterator[IssuerServer]:
    with IssuerServer(authority, ec_signer("k1")) as server:
        yield server
