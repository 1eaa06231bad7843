# SPDX-License-Identifier: Apache-2.0
"""The move of an issuer: the order of its stages, where it goes on, and what it never writes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpass.errors import ConfigError, UnexpectedAnswerError, UnsafePlanError
from podpass.federate.clusters.evidence import Evidence
from podpass.federate.clusters.flags import ServiceAccountFlags
from podpass.federate.clusters.google_audience import is_google_audience
from podpass.federate.clusters.move import Move, plan_move
from podpass.federate.clusters.portrait import draw
from podpass.kube.issuer import Discovery
from podpass.names import Issuer
from unit.federate.clusters.recorded import CLUSTERS

OLD, NEW = "https://10.0.0.1:6443", "https://storage.googleapis.com/demo-oidc"
GOOGLE = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/o"
USER = "vault"
BEFORE = ServiceAccountFlags(issuers=(OLD,), api_audiences=(OLD, USER), key_files=("/a.pub", "/b.pub"), jwks_uri="https://x/keys")


def stages(before: ServiceAccountFlags, *, several: bool = True) -> dict[str, ServiceAccountFlags]:
    return {stage.name: stage.flags for stage in Move(before, NEW).left(several=several)}


def test_both_are_accepted_before_the_new_one_signs_and_the_old_one_goes_last() -> None:
    accept, switch, drop = stages(BEFORE).items()
    assert (accept[0], accept[1].issuers) == ("accept", (OLD, NEW))
    assert (switch[0], switch[1].issuers) == ("switch", (NEW, OLD))
    assert (drop[0], drop[1].issuers) == ("drop", (NEW,))
    assert accept[1].api_audiences == switch[1].api_audiences == (OLD, USER, NEW)
    assert drop[1].api_audiences == (USER, NEW)


def test_what_the_user_gave_besides_stays() -> None:
    assert all(replace(flags, issuers=(OLD,), api_audiences=(OLD, USER)) == BEFORE for flags in stages(BEFORE).values())


def test_a_move_goes_on_where_the_cluster_stands() -> None:
    before = stages(BEFORE)
    assert list(stages(before["accept"])) == ["switch", "drop"]
    assert list(stages(before["switch"])) == ["drop"]
    assert list(stages(before["drop"])) == []


def test_a_stage_that_has_reached_some_servers_only_is_not_done() -> None:
    before = stages(BEFORE)
    commands = [("kube-apiserver", *(f"--{name}={value}" for name, value in flags.settings())) for flags in (before["accept"], BEFORE)]
    evidence = replace(CLUSTERS["talos-1.13.9"], commands=tuple(commands))
    move = plan_move(evidence, draw(evidence), Issuer(NEW))
    assert [stage.name for stage in move.left(several=True)] == ["accept", "switch", "drop"]
    assert move.left(several=True)[0].flags.issuers == (OLD, NEW)
    half = Move(before["accept"], NEW, servers=(before["switch"], before["accept"]))
    assert [stage.name for stage in half.left(several=True)] == ["switch", "drop"]


def test_servers_that_take_one_issuer_have_one_stage() -> None:
    (flags,) = stages(BEFORE, several=False).values()
    assert (flags.issuers, flags.api_audiences) == ((NEW,), (OLD, USER, NEW))
    assert stages(flags, several=False) == {}


def test_defaults_are_written_out_since_the_flag_drops_them() -> None:
    assert stages(ServiceAccountFlags(issuers=(OLD,)))["accept"].api_audiences == (OLD, NEW)


_audience = st.sampled_from([OLD, NEW, USER, GOOGLE, f"https:{GOOGLE}", "p.svc.id.goog", "https://sts.googleapis.com"])


@given(st.lists(_audience, unique=True), st.lists(st.sampled_from([OLD, NEW, "https://third"]), min_size=1, unique=True), st.booleans())
def test_googles_audience_is_in_nothing_that_is_written(audiences: list[str], issuers: list[str], several: bool) -> None:  # noqa: FBT001 - hypothesis
    before = ServiceAccountFlags(issuers=tuple(issuers), api_audiences=tuple(audiences))
    for flags in stages(before, several=several).values():
        assert not [one for one in flags.api_audiences if is_google_audience(one)]
        assert len(set(flags.issuers)) == len(flags.issuers)  # kube-apiserver does not start with one given twice
        assert NEW in flags.accepted_audiences


def test_an_audience_of_googles_alone_is_reason_enough_for_a_stage() -> None:
    done = ServiceAccountFlags(issuers=(NEW,), api_audiences=(NEW, GOOGLE))
    assert {name: flags.api_audiences for name, flags in stages(done).items()} == {"drop": (NEW,)}


def test_the_last_stage_is_taken_back_as_long_as_somebody_knows_the_old_issuer() -> None:
    after = stages(BEFORE)
    assert Move(after["accept"], NEW).back().issuers == (OLD,)
    assert Move(after["accept"], NEW).back().api_audiences == (OLD, USER)
    assert Move(after["switch"], NEW).back() == after["accept"]
    half = Move(after["switch"], NEW, servers=(after["switch"], after["accept"]))
    assert half.back() == after["accept"]
    with pytest.raises(UnsafePlanError, match="do not know the old issuer any more"):
        Move(after["drop"], NEW).back()


def test_what_machines_are_told_counts_more_than_what_their_pods_show() -> None:
    evidence = CLUSTERS["talos-1.13.9"]
    told = (stages(BEFORE)["switch"],) * 3
    assert [stage.name for stage in plan_move(evidence, draw(evidence), Issuer(NEW), told).left(several=True)] == ["drop"]


def test_the_end_of_the_last_token_is_computed() -> None:
    switched = datetime(2026, 3, 1, tzinfo=UTC)
    assert Move(BEFORE, NEW, timedelta(days=365)).old_ends(switched) == datetime(2027, 3, 1, tzinfo=UTC)
    assert Move(BEFORE, NEW, None).old_ends(switched) is None


@pytest.mark.parametrize("name", CLUSTERS)
def test_a_move_begins_with_what_the_cluster_has(name: str) -> None:
    evidence = CLUSTERS[name]
    assert evidence.discovery
    move = plan_move(evidence, draw(evidence), Issuer(NEW))
    assert move.before.issuers == (evidence.discovery.issuer,)
    assert evidence.discovery.issuer in move.both
    assert move.longest == timedelta(days=365)


def test_a_move_from_an_unknown_issuer_is_refused() -> None:
    blind = Evidence("https://10.0.0.1:6443", "v1.34.1")
    with pytest.raises(ConfigError, match="issuer is not known"):
        plan_move(blind, draw(blind), Issuer(NEW))


@pytest.mark.parametrize("hostile", ["https://a\nEND\nrm -rf /", "https://a b", "https://a,https://b"])
def test_words_that_would_not_stay_words_of_a_command_are_refused(hostile: str) -> None:
    evidence = replace(CLUSTERS["microk8s"], discovery=Discovery(hostile, "", b""))
    with pytest.raises(UnexpectedAnswerError):
        plan_move(evidence, draw(evidence), Issuer(NEW))
