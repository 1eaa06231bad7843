# SPDX-License-Identifier: Apache-2.0
"""The token cache in any weather: whatever happens in whatever order, what is handed out lives, and Google is not asked in a loop."""

from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from google_desk import ACCOUNT, OUTAGES, FakeSource, GoogleDesk, refusal
from key_hangar import Hangar
from podpass.clock import SteppedClock
from podpass.errors import ExchangeUnavailableError, PodpassError
from podpass.exchange.tokens import AccessToken, IdToken
from podpass.exchange.workload_tokens import WorkloadTokens
from token_forge import NOW

AUDIENCES = [None, *(f"https://{name}.example" for name in "abcdef")]
VERBS = ["token", "generateAccessToken", "generateIdToken", "*"]
STORMS = [*OUTAGES.values(), lambda: refusal(403, "PERMISSION_DENIED", "No.")]


class AnyWeather(RuleBasedStateMachine):
    """One workload, one clock, and everything that can happen to them."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = SteppedClock(NOW)
        self.desk = GoogleDesk(self.clock)
        self.source = FakeSource()
        self.hangar = Hangar()
        self.tokens = WorkloadTokens(
            self.source,
            self.desk.exchanger(ACCOUNT),
            clock=self.clock,
            limit=3,
            patience_s=0,
            launch=self.hangar.launch,
            sleep=lambda seconds: self.clock.step(timedelta(seconds=seconds)),
        )
        self.calmed_at = NOW - timedelta(days=1)

    def take(self, audience: str | None) -> AccessToken | IdToken:
        return self.tokens.access_token() if audience is None else self.tokens.id_token(audience)

    def ask(self, audience: str | None, times: int) -> None:
        for _ in range(times):
            try:
                token = self.take(audience)
            except ExchangeUnavailableError as error:
                assert error.retry_after_s >= 1  # noqa: PT017 - any error may come; this one says more
                assert error.flight is not None or self.desk.weather  # noqa: PT017 - as above
            except PodpassError:
                # A refusal holds for ten seconds.
                assert self.desk.weather or self.source.error or self.clock.now() < self.calmed_at + timedelta(seconds=10)
            else:
                left = token.expires_at - self.clock.now()
                assert left >= min(timedelta(seconds=30), self.desk.life / 10)

    @rule(audience=st.sampled_from(AUDIENCES), times=st.integers(1, 20))
    def ask_again_and_again(self, audience: str | None, times: int) -> None:
        self.ask(audience, times)

    @rule()
    def land(self) -> None:
        self.hangar.land()

    @rule(span=st.sampled_from([1, 5, 29, 60, 600, 1800, 3000, 4000]))
    def wait(self, span: int) -> None:
        self.clock.step(timedelta(seconds=span))

    @rule(left=st.sampled_from([1, 29, 31]))
    def ask_near_the_end_of_a_token(self, left: int) -> None:
        held = self.tokens._default.held
        if held is not None and held.expires_at - self.clock.now() > timedelta(seconds=left):
            self.clock.step(held.expires_at - self.clock.now() - timedelta(seconds=left))
            self.ask(None, 2)

    @rule(verb=st.sampled_from(VERBS), storm=st.sampled_from(STORMS))
    def storm(self, verb: str, storm: object) -> None:
        self.desk.weather[verb] = storm  # type: ignore[assignment] # a Weather, by the table

    @rule()
    def lose_the_file(self) -> None:
        self.source.go_away()

    @rule()
    def tend(self) -> None:
        assert timedelta(seconds=1) <= self.tokens.tend() <= timedelta(seconds=30)

    @rule()
    def calm(self) -> None:
        """Let the weather pass: after the longest pause everybody gets a token, by one fetch."""
        self.desk.weather, self.source.error = {}, None
        self.hangar.land()
        self.clock.step(timedelta(minutes=6))
        self.calmed_at = self.clock.now()
        for audience in AUDIENCES:
            try:
                self.take(audience)
            except ExchangeUnavailableError as error:
                assert error.flight is not None  # noqa: PT017 - where there is none at hand, one is on its way
                self.hangar.land()
                self.take(audience)

    @invariant()
    def google_is_not_asked_in_a_loop(self) -> None:
        """Each flight costs three tries of two services at most, and a refused federated token one more round."""
        assert self.desk.counts.total() <= 12 * self.hangar.flights

    @invariant()
    def the_shelf_is_bounded(self) -> None:
        assert len(self.tokens._id) <= 3


AnyWeather.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestAnyWeather = AnyWeather.TestCase
