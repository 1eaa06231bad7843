# SPDX-License-Identifier: Apache-2.0
"""Whom a move may concern, whatever its state says."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from podpass.config.federation import BucketSettings, Federation, IssuerSettings
from podpass.federate import move_witness
from podpass.federate.facts import Facts
from podpass.federate.issuer_move import IssuerMove, Standing
from podpass.federate.marks import Mark
from podpass.federate.resource import Observed
from podpass.names import Issuer

FORMER = Standing("wif-demo-oidc", "https://10.0.0.1:6443", "inline")
COMING = Standing("cluster-2", "https://storage.googleapis.com/shop-oidc", "bucket", BucketSettings("shop-oidc"))
BEGUN = IssuerMove.begin("workload-identity-demo", FORMER, COMING, timedelta(hours=1))
NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)
FORGETTING = BEGUN.published().told(NOW).stepped().switched(NOW).stepped().stepped().stepped()
Named = Callable[..., list[str]]


def trusting(issuer: str) -> Observed:
    return Observed("present", {"oidc.issuerUri": issuer})


@pytest.fixture
def named(federation: Federation, facts: Facts) -> Named:
    """Return the issuers that are objected to."""

    def of(move: IssuerMove, url: str = "keep", issuer: str = FORMER.issuer, **seen: Observed) -> list[str]:
        file = federation if url == "keep" else replace(federation, issuer=IssuerSettings(Issuer.parse(url), "inline"))
        by_address = {f"provider/{name.replace('_', '-')}": one for name, one in seen.items()}
        by_address |= {f"bucket/{name.removeprefix('provider/bucket-')}": one for name, one in by_address.items() if "bucket-" in name}
        found = move_witness.objections(move, file, replace(facts, issuer=issuer), by_address)
        return [one for objection in found for one in (FORMER.issuer, COMING.issuer, "https://stranger.example") if one in objection.what]

    return of


def test_the_state_alone_is_no_witness(named: Named) -> None:
    assert named(BEGUN) == [COMING.issuer]
    assert named(BEGUN, cluster_2=Observed("deleted", {"oidc.issuerUri": COMING.issuer})) == [COMING.issuer]
    assert named(BEGUN, bucket_shop_oidc=Observed("present", mark=Mark("demo", "another"))) == [COMING.issuer]


def test_the_file_the_cluster_google_and_our_mark_on_the_bucket_are_witnesses(named: Named, facts: Facts) -> None:
    assert named(BEGUN, COMING.issuer) == []
    assert named(BEGUN, FORMER.issuer, COMING.issuer) == []
    assert named(BEGUN, cluster_2=trusting(COMING.issuer)) == []
    assert named(BEGUN, bucket_shop_oidc=Observed("present", mark=Mark("demo", facts.cluster))) == []


def test_a_provider_is_not_given_another_issuer_by_a_file_that_keeps_the_clusters(named: Named) -> None:
    forged = replace(BEGUN, former=replace(FORMER, issuer="https://stranger.example"))
    seen = {"wif_demo_oidc": trusting(FORMER.issuer), "cluster_2": trusting(COMING.issuer)}
    assert named(forged, **seen) == ["https://stranger.example"]


def test_a_bucket_is_not_made_public_for_an_issuer_that_it_does_not_publish(named: Named) -> None:
    forged = replace(BEGUN, former=replace(FORMER, keys="bucket", bucket=BucketSettings("salaries")))
    assert named(forged, COMING.issuer) == [FORMER.issuer]


def test_at_its_end_the_provider_that_has_gone_is_missed_by_nobody(named: Named) -> None:
    assert named(FORGETTING, COMING.issuer, COMING.issuer) == []
