# SPDX-License-Identifier: Apache-2.0
"""A cluster's answers, to vary."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from podpass.federate.clusters.evidence import Evidence, Node, Publication
from podpass.kube.issuer import Discovery
from podpass.verify import UnverifiedClaims

ISSUER = "https://10.0.0.1:6443"
MakeEvidence = Callable[..., Evidence]


def claims(**members: Any) -> UnverifiedClaims:  # noqa: ANN401 - claims are whatever an issuer writes
    return UnverifiedClaims(members, b"")


@pytest.fixture
def answers(jwks: str) -> MakeEvidence:
    """Return the answers of a plain cluster, with what a test wants to be otherwise."""
    plain = Evidence(
        server="https://10.0.0.1:6443",
        version="v1.34.1",
        nodes=(Node("cp-1", "Ubuntu 24.04.1 LTS", "v1.34.1"),),
        discovery=Discovery(ISSUER, f"{ISSUER}/openid/v1/jwks", b""),
        jwks=jwks,
        claims=claims(iss=ISSUER, aud=[ISSUER]),
        publication=Publication(False, "10.0.0.1 is a name or an address of the inside; nobody was asked", is_inside=True),
    )
    return lambda **changed: replace(plain, **changed)
