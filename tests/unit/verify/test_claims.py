# SPDX-License-Identifier: Apache-2.0
import math
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpass.errors import (
    ConfigError,
    MalformedTokenError,
    TokenExpiredError,
    TokenNotYetValidError,
    WrongAudienceError,
    WrongIssuerError,
)
from podpass.verify import claims
from podpass.verify.claims import UnverifiedClaims
from token_forge import AUDIENCE, ISSUER, NOW, NOW_S, SUBJECT, compact_json, kubernetes_claims

MINUTE = timedelta(seconds=60)
NO_SKEW = timedelta(0)


def given_claims(**changed: Any) -> UnverifiedClaims:  # noqa: ANN401 - any JSON
    members = kubernetes_claims(**changed)
    return UnverifiedClaims(members, compact_json(members))


def test_a_projected_token_passes_every_check() -> None:
    token = given_claims()
    claims.check_lifetime(token, now=NOW, skew=NO_SKEW)
    claims.check_issued_at(token, now=NOW, skew=NO_SKEW)
    assert claims.check_issuer(token, ISSUER) == ISSUER
    assert claims.check_audience(token, [AUDIENCE]) == AUDIENCE
    assert claims.check_subject(token) == SUBJECT


@pytest.mark.parametrize(
    ("exp", "skew", "expired"),
    [
        (NOW_S, NO_SKEW, True),
        (NOW_S + 1, NO_SKEW, False),
        (NOW_S + 0.5, NO_SKEW, False),
        (NOW_S - 0.5, NO_SKEW, True),
        (NOW_S - 60, MINUTE, True),
        (NOW_S - 59, MINUTE, False),
        (NOW_S - 300, timedelta(seconds=300), True),
        (NOW_S - 299, timedelta(seconds=300), False),
        (0, MINUTE, True),
        (253_402_300_799, NO_SKEW, False),
    ],
)
def test_a_token_ends_at_exp_plus_skew(exp: float, skew: timedelta, expired: bool) -> None:  # noqa: FBT001 - a table's column
    token = given_claims(exp=exp, nbf=None)
    if expired:
        with pytest.raises(TokenExpiredError):
            claims.check_lifetime(token, now=NOW, skew=skew)
    else:
        claims.check_lifetime(token, now=NOW, skew=skew)


@pytest.mark.parametrize(
    ("begins", "skew", "early"),
    [
        (NOW_S, NO_SKEW, False),
        (NOW_S + 1, NO_SKEW, True),
        (NOW_S + 60, MINUTE, False),
        (NOW_S + 61, MINUTE, True),
        (NOW_S - 1, NO_SKEW, False),
    ],
)
def test_a_token_begins_at_nbf_and_iat_minus_skew(begins: int, skew: timedelta, early: bool) -> None:  # noqa: FBT001 - a table's column
    by_nbf, by_iat = given_claims(nbf=begins), given_claims(iat=begins)
    if early:
        with pytest.raises(TokenNotYetValidError):
            claims.check_lifetime(by_nbf, now=NOW, skew=skew)
        with pytest.raises(TokenNotYetValidError):
            claims.check_issued_at(by_iat, now=NOW, skew=skew)
    else:
        claims.check_lifetime(by_nbf, now=NOW, skew=skew)
        claims.check_issued_at(by_iat, now=NOW, skew=skew)


def test_nbf_and_iat_may_be_absent() -> None:
    token = given_claims(nbf=None, iat=None)
    claims.check_lifetime(token, now=NOW, skew=MINUTE)
    claims.check_issued_at(token, now=NOW, skew=MINUTE)


def test_a_token_without_exp_is_refused() -> None:
    with pytest.raises(MalformedTokenError) as caught:
        claims.check_lifetime(given_claims(exp=None), now=NOW, skew=MINUTE)
    assert str(caught.value) == (
        "The token has no `exp` claim. A token without an end is never accepted. "
        "Use a projected service account token; its issuer always sets exp."
    )


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize(
    "value", [True, False, "1800000000", "", [], {}, [1800000000], -1, -0.5, 253_402_300_800, 1e300, 10**400, math.nan, math.inf, -math.inf]
)
def test_a_date_is_a_json_number_between_1970_and_9999(name: str, value: object) -> None:
    token = UnverifiedClaims({**kubernetes_claims(), name: value}, b"")
    with pytest.raises(MalformedTokenError) as caught:
        claims.read_date(token, name)
    assert str(caught.value) == (
        f"The token's `{name}` claim is not a moment. It is not a JSON number of seconds between the years 1970 and 9999. "
        "Have the issuer write it as a number, seconds since 1970 UTC."
    )


@pytest.mark.parametrize("name", ["exp", "nbf"])
def test_a_date_that_is_null_is_no_absent_date(name: str) -> None:
    token = UnverifiedClaims({**kubernetes_claims(), name: None}, b"")
    with pytest.raises(MalformedTokenError, match=f"`{name}` claim is not a moment"):
        claims.check_lifetime(token, now=NOW, skew=MINUTE)


@given(st.floats(0, 253_402_300_799), st.integers(0, 300))
def test_exactly_the_moments_before_exp_plus_skew_are_accepted(exp: float, skew_s: int) -> None:
    token = UnverifiedClaims({"exp": exp}, b"")
    try:
        claims.check_lifetime(token, now=NOW, skew=timedelta(seconds=skew_s))
    except TokenExpiredError:
        assert NOW_S - skew_s >= exp
    else:
        assert NOW_S - skew_s < exp


@pytest.mark.parametrize("skew_s", [0, 60, 300])
def test_a_skew_of_up_to_five_minutes_is_accepted(skew_s: int) -> None:
    assert claims.check_skew(timedelta(seconds=skew_s)) == timedelta(seconds=skew_s)


@pytest.mark.parametrize("skew_s", [-1, 300.5, 86400])
def test_another_skew_is_refused_by_every_check_that_takes_one(skew_s: float) -> None:
    skew = timedelta(seconds=skew_s)
    expected = (
        f"A clock skew of {skew_s:g} s is not accepted. It is how far two clocks may differ, 0 s to 300 s; every second of it lengthens a "
        "token's life. Set the clocks by NTP and use 60 s or less."
    )
    for check in (claims.check_lifetime, claims.check_issued_at):
        with pytest.raises(ConfigError) as caught:
            check(given_claims(), now=NOW, skew=skew)
        assert str(caught.value) == expected
        assert caught.value.full_code == "config.skew"


def test_a_moment_without_time_zone_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="now must be timezone-aware"):
        claims.check_lifetime(given_claims(), now=datetime(2026, 3, 1), skew=MINUTE)  # noqa: DTZ001 - that is the mistake


@pytest.mark.parametrize(
    ("token", "text"),
    [
        (
            given_claims(exp=NOW_S - 65),
            (
                "The token expired at 2026-03-01T11:58:55Z, 65 s ago. Clocks may differ by 60 s, no more. "
                "Read the token file anew for each request: kubelet replaces the token after 80 % of its life."
            ),
        ),
        (
            given_claims(nbf=NOW_S + 90),
            (
                "The token is valid from 2026-03-01T12:01:30Z, 90 s from now. Clocks may differ by 60 s, no more. "
                "Compare the clock of this machine with that of the issuer."
            ),
        ),
    ],
    ids=["expired", "not-yet-valid"],
)
def test_messages_of_the_lifetime(token: UnverifiedClaims, text: str) -> None:
    with pytest.raises((TokenExpiredError, TokenNotYetValidError)) as caught:
        claims.check_lifetime(token, now=NOW, skew=MINUTE)
    assert str(caught.value) == text
    assert caught.value.full_code in {"token.expired", "token.not-yet-valid"}


def test_message_of_a_token_from_the_future() -> None:
    with pytest.raises(TokenNotYetValidError) as caught:
        claims.check_issued_at(given_claims(iat=NOW_S + 90), now=NOW, skew=MINUTE)
    assert caught.value.what == "The token was issued at 2026-03-01T12:01:30Z, 90 s from now."


@pytest.mark.parametrize("found", [ISSUER + "/", ISSUER.upper(), "https://oidc.example", ISSUER + "\0", " " + ISSUER])
def test_issuers_are_compared_byte_for_byte(found: str) -> None:
    with pytest.raises(WrongIssuerError) as caught:
        claims.check_issuer(given_claims(iss=found), ISSUER)
    assert caught.value.what == f"The token comes from issuer {found!r}, not from {ISSUER!r}."
    assert caught.value.full_code == "token.wrong-issuer"


def test_a_slash_too_many_is_pointed_out() -> None:
    with pytest.raises(WrongIssuerError) as caught:
        claims.check_issuer(given_claims(iss=ISSUER + "/"), ISSUER)
    assert str(caught.value) == (
        f"The token comes from issuer '{ISSUER}/', not from '{ISSUER}'. Issuers are compared byte for byte; a slash at the end counts. "
        "Configure the issuer exactly as the tokens carry it in `iss`, or send a token of the configured one."
    )


@pytest.mark.parametrize(("value", "word"), [(None, "missing"), ("", "empty"), (7, "not a string"), ([SUBJECT], "not a string")])
@pytest.mark.parametrize("name", ["iss", "sub"])
def test_issuer_and_subject_are_strings_that_say_something(name: str, value: object, word: str) -> None:
    token = given_claims(**{name: value})
    with pytest.raises(MalformedTokenError) as caught:
        _ = claims.check_issuer(token, ISSUER) if name == "iss" else claims.check_subject(token)
    assert str(caught.value) == f"The token's `{name}` claim is {word}. Use a token whose issuer sets `{name}`; Kubernetes always does."


@pytest.mark.parametrize("aud", [AUDIENCE, [AUDIENCE], ["other", AUDIENCE]])
def test_one_audience_of_the_token_is_enough(aud: object) -> None:
    assert claims.check_audience(given_claims(aud=aud), ("x", AUDIENCE)) == AUDIENCE


@pytest.mark.parametrize("aud", ["other", ["other"], [], "", "orders", "orders-api ", "ORDERS-API"])
def test_other_audiences_are_refused(aud: object) -> None:
    with pytest.raises(WrongAudienceError):
        claims.check_audience(given_claims(aud=aud), (AUDIENCE,))


@pytest.mark.parametrize("aud", [None, 7, {"orders-api": 1}, [7], [AUDIENCE, None], [[AUDIENCE]], True])
def test_an_audience_of_another_type_is_malformed(aud: object) -> None:
    with pytest.raises(MalformedTokenError) as caught:
        claims.check_audience(given_claims(aud=aud), (AUDIENCE,))
    said = "is missing" if aud is None else "is neither a string nor a list of strings"
    assert str(caught.value) == (
        f"The token's `aud` claim {said}. A token that names nobody as its audience could be used against everybody. "
        "Ask the cluster for a token with an audience: a projected serviceAccountToken with `audience`."
    )


def test_the_default_token_of_a_cluster_is_recognized() -> None:
    with pytest.raises(WrongAudienceError) as caught:
        claims.check_audience(given_claims(aud=[ISSUER]), (AUDIENCE,))
    assert str(caught.value) == (
        f"The token is meant for '{ISSUER}', not for 'orders-api'. "
        "That audience is the cluster's own: the caller sent its default token. "
        "Add a projected serviceAccountToken with audience 'orders-api' to the pod and send that one."
    )
    assert caught.value.full_code == "token.wrong-audience"


def test_without_an_accepted_audience_every_token_is_refused() -> None:
    with pytest.raises(WrongAudienceError) as caught:
        claims.check_audience(given_claims(aud=[]), ())
    assert str(caught.value) == "The token is meant for nobody, not for anybody: no audience is accepted here."


def test_a_message_quotes_what_a_hostile_token_holds_safely_and_briefly() -> None:
    with pytest.raises(WrongIssuerError) as caught:
        claims.check_issuer(given_claims(iss="line\nend\x1b[2J" + "x" * 5000), ISSUER)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert "(5012 characters)" in str(caught.value)


def test_a_message_names_five_audiences_at_most() -> None:
    with pytest.raises(WrongAudienceError) as caught:
        claims.check_audience(given_claims(aud=[f"a{number}" for number in range(9)]), [f"b{number}" for number in range(9)])
    assert caught.value.what == "The token is meant for 'a0', 'a1', 'a2', 'a3', 'a4', not for 'b0' or 'b1' or 'b2' or 'b3' or 'b4'."
