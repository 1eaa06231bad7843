# SPDX-License-Identifier: Apache-2.0
"""A federation and the facts that it meets, to vary."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from podpass.config.federation import (
    CredentialsSettings,
    Federation,
    GoogleSettings,
    PoolSettings,
    ProviderSettings,
    Source,
    Workload,
)
from podpass.federate.model.facts import Facts
from podpass.names import GoogleServiceAccount, ServiceAccountRef
from podpass.verify.jwks import KeySet, VerificationKey

WORKLOAD = ServiceAccountRef("default", "workload-identity-demo")


@pytest.fixture(scope="session")
def jwks() -> str:
    keys = (rsa.generate_private_key(65537, 2048).public_key(), ec.generate_private_key(ec.SECP256R1()).public_key())
    return KeySet.of(VerificationKey.of(key) for key in keys).canonical_json()


@pytest.fixture
def facts(jwks: str) -> Facts:
    return Facts(
        cluster="cluster-a",
        issuer="https://10.0.0.1:6443",
        jwks=jwks,
        project="demo-project",
        project_number="415104041262",
        account_uids={WORKLOAD: "uid-of-the-account"},
        api_audiences=frozenset({"https://10.0.0.1:6443"}),
    )


@pytest.fixture
def workload() -> Workload:
    account = GoogleServiceAccount.parse("wif-demo-sa", project="demo-project")
    settings = CredentialsSettings("sts-config")
    return Workload(WORKLOAD, account, roles=("roles/storage.admin",), credentials=settings)


@pytest.fixture
def federation(workload: Workload) -> Federation:
    google = GoogleSettings("demo-project", PoolSettings("workload-identity-demo", "Demo"), ProviderSettings("wif-demo-oidc"))
    return Federation("demo", google, workloads=(workload,), source=Source(Path("podpass.yaml")))


@pytest.fixture
def with_google(federation: Federation) -> Callable[..., Federation]:
    def change(**values: object) -> Federation:
        return replace(federation, google=replace(federation.google, **values))  # type: ignore[arg-type]  # the caller knows the fields

    return change
