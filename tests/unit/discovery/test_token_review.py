# SPDX-License-Identifier: Apache-2.0
"""TokenReview as a second opinion: nobody waits in it, verdicts are short-lived, doubt is 503 and a no is 401."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from key_hangar import Hangar
from podpass.discovery.origin import Published
from podpass.discovery.token_review import TokenReviewer, judge
from podpass.errors import ConfigError, ReviewUnavailableError, TokenRevokedError, UnreachableError
from podpass.guard import Reviewer
from podpass.names import Audience, Issuer, Secret
from podpass.verify import KeySet, VerificationKey, Verifier
from podpass.verify.identity import Identity
from token_forge import AUDIENCE, ISSUER, NOW, SUBJECT, ec_signer, kubernetes_claims

SECOND = timedelta(seconds=1)
GOOD = {"authenticated": True, "user": {"username": SUBJECT}, "audiences": [AUDIENCE]}


class FakeApi:
    """An API server whose opinion tests set."""

    def __init__(self) -> None:
        self.status: Mapping[str, Any] | Exception = GOOD
        self.asked: list[str] = []

    def keys(self, algorithms: Collection[str] = ()) -> Published:
        raise NotImplementedError

    def review(self, token: Secret[str], audience: str) -> Mapping[str, Any]:
        assert audience == AUDIENCE
        self.asked.append(token.reveal())
        if isinstance(self.status, Exception):
            raise self.status
        return self.status

    def __str__(self) -> str:
        return "the API server https://10.0.0.1:443"


class Desk:
    """A reviewer, with all that it stands on."""

    def __init__(self, life: timedelta = 10 * SECOND) -> None:
        self.api, self.hangar = FakeApi(), Hangar()
        self.reviewer: Reviewer = TokenReviewer(self.api, life=life, launch=self.hangar.launch)

    def review(self, token: str = "t", now: datetime = NOW) -> None:
        self.reviewer.review(Secret(token, "subject token"), IDENTITY, now=now)

    def doubt(self, token: str = "t", now: datetime = NOW) -> ReviewUnavailableError:
        with pytest.raises(ReviewUnavailableError) as caught:
            self.review(token, now)
        return caught.value


def _identity() -> Identity:
    keys = KeySet.of([VerificationKey.of(ec_signer().key.public_key(), ec_signer().kid)])
    verifier = Verifier(issuer=Issuer(ISSUER), audiences=[Audience(AUDIENCE)], keys=keys)
    return Identity.of(verifier.verify(ec_signer().token(kubernetes_claims()), now=NOW), issuer_name="c", kind="kubernetes")


IDENTITY = _identity()


def test_a_token_is_asked_about_once_and_the_verdict_holds_for_ten_seconds() -> None:
    desk = Desk()
    first, second = desk.doubt(), desk.doubt()
    assert first.flight is second.flight is not None
    desk.hangar.land()
    desk.review()
    desk.review(now=NOW + 9.9 * SECOND)
    assert desk.api.asked == ["t"]
    assert desk.doubt(now=NOW + 10 * SECOND).flight is not None


def test_a_verdict_of_later_is_none_either() -> None:
    """The clock was set back."""
    desk = Desk()
    desk.doubt()
    desk.hangar.land()
    assert desk.doubt(now=NOW - SECOND).flight is not None


def test_a_token_of_a_deleted_pod_is_refused_with_the_servers_own_words() -> None:
    desk = Desk()
    words = "[invalid bearer token, service account token has been invalidated]"
    desk.api.status = {"user": {}, "error": words}
    desk.doubt()
    desk.hangar.land()
    with pytest.raises(TokenRevokedError) as caught:
        desk.review()
    assert str(caught.value) == (
        "The API server does not stand by the token of 'system:serviceaccount:shop:checkout' any more. "
        f"It says: {words}. Its pod or service account is gone, or was made anew: use the token of one that runs."
    )


def test_each_token_has_a_verdict_of_its_own() -> None:
    desk = Desk()
    desk.doubt("good")
    desk.hangar.land()
    desk.api.status = {}
    desk.doubt("bad")
    desk.hangar.land()
    desk.review("good")
    with pytest.raises(TokenRevokedError):
        desk.review("bad")


@pytest.mark.parametrize(
    "status",
    [
        pytest.param({}, id="empty"),
        pytest.param({**GOOD, "authenticated": False}, id="no"),
        pytest.param({**GOOD, "authenticated": "true"}, id="a string"),
        pytest.param({**GOOD, "authenticated": 1}, id="a number"),
        pytest.param({**GOOD, "audiences": []}, id="no audience"),
        pytest.param({**GOOD, "audiences": None}, id="audiences are null"),
        pytest.param({**GOOD, "audiences": AUDIENCE}, id="the audience as a string"),
        pytest.param({**GOOD, "audiences": ["https://kubernetes.default.svc"]}, id="the API server's audience"),
        pytest.param({**GOOD, "user": {"username": "system:serviceaccount:shop:other"}}, id="another account"),
        pytest.param({**GOOD, "user": SUBJECT}, id="no user"),
        pytest.param({"error": 5}, id="an error that is no text"),
    ],
)
def test_whatever_is_not_a_plain_yes_is_a_no(status: Mapping[str, Any]) -> None:
    assert judge(GOOD, IDENTITY) == ""
    assert judge(status, IDENTITY).endswith(".")


def test_a_token_in_the_servers_words_is_not_repeated() -> None:
    assert "eyJ" not in judge({"error": "bad token eyJhbGciOiJFUzI1NiJ9.e30.c2ln"}, IDENTITY)


@pytest.mark.parametrize("error", [UnreachableError("The API server gave no answer."), ZeroDivisionError()])
def test_a_server_that_does_not_answer_is_asked_again_after_a_pause_and_nobody_is_accused(error: Exception) -> None:
    desk = Desk()
    desk.api.status = error
    desk.doubt()
    desk.hangar.land()
    later = desk.doubt("another")
    assert later.flight is None
    assert later.retry_after_s == 2
    assert desk.api.asked == ["t"]
    desk.api.status = GOOD
    assert desk.doubt(now=NOW + 2 * SECOND).flight is not None
    desk.hangar.land()
    desk.review(now=NOW + 2 * SECOND)


def test_a_crowd_of_tokens_is_bounded() -> None:
    desk = Desk()
    errors = [desk.doubt(f"t{number}") for number in range(100)]
    assert desk.hangar.flights == 64
    assert [error.flight is None for error in errors] == [False] * 64 + [True] * 36


def test_verdicts_are_bounded() -> None:
    desk = Desk()
    for number in range(5000):
        desk.doubt(f"t{number}")
        desk.hangar.land()
    reviewer = cast("TokenReviewer", desk.reviewer)
    assert len(reviewer._verdicts) <= 4096
    desk.review("t4999")
    desk.doubt("new", NOW + 11 * SECOND)
    desk.hangar.land()
    assert len(reviewer._verdicts) == 1


def test_a_verdict_is_for_one_audience() -> None:
    desk = Desk()
    desk.doubt()
    desk.hangar.land()
    other = cast("Identity", SimpleNamespace(audience="other", subject=SUBJECT))
    with pytest.raises(ReviewUnavailableError):
        desk.reviewer.review(Secret("t", "subject token"), other, now=NOW)


@pytest.mark.parametrize("life", [timedelta(), 4 * SECOND, 11 * SECOND])
def test_a_verdict_holds_for_5_to_10_seconds(life: timedelta) -> None:
    with pytest.raises(ConfigError, match="Choose 5 s to 10 s"):
        Desk(life)


def test_a_process_that_ends_does_not_ask_any_more() -> None:
    def launch(_: object) -> Any:  # noqa: ANN401 - it returns nothing
        raise RuntimeError("cannot schedule new futures after shutdown")

    with pytest.raises(ReviewUnavailableError) as caught:
        TokenReviewer(FakeApi(), launch=launch).review(Secret("t", "subject token"), IDENTITY, now=NOW)
    assert caught.value.flight is None


def test_after_a_fork_the_parents_flights_are_not_waited_for() -> None:
    desk = Desk()
    flight = desk.doubt().flight
    cast("TokenReviewer", desk.reviewer).wake_in_child()
    assert desk.doubt().flight is not flight
