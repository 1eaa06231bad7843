# SPDX-License-Identifier: Apache-2.0
"""Ten minutes without Google, by a stepped clock: who notices, what they are told, and how much Google is asked."""

import random
from collections import Counter
from datetime import datetime, timedelta

import pytest

from google_desk import ACCOUNT, OUTAGES, FakeSource, GoogleDesk, Weather, oauth_refusal, refusal
from key_hangar import Hangar
from loopback_server import Reply
from podpass.clock import SteppedClock
from podpass.errors import ExchangeUnavailableError, PodpassError, UnreachableError
from podpass.exchange.workload_tokens import WorkloadTokens
from token_forge import NOW

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
SERVICES = {"sts": ["token"], "IAM Credentials": ["generateAccessToken", "generateIdToken", "signBlob"], "both": ["*"]}


class Pod:
    """One workload: its cache, whose fetches land at once, and the moments at which it asked Google."""

    def __init__(self, clock: SteppedClock, chance: random.Random) -> None:
        self.clock = clock
        self.desk = GoogleDesk(clock)
        self.source = FakeSource()
        self.hangar = Hangar()
        self.slept = timedelta()
        self.tokens = WorkloadTokens(
            self.source,
            self.desk.exchanger(ACCOUNT),
            clock=clock,
            patience_s=0,
            launch=self.hangar.launch,
            chance=chance.random,
            sleep=self._sleep,
        )

    def _sleep(self, seconds: float) -> None:
        self.slept += timedelta(seconds=seconds)
        self.clock.step(timedelta(seconds=seconds))

    def ask(self, audience: str | None = None) -> str | None:
        """Ask for a token as a client does, once; None where there is none."""
        for _ in range(2):
            try:
                return (self.tokens.id_token(audience) if audience else self.tokens.access_token()).value.reveal()
            except ExchangeUnavailableError as error:
                if error.flight is None:
                    return None
                self.hangar.land()
        return None

    def why(self) -> ExchangeUnavailableError:
        """Return what a client is told."""
        with pytest.raises(ExchangeUnavailableError) as caught:
            self.tokens.access_token()
        assert caught.value.flight is None
        return caught.value


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock(NOW)


@pytest.fixture
def pod(clock: SteppedClock) -> Pod:
    return Pod(clock, random.Random(7))


def storm(pod: Pod, service: str, weather: Weather) -> None:
    pod.desk.weather = dict.fromkeys(SERVICES[service], weather)


def until(clock: SteppedClock, end: datetime, step: timedelta) -> bool:
    clock.step(step)
    return clock.now() < end


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("weather", OUTAGES.values(), ids=OUTAGES)
def test_living_tokens_outlive_ten_minutes_without_google(clock: SteppedClock, pod: Pod, service: str, weather: Weather) -> None:
    """The outage begins where it hurts most: as the renewal becomes due."""
    first = pod.ask()
    assert pod.ask("https://orders.example")
    clock.step(48 * MINUTE)
    pod.desk.asked.clear()
    storm(pod, service, weather)
    end = clock.now() + 10 * MINUTE
    while until(clock, end, SECOND):
        assert pod.ask()
        assert pod.ask("https://orders.example")
        pod.hangar.land()
    # The first failures are looked at twice more, the pauses grow to a minute; two tokens wait in the same line.
    assert pod.desk.counts.total() <= 25
    pod.desk.weather = {}
    clock.step(MINUTE)
    for _ in range(4):
        pod.ask()
        pod.hangar.land()
        clock.step(MINUTE / 4)
    assert pod.ask() not in {None, first}


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("weather", OUTAGES.values(), ids=OUTAGES)
def test_who_has_nothing_is_told_at_once_and_google_is_left_alone(clock: SteppedClock, pod: Pod, service: str, weather: Weather) -> None:
    storm(pod, service, weather)
    end = clock.now() + 10 * MINUTE
    calls = 0
    while until(clock, end, SECOND / 4):
        assert pod.ask(f"https://{calls % 200}.example" if calls % 2 else None) is None
        calls += 1
    assert calls > 2000
    assert pod.desk.counts.total() - pod.desk.counts["token"] * (service == "IAM Credentials") <= 25
    # Only the very first waited for the tries that nobody is told of.
    assert pod.slept <= 4 * SECOND
    pod.desk.weather = {}
    clock.step(timedelta(seconds=pod.why().retry_after_s))
    assert pod.ask()


def test_what_is_said_names_the_trouble_and_when_to_come_back(clock: SteppedClock, pod: Pod) -> None:
    storm(pod, "sts", OUTAGES["429 with Retry-After"])
    assert pod.ask() is None
    error = pod.why()
    assert str(error).startswith(
        "There is no access token at hand, and none can be had now. The security token service could not exchange the subject token "
        "(429 RESOURCE_EXHAUSTED). Quota exceeded. Ask again in 2"
    )
    assert (error.full_code, error.retryable) == ("exchange.unavailable", True)
    assert 20 <= error.retry_after_s <= 22
    asked = pod.desk.counts.total()
    for _ in range(19):
        assert pod.ask() is None
        clock.step(SECOND)
    assert (asked, pod.desk.counts.total()) == (1, 1)


def test_a_retry_after_is_not_heeded_for_hours(pod: Pod) -> None:
    storm(pod, "sts", lambda: Reply(503, b"", {"retry-after": "9999"}))
    pod.ask()
    assert 300 <= pod.why().retry_after_s <= 330


def test_a_single_failure_is_noticed_by_nobody(pod: Pod) -> None:
    failures = [OUTAGES["500"], OUTAGES["reset"]]

    def hiccup() -> Reply:
        weather = failures.pop()
        if not failures:
            pod.desk.weather = {}
        return weather()

    storm(pod, "both", hiccup)
    assert pod.ask() == "ya29.account-2"
    assert pod.slept < 4 * SECOND


def test_an_outage_of_iam_credentials_leaves_the_exchange_alone(clock: SteppedClock, pod: Pod) -> None:
    storm(pod, "IAM Credentials", OUTAGES["500"])
    for _ in range(600):
        pod.ask()
        clock.step(SECOND)
    assert pod.desk.counts["token"] == 1


def test_without_the_security_token_service_new_tokens_still_come_of_the_federated_one(clock: SteppedClock, pod: Pod) -> None:
    pod.ask()
    storm(pod, "sts", OUTAGES["slow"])
    for number in range(50):
        assert pod.ask(f"https://{number}.example")
        clock.step(MINUTE)


def test_signing_is_refused_at_once_in_a_known_outage(pod: Pod) -> None:
    storm(pod, "IAM Credentials", OUTAGES["500"])
    for _ in range(20):
        with pytest.raises(ExchangeUnavailableError, match="There is no signature at hand, and none can be had now"):
            pod.tokens.sign(b"text")
    assert pod.desk.counts["signBlob"] == 3
    assert pod.slept < 4 * SECOND


def test_a_refusal_is_an_answer_and_ends_the_outage(clock: SteppedClock, pod: Pod) -> None:
    storm(pod, "sts", OUTAGES["500"])
    assert pod.ask() is None
    storm(pod, "sts", lambda: oauth_refusal("invalid_target", "No such provider."))
    clock.step(timedelta(seconds=pod.why().retry_after_s))
    with pytest.raises(PodpassError, match="invalid_target"):
        pod.ask()
    pod.desk.weather = {}
    clock.step(10 * SECOND)
    assert pod.ask()


def test_an_api_server_that_is_away_is_not_asked_on_each_call(clock: SteppedClock, pod: Pod) -> None:
    """A source that has to be asked itself: TokenRequest."""
    pod.source.error = UnreachableError("The API server gave no answer.")
    for _ in range(600):
        assert pod.ask() is None
        clock.step(SECOND)
    assert "The API server gave no answer." in str(pod.why())
    assert (pod.source.reads <= 25, pod.desk.counts.total()) == (True, 0)


def test_a_clock_that_is_set_back_does_not_prolong_an_outage(clock: SteppedClock, pod: Pod) -> None:
    storm(pod, "both", OUTAGES["500"])
    pod.ask()
    pod.desk.weather = {}
    clock.step(-timedelta(days=1))
    assert pod.ask()


def test_the_return_of_google_is_no_herd() -> None:
    """Forty pods without a token that all ask ten times a second: their first requests after the outage come spread over a minute."""
    chance = random.Random(11)
    pods = [Pod(SteppedClock(NOW), chance) for _ in range(40)]
    returns: Counter[int] = Counter()
    for pod in pods:
        storm(pod, "both", OUTAGES["reset"])
        while until(pod.clock, NOW + 10 * MINUTE, 3 * SECOND):
            assert pod.ask() is None
        pod.desk.weather = {}
        pod.desk.asked.clear()
        while pod.ask() is None:
            pod.clock.step(SECOND / 10)
        assert pod.desk.counts == {"token": 1, "generateAccessToken": 1}
        returns[int((pod.clock.now() - NOW - 10 * MINUTE) / SECOND)] += 1
    assert max(returns) <= 60
    assert max(returns.values()) <= 5


def test_many_audiences_come_back_one_request_each(clock: SteppedClock, pod: Pod) -> None:
    audiences = [f"https://{number}.example" for number in range(60)]
    storm(pod, "both", OUTAGES["503 in HTML"])
    for audience in audiences:
        assert pod.ask(audience) is None
    pod.desk.weather = {}
    pod.desk.asked.clear()
    clock.step(10 * MINUTE)
    assert all(pod.ask(audience) for audience in audiences)
    assert pod.desk.counts == {"token": 1, "generateIdToken": 60}


def test_the_refusal_of_one_account_s_token_says_nothing_of_others(pod: Pod) -> None:
    pod.desk.weather["generateIdToken"] = lambda: refusal(
        403, "PERMISSION_DENIED", "Permission 'iam.serviceAccounts.getOpenIdToken' denied."
    )
    with pytest.raises(PodpassError, match=r"Grant the workload's principal roles/iam\.workloadIdentityUser"):
        pod.ask("https://orders.example")
    assert pod.ask()
