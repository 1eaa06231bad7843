# SPDX-License-Identifier: Apache-2.0
"""Whom a move may concern, whatever its state says."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from podpass.config.federation import BucketSettings, Federation, IssuerSettings
from podpass.federate.desired import desired
from podpass.federate.model.facts import Facts
from podpass.federate.model.marks import Mark
from podpass.federate.model.resource import Observed
from podpass.federate.ownership import move_witness
from podpass.federate.records.issuer_move import IssuerMove, Standing
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


BACK = BEGUN.turned_back()
OURS = {"provider/cluster-2", "bucket/shop-oidc"}


@pytest.fixture
def kept(federation: Federation, facts: Facts) -> Callable[..., set[str]]:
    """Return the addresses of what leaves that are still asked for, and whether the former provider takes its audience."""

    def of(move: IssuerMove, *, names_it: bool = False, **seen: Observed) -> set[str]:
        url = IssuerSettings(Issuer.parse(COMING.issuer), "inline") if names_it else federation.issuer
        file, here = replace(federation, issuer=url), replace(facts, issuer=FORMER.issuer)
        by_address = {{"provider": "provider/cluster-2", "bucket": "bucket/shop-oidc"}[name]: one for name, one in seen.items()}
        wanted = desired.resources(file, here, move)
        found = {one.address: one for one in move_witness.still_wanted(wanted, move, file, here, by_address)}
        assert found.keys() >= {one.address for one in desired.resources(file, here, move.undone)}
        audiences = found[f"provider/{FORMER.provider}"].body["oidc.allowedAudiences"]
        return {address for address in found if "cluster-2" in address or "shop-oidc" in address} | ({"audiences"} if audiences else set())

    return of


def test_of_what_leaves_on_a_way_back_before_any_token_nothing_is_made_and_what_is_there_is_kept(
    kept: Callable[..., set[str]], facts: Facts
) -> None:
    ours, trusted = Observed("present", mark=Mark("demo", facts.cluster)), trusting(COMING.issuer)
    assert kept(BEGUN) >= OURS | {"audiences"}
    assert kept(BACK) == kept(BACK, names_it=True) == kept(BACK.stepped()) == set()
    assert kept(BACK, provider=trusted, bucket=ours) == OURS | {"audiences"}
    assert kept(BACK, bucket=ours) == {"bucket/shop-oidc"}
    assert kept(BACK, provider=trusted) == {"provider/cluster-2", "audiences"}
    assert kept(BACK, provider=Observed("deleted", {"oidc.issuerUri": COMING.issuer})) == set()


def test_what_is_somebody_else_s_is_not_changed_by_a_state_that_claims_a_way_back(kept: Callable[..., set[str]]) -> None:
    stranger = trusting("https://stranger.example")
    assert kept(BACK, provider=stranger) == kept(BACK, provider=stranger, bucket=Observed("present")) == set()
    assert kept(BACK, names_it=True, provider=stranger) == set()


def test_nobody_has_to_speak_for_what_leaves_on_a_way_back_before_any_token(named: Named) -> None:
    for early in (BEGUN, BEGUN.published(), BEGUN.published().told(NOW)):
        assert named(early) == [COMING.issuer]
        assert named(early.turned_back()) == named(early.turned_back().stepped()) == []
    assert named(BEGUN.published().told(NOW).stepped().turned_back()) == [COMING.issuer]  # some server may have signed with it
    stranger = replace(BEGUN, former=replace(FORMER, issuer="https://stranger.example"))
    assert named(stranger.turned_back()) == ["https://stranger.example"]


def test_who_has_begun_the_move_is_told_how_to_take_it_back_while_that_can_be_done(federation: Federation, facts: Facts) -> None:
    here = replace(facts, issuer=FORMER.issuer)
    (early,) = move_witness.objections(BEGUN, federation, here, {})
    assert "or take it back with `podpass rotate --issuer --abort`." in early.next_step
    (late,) = move_witness.objections(BEGUN.published().told(NOW).stepped(), federation, here, {})
    assert "--abort" not in late.next_step
