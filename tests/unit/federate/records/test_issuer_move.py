# SPDX-License-Identifier: Apache-2.0
"""The order of a move to another issuer, what follows from each phase, and the way back."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from podpass.config.federation import BucketSettings, Federation, IssuerSettings, ProviderSettings
from podpass.errors import ConfigError, PlanError
from podpass.federate.records.issuer_move import IssuerMove, MovePhase, Standing
from podpass.names import Issuer

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)
DAY = timedelta(hours=24)
POOL = "workload-identity-demo"
FORMER = Standing("wif-demo-oidc", "https://10.0.0.1:6443", "inline")
COMING = Standing("cluster-2", "https://storage.googleapis.com/shop-oidc", "bucket", BucketSettings("shop-oidc", "EU"))
BEGUN = IssuerMove.begin(POOL, FORMER, COMING, DAY)
TELLING = BEGUN.published()
ACCEPTING = TELLING.told(NOW)
SWITCHING = ACCEPTING.stepped()
CONFIGURING = SWITCHING.switched(NOW)
WAITING = CONFIGURING.stepped()
DROPPING = WAITING.stepped()
FORGETTING = DROPPING.stepped()
DONE = FORGETTING.stepped()
FORWARD = [BEGUN, TELLING, ACCEPTING, SWITCHING, CONFIGURING, WAITING, DROPPING, FORGETTING, DONE]
RELAPSED = WAITING.unswitched()


def test_the_steps_come_in_their_order() -> None:
    assert [one.phase for one in FORWARD] == list(MovePhase)
    assert SWITCHING.wait_ends is None
    assert WAITING.wait_ends == NOW + DAY


def test_both_providers_stand_from_before_the_first_new_token_until_after_the_last_old_one() -> None:
    assert [len(one.standings) for one in FORWARD] == [2, 2, 2, 2, 2, 2, 2, 1, 1]
    assert FORGETTING.standings == (COMING,)
    assert [one.is_listed for one in FORWARD] == [False, True, True, True, True, True, True, False, False]


def test_the_configurations_name_the_coming_provider_once_every_server_signs_for_it() -> None:
    assert [one.default for one in FORWARD] == [FORMER] * 4 + [COMING] * 5


def test_where_one_issuer_is_taken_at_a_time_nobody_is_asked_to_accept_both() -> None:
    abrupt = IssuerMove.begin(POOL, FORMER, COMING, DAY, is_abrupt=True).published().told(NOW)
    assert abrupt.phase is MovePhase.SWITCH


@pytest.mark.parametrize("early", [BEGUN, TELLING, ACCEPTING])
def test_before_the_switch_the_way_back_is_to_drop_what_nobody_has_signed_with(early: IssuerMove) -> None:
    back = early.turned_back()
    assert (back.phase, back.stays, back.leaves) == (MovePhase.DROP, FORMER, COMING)
    assert back.stepped().standings == (FORMER,)
    assert back.stepped().default == FORMER
    assert early.is_early
    assert not early.is_unused
    assert back.is_unused
    assert back.stepped().is_unused


@pytest.mark.parametrize("late", [SWITCHING, CONFIGURING, WAITING, RELAPSED])
def test_after_it_the_way_back_is_a_switch_of_its_own_with_the_wait_for_the_new_tokens(late: IssuerMove) -> None:
    back = late.turned_back()
    assert (back.phase, back.stays, back.switched_at) == (MovePhase.SWITCH, FORMER, None)
    assert back.default == late.default
    later = back.switched(NOW + DAY)
    assert not late.is_early
    assert not any(one.is_unused for one in (late, back, later, later.stepped(), later.stepped().stepped()))
    assert (later.default, later.stepped().wait_ends) == (FORMER, NOW + 2 * DAY)


@pytest.mark.parametrize("too_late", [DROPPING, FORGETTING, DONE])
def test_once_servers_may_refuse_the_former_issuer_there_is_no_way_back(too_late: IssuerMove) -> None:
    with pytest.raises(PlanError, match="cannot go back any more"):
        too_late.turned_back()
    with pytest.raises(PlanError, match="goes back already"):
        WAITING.turned_back().turned_back()


@pytest.mark.parametrize(
    "move", [*FORWARD, RELAPSED, *(one.turned_back() for one in FORWARD[:6]), replace(BEGUN, is_abrupt=True)], ids=lambda one: one.phase
)
def test_what_was_written_is_read_again(move: IssuerMove) -> None:
    assert IssuerMove.from_text(move.to_text(), origin="here") == move


@pytest.mark.parametrize(
    ("written", "forged"),
    [
        ("v1alpha1", "v9"),
        ('"IssuerMove"', '"Rotation"'),
        ('"phase": "wait"', '"phase": "rest"'),
        ('"phase": "wait"', '"phase": "publish"'),
        ('"isConfigured": true', '"isConfigured": false'),
        ('"longestTokenSeconds": 86400', '"longestTokenSeconds": -1'),
        ('"longestTokenSeconds": 86400', f'"longestTokenSeconds": {10**30}'),
        ('"switchedAt": "2026-11-22T08:00:00+00:00"', '"switchedAt": null'),
        ('"switchedAt": "2026-11-22T08:00:00+00:00"', '"switchedAt": "2026-11-22T08:00:00"'),
        ('"toldAt": "2026-11-22T08:00:00+00:00"', '"toldAt": null'),
        ("cluster-2", "wif-demo-oidc"),
        ("cluster-2", "UP"),
        ('"keys": "inline"', '"keys": "guess"'),
        ("https://10.0.0.1:6443", "http://10.0.0.1:6443"),
        ("https://10.0.0.1:6443", "https://10.0.0.1:6443/\\u009b2J"),
        ("https://10.0.0.1:6443", "https://storage.googleapis.com/shop-oidc"),
        ('"bucket": "shop-oidc"', '"bucket": "Not A Bucket"'),
    ],
)
def test_a_state_that_no_move_has_is_refused(written: str, forged: str) -> None:
    text = WAITING.to_text()
    assert written in text
    with pytest.raises(ConfigError, match="not a rotation that this podpass can read"):
        IssuerMove.from_text(text.replace(written, forged), origin="here")


@pytest.mark.parametrize("phase", ["drop", "forget", "done"])
def test_past_the_wait_without_a_switch_is_a_state_that_no_move_has(phase: str) -> None:
    text = WAITING.to_text().replace('"phase": "wait"', f'"phase": "{phase}"')
    assert IssuerMove.from_text(text, origin="here").phase == phase
    with pytest.raises(ConfigError, match="not a rotation that this podpass can read"):
        IssuerMove.from_text(text.replace('"switchedAt": "2026-11-22T08:00:00+00:00"', '"switchedAt": null'), origin="here")


def test_the_control_plane_is_not_taken_to_a_stage_before_its_time() -> None:
    assert [one.forbids("switch") for one in FORWARD] == [True] * 3 + [False] * 6
    assert [one.forbids("drop") for one in FORWARD] == [True] * 6 + [False] * 3
    assert WAITING.turned_back().forbids("switch")
    assert not any(one.forbids(stage) for one in (*FORWARD, WAITING.turned_back()) for stage in ("accept", "back"))


def test_a_file_may_name_either_end_and_nothing_else(with_google: Callable[..., Federation], federation: Federation) -> None:
    BEGUN.check_file(federation)
    coming = replace(with_google(provider=ProviderSettings(COMING.provider)), issuer=IssuerSettings(Issuer(COMING.issuer)))
    BEGUN.check_file(coming)
    elsewhere = with_google(provider=ProviderSettings("cluster-3"))
    for wrong in (elsewhere, replace(coming, issuer=IssuerSettings()), replace(federation, issuer=IssuerSettings(Issuer(COMING.issuer)))):
        with pytest.raises(PlanError, match="the file does not fit the move"):
            BEGUN.check_file(wrong)


def test_the_federation_of_one_end_is_what_a_file_for_it_would_say(federation: Federation) -> None:
    found = BEGUN.as_file(federation, COMING)
    assert found.google.provider.id == COMING.provider
    assert found.issuer == IssuerSettings(Issuer(COMING.issuer), "bucket", COMING.bucket)
