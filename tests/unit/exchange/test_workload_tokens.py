# SPDX-License-Identifier: Apache-2.0
"""The token cache, flight by flight: what is asked of Google when, and what callers get meanwhile."""

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from traceback import TracebackException
from typing import TypeVar

import pytest

from google_desk import ACCOUNT, FakeSource, GoogleDesk, oauth_refusal, refusal
from key_hangar import Hangar
from loopback_server import Reply
from podpass.clock import SteppedClock
from podpass.errors import (
    ConfigError,
    ExchangeRefusedError,
    ExchangeUnavailableError,
    ImpersonationRefusedError,
    PodpassError,
    SourceUnavailableError,
    UnexpectedAnswerError,
)
from podpass.exchange.schedule import TokenSchedule
from podpass.exchange.workload_tokens import WorkloadTokens
from podpass.names import GoogleServiceAccount
from token_forge import NOW

T = TypeVar("T")

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
PERMISSION_DENIED = refusal(403, "PERMISSION_DENIED", "Permission 'iam.serviceAccounts.getAccessToken' denied on resource.")
SCOPES = ("https://www.googleapis.com/auth/devstorage.read_only",)


class Bench:
    """A cache without threads: fetches happen when they are told to, in steps of a clock."""

    def __init__(self, account: GoogleServiceAccount | None = ACCOUNT, limit: int = 64) -> None:
        self.clock = SteppedClock(NOW)
        self.desk = GoogleDesk(self.clock)
        self.source = FakeSource()
        self.hangar = Hangar()
        self.tokens = WorkloadTokens(
            self.source,
            self.desk.exchanger(account),
            clock=self.clock,
            limit=limit,
            patience_s=0,
            launch=self.hangar.launch,
            chance=lambda: 0.5,
            sleep=lambda seconds: self.clock.step(timedelta(seconds=seconds)),
        )

    def get(self, ask: Callable[[], T]) -> T:
        """Ask, let the fetch that it needs land, and ask again."""
        try:
            return ask()
        except ExchangeUnavailableError as error:
            if error.flight is None:
                raise
        self.hangar.land()
        return ask()

    def access(self, scopes: tuple[str, ...] | None = None) -> str:
        """Return an access token's value."""
        return self.get(lambda: self.tokens.access_token(scopes)).value.reveal()

    def identity(self, audience: str = "https://orders.example") -> str:
        """Return an ID token's value."""
        return self.get(lambda: self.tokens.id_token(audience)).value.reveal()


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_an_access_token_costs_one_exchange_and_one_impersonation_while_it_lives(bench: Bench) -> None:
    assert {bench.access() for _ in range(50)} == {"ya29.account-2"}
    assert bench.desk.counts == {"token": 1, "generateAccessToken": 1}


def test_direct_access_is_one_exchange_for_each_set_of_scopes() -> None:
    bench = Bench(account=None)
    assert [bench.access(), bench.access(SCOPES), bench.access(), bench.access(SCOPES)] == ["ya29.federated-1", "ya29.federated-2"] * 2
    assert [asked["scope"] for _, asked in bench.desk.asked] == ["https://www.googleapis.com/auth/cloud-platform", SCOPES[0]]


def test_one_federated_token_serves_every_token_of_the_account(bench: Bench) -> None:
    bench.access()
    bench.access(SCOPES)
    bench.identity()
    bench.identity("https://other.example")
    bench.tokens.sign(b"text")
    assert bench.desk.counts == {"token": 1, "generateAccessToken": 2, "generateIdToken": 2, "signBlob": 1}


def test_the_default_scopes_by_name_are_the_default_token(bench: Bench) -> None:
    assert bench.access() == bench.access(bench.tokens.exchanger.scopes) == bench.access(())
    assert bench.desk.counts["generateAccessToken"] == 1


def test_at_80_percent_of_its_life_a_token_is_renewed_and_nobody_waits(bench: Bench) -> None:
    first = bench.access()
    bench.clock.step(50 * MINUTE)
    assert (bench.access(), bench.hangar.flights) == (first, 1)
    bench.clock.step(2 * MINUTE)
    assert (bench.access(), bench.access(), bench.hangar.flights) == (first, first, 2)
    bench.hangar.land()
    assert bench.access() != first
    assert bench.desk.counts["generateAccessToken"] == 2


def test_the_renewed_token_is_good_for_another_hour(bench: Bench) -> None:
    for _ in range(100):
        bench.access()
        bench.hangar.land()
        assert bench.tokens.access_token().expires_at - bench.clock.now() > 5 * MINUTE
        bench.clock.step(3 * MINUTE)
    assert bench.desk.counts["generateAccessToken"] == 6


def test_an_id_token_ends_with_its_own_exp(bench: Bench) -> None:
    bench.desk.life = 20 * MINUTE
    token = bench.get(lambda: bench.tokens.id_token("https://orders.example"))
    assert token.expires_at == NOW + 20 * MINUTE
    assert bench.desk.asked[-1] == ("generateIdToken", {"audience": "https://orders.example", "includeEmail": True})


def test_the_subject_token_is_read_anew_for_each_exchange(bench: Bench) -> None:
    bench.access()
    bench.source.token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ5In0.c2ln"
    bench.clock.step(61 * MINUTE)
    bench.access()
    assert [asked["subject_token"] for verb, asked in bench.desk.asked if verb == "token"][-1] == bench.source.token


def test_a_federated_token_that_google_does_not_accept_any_more_is_exchanged_anew(bench: Bench) -> None:
    bench.access()
    bench.desk.revoked.add("ya29.federated-1")
    assert bench.identity()
    assert bench.desk.counts == {"token": 2, "generateAccessToken": 1, "generateIdToken": 2}


def test_a_federated_token_that_is_never_accepted_costs_two_tries_and_then_a_refusal(bench: Bench) -> None:
    bench.desk.weather["generateIdToken"] = lambda: refusal(401, "UNAUTHENTICATED", "No.")
    for _ in range(3):
        with pytest.raises(ImpersonationRefusedError, match="401 UNAUTHENTICATED"):
            bench.identity()
    assert bench.desk.counts == {"token": 2, "generateIdToken": 2}


REFUSALS: dict[str, tuple[str, Reply, type[PodpassError]]] = {
    "exchange": ("token", oauth_refusal("unauthorized_client", "rejected by the attribute condition."), ExchangeRefusedError),
    "impersonation": ("generateAccessToken", PERMISSION_DENIED, ImpersonationRefusedError),
}


@pytest.mark.parametrize(("verb", "reply", "kind"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_holds_for_ten_seconds(bench: Bench, verb: str, reply: Reply, kind: type[PodpassError]) -> None:
    bench.desk.weather[verb] = lambda: reply
    for _ in range(100):
        with pytest.raises(kind):
            bench.access()
        bench.clock.step(timedelta(milliseconds=99))
    assert bench.desk.counts[verb] == 1
    bench.clock.step(SECOND)
    bench.desk.weather.clear()
    assert bench.access()


def test_a_refused_subject_token_is_refused_for_every_audience_at_once(bench: Bench) -> None:
    bench.desk.weather["token"] = lambda: oauth_refusal("invalid_target", "The target service is invalid.")
    for number in range(500):
        with pytest.raises(ExchangeRefusedError):
            bench.identity(f"https://{number}.example")
    assert bench.desk.counts == {"token": 1}


def test_a_renewal_that_is_refused_leaves_the_living_token_in_place(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    first = bench.access()
    bench.desk.weather["generateAccessToken"] = lambda: PERMISSION_DENIED
    bench.clock.step(52 * MINUTE)
    for _ in range(300):  # five minutes
        assert bench.access() == first
        bench.hangar.land()
        bench.clock.step(SECOND)
    assert bench.desk.counts["generateAccessToken"] == 1 + 30
    assert "There is no new access token: Google refused a token of the service account" in caplog.text
    bench.clock.step(3 * MINUTE)
    with pytest.raises(ImpersonationRefusedError):
        bench.access()


def test_a_missing_file_is_looked_for_once_a_second_and_accuses_nobody_else(bench: Bench) -> None:
    bench.source.go_away()
    for _ in range(10):
        with pytest.raises(SourceUnavailableError):
            bench.access()
    assert bench.source.reads == 1
    bench.source.error = None
    bench.clock.step(SECOND * 10)
    assert bench.access()


def test_without_an_account_an_id_token_is_told_to_need_one() -> None:
    bench = Bench(account=None)
    for ask in (lambda: bench.tokens.id_token("https://orders.example"), lambda: bench.tokens.sign(b"x")):
        with pytest.raises(
            ConfigError, match=r"needs a Google service account, and none is configured\..* Set googleServiceAccount"
        ) as caught:
            ask()
        assert caught.value.full_code == "config.no-google-service-account"
    assert (bench.hangar.flights, bench.desk.asked) == (0, [])


@pytest.mark.parametrize("audience", ["", "https://" + "a" * 2041])
def test_an_audience_has_a_length(bench: Bench, audience: str) -> None:
    with pytest.raises(ConfigError, match=f"The audience of a token cannot have {len(audience)} characters. Name 1 to 2048 characters."):
        bench.tokens.id_token(audience)


def test_the_number_of_audiences_is_bounded_and_the_least_used_goes_first() -> None:
    bench = Bench(limit=3)
    first = {audience: bench.identity(audience) for audience in ("a", "b", "c")}
    bench.clock.step(SECOND)
    assert [bench.identity("a"), bench.identity("c")] == [first["a"], first["c"]]
    bench.identity("d")
    assert [bench.identity("a"), bench.identity("c")] == [first["a"], first["c"]]
    assert bench.identity("b") != first["b"]
    assert len(bench.tokens._id) == 3


def test_audiences_that_get_no_token_drive_no_living_one_out() -> None:
    bench = Bench(limit=3)
    first = {audience: bench.identity(audience) for audience in ("a", "b")}
    bench.desk.weather["generateIdToken"] = lambda: refusal(400, "INVALID_ARGUMENT", "The audience is invalid.")
    for number in range(100):
        bench.clock.step(SECOND)
        with pytest.raises(ImpersonationRefusedError):
            bench.identity(f"bad-{number}")
    assert {audience: bench.identity(audience) for audience in ("a", "b")} == first


def test_the_number_of_fetches_under_way_is_bounded_and_the_default_token_is_always_fetched(bench: Bench) -> None:
    for number in range(100):
        with pytest.raises(ExchangeUnavailableError) as caught:
            bench.tokens.id_token(f"audience-{number}")
        assert (caught.value.flight is not None) == (number < 64)
    assert caught.value.why == "Too many others are being fetched."
    assert bench.access()
    assert bench.hangar.flights == 65
    assert bench.identity("audience-99")


def test_other_scopes_never_drive_the_default_token_out() -> None:
    bench = Bench(limit=2)
    first = bench.access()
    for number in range(10):
        bench.clock.step(SECOND)
        bench.access((f"https://www.googleapis.com/auth/scope-{number}",))
    assert bench.access() == first


def test_a_token_that_never_lived_long_is_handed_out_for_nine_tenths_of_its_life(bench: Bench) -> None:
    bench.desk.life = 10 * SECOND
    first = bench.access()
    bench.clock.step(8 * SECOND)
    assert bench.access() == first
    bench.clock.step(SECOND)
    assert bench.access() != first


def test_a_token_that_is_over_on_arrival_points_at_the_clock(bench: Bench) -> None:
    bench.desk.life = -2 * MINUTE
    bench.desk.weather["token"] = lambda: Reply(200, b'{"access_token": "ya29.federated", "expires_in": 3600}')
    with pytest.raises(UnexpectedAnswerError) as caught:
        bench.access()
    assert str(caught.value) == (
        "The access token that came has ended already: 120 s ago, by this machine's clock. Compare this machine's clock with the world's."
    )


@pytest.mark.parametrize("back", [2 * MINUTE, timedelta(days=400)])
def test_a_clock_that_is_set_back_costs_a_renewal_and_nobody_s_token(bench: Bench, back: timedelta) -> None:
    first = bench.access()
    bench.clock.step(-back)
    assert bench.access() == first
    bench.hangar.land()
    assert bench.access() != first
    bench.clock.step(10 * MINUTE)
    bench.access()
    assert bench.hangar.flights == 2


def test_a_slow_clock_does_not_make_a_token_live_longer(bench: Bench) -> None:
    bench.desk.life = 70 * MINUTE  # as it looks to a clock that is ten minutes behind: the lifetime that was asked for is one hour
    token = bench.get(bench.tokens.access_token)
    assert token.expires_at == NOW + 60 * MINUTE


def test_warming_waits_for_nobody_and_raises_nothing(bench: Bench) -> None:
    bench.desk.weather["token"] = lambda: oauth_refusal("invalid_target", "No such provider.")
    for _ in range(3):
        bench.tokens.warm()
        assert not bench.tokens.is_warm
        bench.hangar.land()
    assert bench.desk.counts == {"token": 1}
    bench.desk.weather.clear()
    bench.clock.step(10 * SECOND)
    bench.tokens.warm()
    bench.hangar.land()
    assert bench.tokens.is_warm
    bench.clock.step(60 * MINUTE)
    assert not bench.tokens.is_warm


def test_what_is_tended_is_the_default_token_and_what_somebody_used(bench: Bench) -> None:
    bench.tokens.tend()
    bench.hangar.land()
    bench.identity("used")
    bench.identity("once")
    bench.clock.step(SECOND)
    for _ in range(4):  # hours, a look every half minute at least
        for _ in range(120):
            assert timedelta() < bench.tokens.tend() <= 30 * SECOND
            bench.hangar.land()
            bench.clock.step(30 * SECOND)
        bench.identity("used")
    asked = [asked.get("audience") for verb, asked in bench.desk.asked if verb == "generateIdToken"]
    # The one that came by asking is renewed once, in case somebody keeps it, and then left to end.
    assert (asked.count("used"), asked.count("once")) == (5, 2)
    assert bench.desk.counts["generateAccessToken"] == 5


@pytest.mark.parametrize("error", [ZeroDivisionError(), asyncio.CancelledError(), SystemExit(1)], ids=repr)
def test_a_bug_below_is_told_and_does_not_end_the_cache(bench: Bench, caplog: pytest.LogCaptureFixture, error: BaseException) -> None:
    bench.source.error = error
    with pytest.raises(UnexpectedAnswerError, match=f"The fetch of the access token ended with {type(error).__name__}"):
        bench.access()
    bench.source.error = None
    bench.clock.step(10 * SECOND)
    assert bench.access()
    assert type(error).__name__ in caplog.text


def test_a_child_renews_a_token_that_its_parent_was_renewing_at_the_fork(bench: Bench) -> None:
    first = bench.access()
    bench.clock.step(52 * MINUTE)
    assert (bench.access(), bench.hangar.flights) == (first, 2)
    bench.hangar.waiting.clear()  # the thread that would have landed is in the parent
    bench.tokens.wake_in_child()
    assert (bench.access(), bench.hangar.flights) == (first, 3)
    bench.hangar.land()
    assert bench.access() != first


@pytest.mark.parametrize(
    ("verb", "reply"), [("token", oauth_refusal("invalid_grant", "No.")), ("signBlob", PERMISSION_DENIED), ("signBlob", Reply(302))]
)
def test_invariant_4_no_token_is_among_the_variables_of_a_refused_signature(bench: Bench, verb: str, reply: Reply) -> None:
    bench.desk.weather[verb] = lambda: reply
    with pytest.raises(PodpassError) as caught:
        bench.tokens.sign(b"text")
    shown = "".join(TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "payload = b'text'" in shown
    assert [word for word in (bench.source.token, "ya29") if word in shown] == []


def test_when_the_interpreter_ends_callers_are_told(bench: Bench) -> None:
    def no_more(_: object) -> None:
        message = "cannot schedule new futures after interpreter shutdown"
        raise RuntimeError(message)

    bench.tokens._keeper._launch = no_more  # type: ignore[assignment] # as it is then
    with pytest.raises(UnexpectedAnswerError, match="No thread can be started any more"):
        bench.access()


def test_invariant_4_no_token_is_in_a_repr_an_error_or_a_log(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    said = [repr(bench.tokens), repr(bench.get(bench.tokens.access_token)), repr(bench.get(lambda: bench.tokens.id_token("a")))]
    echo = f"{bench.source.token} ya29.federated-1 ya29.account-2"
    for verb, reply in (("generateIdToken", refusal(500, "INTERNAL", echo)), ("token", oauth_refusal("invalid_grant", echo))):
        bench.desk.weather[verb] = lambda reply=reply: reply  # type: ignore[misc] # bound now
        bench.clock.step(61 * MINUTE)
        with pytest.raises(PodpassError) as caught:
            bench.identity(verb)
        said += [str(caught.value), repr(caught.value), repr(caught.value.__cause__), repr(caught.value.__context__)]
    text = " ".join([*said, caplog.text])
    assert [word for word in ("eyJhbGci", "ya29", "c2ln") if word in text] == []
    assert "access token, 14 characters" in text


@pytest.mark.parametrize(
    "settings", [{"renew_at": 0}, {"renew_at": 0.85}, {"spread": -0.1}, {"least_pause": timedelta()}, {"refused": timedelta()}]
)
def test_a_schedule_that_contradicts_itself_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="The schedule of a token cache contradicts itself"):
        TokenSchedule(**settings)  # type: ignore[arg-type] # by the table
