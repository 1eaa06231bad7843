# SPDX-License-Identifier: Apache-2.0
"""The key cache on a clock that stands still, with flights that land when a test says so."""

from concurrent.futures import Future
from datetime import timedelta
from itertools import pairwise
from random import Random

import pytest

from key_hangar import FakeOrigin, Hangar
from podpass.clock import SteppedClock
from podpass.discovery.key_cache import KeyCache
from podpass.discovery.schedule import Schedule
from podpass.errors import ConfigError, KeysUnavailableError, UnknownKeyError
from token_forge import NOW, ec_signer

K1, K2, K3 = ec_signer("k1"), ec_signer("k2"), ec_signer("k3")
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
COOLDOWN = Schedule().cooldown


class World:
    """A cache with all that it stands on."""

    def __init__(self, *, max_age_s: int | None = 600, chance: float = 0.5, schedule: Schedule | None = None) -> None:
        self.clock = SteppedClock(NOW)
        self.origin = FakeOrigin(K1, max_age_s=max_age_s)
        self.hangar = Hangar()
        self.cache = KeyCache(self.origin, clock=self.clock, schedule=schedule, launch=self.hangar.launch, chance=lambda: chance)

    def warm(self) -> "World":
        """Fetch once."""
        self.cache.tend()
        self.hangar.land()
        return self

    def pass_time(self, span: timedelta, step: timedelta) -> None:
        """Let time pass with a request for k1 at each step, and let every flight land."""
        for _ in range(int(span / step)):
            self.clock.step(step)
            assert self.cache.find("k1").kid == "k1"
            self.hangar.land()

    def refused(self, kid: str) -> KeysUnavailableError:
        """Ask for a key that nobody can tell of now."""
        with pytest.raises(KeysUnavailableError) as caught:
            self.cache.find(kid)
        return caught.value


def test_nothing_is_asked_before_the_first_use() -> None:
    assert World().hangar.flights == 0


def test_without_keys_everybody_gets_the_same_flight_and_503() -> None:
    world = World()
    errors = [world.refused(kid) for kid in ("k1", "k2", "k1")]
    assert world.hangar.flights == 1
    assert errors[0].flight is not None
    assert {error.flight for error in errors} == {errors[0].flight}
    assert errors[0].retry_after_s == 1
    assert world.cache.known() is None
    world.hangar.land()
    assert errors[0].flight.done()
    assert world.cache.find("k1").kid == "k1"
    assert world.cache.known() is not None


def test_readiness_alone_brings_the_first_keys() -> None:
    """A service that is not ready gets no requests: asking what is known must start a fetch, and another one after a failure."""
    world = World()
    world.origin.go_down()
    assert world.cache.known() is None
    world.hangar.land()
    world.origin.error = None
    world.clock.step(MINUTE)
    assert world.cache.known() is None
    world.hangar.land()
    assert world.cache.known() is not None
    assert world.hangar.flights == 2


def test_a_known_key_never_waits_and_is_refreshed_before_it_expires() -> None:
    """Invariant 3: known keys never wait for the network."""
    world = World(max_age_s=600, chance=0.0).warm()
    world.clock.step(449 * SECOND)
    assert world.cache.find("k1").kid == "k1"
    assert world.hangar.flights == 1
    world.clock.step(SECOND)
    assert world.cache.find("k1").kid == "k1"
    assert world.hangar.flights == 2
    # The flight has not landed: keys that are due are as good as before, however long it takes.
    world.clock.step(2 * HOUR)
    assert world.cache.find("k1").kid == "k1"
    assert world.hangar.flights == 2


def test_fifty_requests_at_the_moment_of_refresh_cost_one_fetch() -> None:
    world = World().warm()
    world.clock.step(HOUR)
    for _ in range(50):
        world.cache.find("k1")
        assert world.cache.generation
    world.hangar.land()
    assert len(world.origin.fetches) == 2


@pytest.mark.parametrize(
    ("max_age_s", "earliest_s", "latest_s"),
    [(0, 45, 57), (60, 45, 57), (600, 450, 570), (3600, 2700, 3420), (86400, 2700, 3420), (None, 450, 570)],
)
def test_keys_live_as_long_as_their_issuer_says_within_a_minute_and_an_hour(max_age_s: int | None, earliest_s: int, latest_s: int) -> None:
    for chance, expected_s in ((0.0, earliest_s), (1.0, latest_s)):
        assert World(max_age_s=max_age_s, chance=chance).warm().cache.tend() == timedelta(seconds=expected_s)


def test_a_set_with_the_same_keys_keeps_the_generation_and_another_one_changes_it() -> None:
    world = World().warm()
    first = world.cache.generation
    world.pass_time(HOUR, MINUTE)
    assert world.cache.generation == first
    world.origin.publish(K1, K2)
    world.pass_time(HOUR, MINUTE)
    second = world.cache.generation
    assert second != first
    # The same name with another key in it is another set as well.
    world.origin.keys = type(world.origin.keys)({"k1": world.origin.keys.keys["k1"], "k2": FakeOrigin(K3).keys.keys["k3"]})
    world.pass_time(HOUR, MINUTE)
    assert world.cache.generation not in {first, second}


def test_two_caches_never_have_the_same_generation() -> None:
    assert World().warm().cache.generation != World().warm().cache.generation


def test_a_removed_key_is_gone_with_the_next_refresh_and_drops_what_it_signed() -> None:
    world = World().warm()
    before = world.cache.generation
    world.origin.publish(K2)
    world.clock.step(HOUR)
    assert world.cache.find("k1").kid == "k1"
    world.hangar.land()
    assert world.cache.generation != before
    assert world.refused("k1").flight is not None


def test_a_key_that_is_published_later_is_found_by_one_search() -> None:
    world = World().warm()
    world.origin.publish(K1, K2)
    error = world.refused("k2")
    assert error.flight is not None
    assert "'k2'" in error.why
    world.hangar.land()
    assert world.cache.find("k2").kid == "k2"


def test_an_unknown_key_is_refused_only_after_a_fetch_that_began_after_it_was_asked_for() -> None:
    world = World().warm()
    world.refused("evil")
    joined = world.refused("late")  # the flight is in the air: what it brings may be older than this question
    world.hangar.land()
    with pytest.raises(UnknownKeyError) as caught:
        world.cache.find("evil")
    assert str(caught.value) == (
        "No key with kid 'evil' is published by issuer https://oidc.example/c1 (1 key, fetched 0 s ago). "
        "The token comes from another cluster, or the cluster has a new signing key and the published JWKS is older. "
        "Publish the cluster's present keys; run `podpass doctor` to compare the two."
    )
    assert joined.flight is not None
    assert world.refused("late").flight is None


def test_thousands_of_unknown_keys_cost_one_fetch_in_each_cooldown() -> None:
    """Invariant 3: unknown keys cost one bounded refresh for everybody together."""
    world = World(max_age_s=3600).warm()
    for second in range(100):
        for number in range(50):
            with pytest.raises((KeysUnavailableError, UnknownKeyError)):
                world.cache.find(f"evil-{second}-{number}")
            world.hangar.land()
        assert world.cache.find("k1").kid == "k1"
        world.clock.step(SECOND)
    assert len(world.origin.fetches) == 1 + 10


def test_within_the_cooldown_a_new_unknown_key_is_told_when_to_come_back_and_nobody_waits() -> None:
    world = World().warm()
    world.refused("a")
    world.hangar.land()
    world.clock.step(3 * SECOND)
    error = world.refused("b")
    assert error.flight is None
    assert error.retry_after_s == 7
    assert str(error) == (
        "The keys of issuer https://oidc.example/c1 cannot be had now. "
        "No key with kid 'b' is known of it, and it was not asked since that kid was first seen. Ask again in 7 s."
    )
    world.clock.step(7 * SECOND)
    assert world.refused("b").flight is not None
    world.hangar.land()
    with pytest.raises(UnknownKeyError):
        world.cache.find("b")


def test_a_refused_key_is_searched_again_after_the_cooldown() -> None:
    world = World().warm()
    world.refused("k2")
    world.hangar.land()
    world.origin.publish(K1, K2)
    world.clock.step(COOLDOWN - SECOND)
    with pytest.raises(UnknownKeyError):
        world.cache.find("k2")
    world.clock.step(SECOND)
    assert world.refused("k2").flight is not None
    world.hangar.land()
    assert world.cache.find("k2").kid == "k2"


def test_a_refresh_does_not_use_up_the_search_of_a_cooldown() -> None:
    """A cluster that rotates right after a refresh is understood at once."""
    world = World().warm()
    world.origin.publish(K1, K2)
    world.clock.step(SECOND)
    assert world.refused("k2").flight is not None


def test_a_flood_of_unknown_keys_does_not_grow_the_memory_and_the_new_key_is_found_all_the_same() -> None:
    world = World().warm()
    world.refused("first")
    world.hangar.land()
    world.origin.publish(K1, K2)
    world.refused("k2")
    for number in range(5000):
        world.refused(f"evil-{number}")
    assert len(world.cache._wanted._since) <= 1024
    world.clock.step(COOLDOWN)
    world.refused("evil")
    world.hangar.land()
    assert world.cache.find("k2").kid == "k2"


def test_a_token_without_a_kid_gets_the_only_key_and_never_causes_a_fetch() -> None:
    world = World().warm()
    assert world.cache.find(None).kid == "k1"
    world.origin.publish(K1, K2)
    world.pass_time(HOUR, MINUTE)
    flights = world.hangar.flights
    with pytest.raises(UnknownKeyError, match="does not name its key"):
        world.cache.find(None)
    assert world.hangar.flights == flights


def test_an_issuer_that_is_down_for_12_hours_costs_no_known_key_and_for_24_hours_all() -> None:
    """Invariant 3: stale keys have a limit; past it the answer is 503, not 401."""
    world = World().warm()
    world.origin.go_down()
    world.pass_time(24 * HOUR - MINUTE, MINUTE)
    before = world.cache.generation
    world.clock.step(MINUTE)
    error = world.refused("k1")
    assert "The issuer gave no answer." in error.why
    assert world.cache.known() is None
    assert world.cache.generation != before, "cached results would outlive the keys"
    # It comes back, and everything is as before.
    world.hangar.land()
    world.origin.error = None
    world.clock.step(MINUTE)
    assert world.refused("k1").flight is not None
    world.hangar.land()
    assert world.cache.find("k1").kid == "k1"


def test_what_is_known_ends_with_the_stale_limit_even_if_nobody_uses_the_cache() -> None:
    world = World().warm()
    world.clock.step(24 * HOUR)
    assert world.cache.known() is None


def test_a_broken_set_never_replaces_a_good_one() -> None:
    world = World().warm()
    before = world.cache.generation
    world.origin.error = ConfigError("The JWKS has no key that podpass can use.")
    world.pass_time(2 * HOUR, MINUTE)
    assert world.cache.generation == before
    world.origin.error = ZeroDivisionError()  # whatever it is
    world.pass_time(2 * HOUR, MINUTE)
    assert world.cache.generation == before


def test_failures_are_followed_by_longer_and_longer_pauses_up_to_a_minute() -> None:
    world = World(chance=1.0)
    world.origin.go_down()
    pauses = []
    for _ in range(9):
        world.cache.tend()
        world.hangar.land()
        pauses.append(world.cache.tend().total_seconds())
        world.clock.step(timedelta(seconds=pauses[-1]))
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_chance_takes_up_to_half_of_a_pause() -> None:
    world = World(chance=0.0)
    world.origin.go_down()
    for expected_s in (0.5, 1.0, 2.0):
        world.cache.tend()
        world.hangar.land()
        assert world.cache.tend() == timedelta(seconds=expected_s)
        world.clock.step(timedelta(seconds=expected_s))


def test_unknown_keys_do_not_shorten_the_pause_after_failures() -> None:
    world = World(chance=1.0).warm()
    world.origin.go_down()
    world.clock.step(HOUR)
    for _ in range(6):
        world.cache.tend()
        world.hangar.land()
        world.clock.step(world.cache.tend())
    world.cache.tend()
    world.hangar.land()
    fetches = len(world.origin.fetches)
    for _ in range(59):
        error = world.refused("evil")
        assert error.flight is None
        world.clock.step(SECOND)
    assert len(world.origin.fetches) == fetches


def test_after_a_success_nothing_is_left_of_the_failures() -> None:
    world = World(chance=1.0)
    world.origin.go_down()
    world.warm()
    world.origin.error = None
    world.clock.step(MINUTE)
    world.warm()
    assert world.refused("k2").why.startswith("No key with kid 'k2'")
    assert "no answer" not in world.refused("k2").why


def test_what_another_thread_has_changed_between_the_look_and_the_search_counts() -> None:
    world = World().warm()
    assert world.cache._search("k1", world.clock.now()).kid == "k1"
    assert world.hangar.flights == 1
    cold = World()
    with pytest.raises(KeysUnavailableError):
        cold.cache._search("k1", cold.clock.now())


def test_a_clock_that_is_set_back_costs_one_fetch_and_no_key() -> None:
    world = World().warm()
    world.refused("k2")
    world.hangar.land()
    world.clock.step(-5 * HOUR)
    assert world.cache.find("k1").kid == "k1"
    assert world.hangar.flights == 3
    world.hangar.land()
    assert world.cache.tend() < HOUR
    assert world.refused("k3").flight is not None, "a cooldown that lies ahead is none"


def test_a_clock_that_was_far_ahead_does_not_lengthen_the_stale_limit() -> None:
    world = World()
    world.clock.step(720 * HOUR)
    world.warm()
    world.clock.step(-720 * HOUR)
    world.origin.go_down()
    world.pass_time(24 * HOUR, MINUTE)
    world.clock.step(MINUTE)
    assert world.refused("k1").full_code == "keys.unavailable"


def test_two_threads_that_overtake_each_other_are_no_clock_that_is_set_back() -> None:
    world = World().warm()
    world.clock.step(-SECOND)
    world.cache.find("k1")
    assert world.hangar.flights == 1


def test_a_process_that_ends_is_told_as_a_failure() -> None:
    def launch(_: object) -> Future[object]:
        raise RuntimeError("cannot schedule new futures after shutdown")

    cache = KeyCache(FakeOrigin(K1), clock=SteppedClock(NOW), launch=launch)
    with pytest.raises(KeysUnavailableError, match="No thread can be started any more"):
        cache.find("k1")


@pytest.mark.parametrize(
    "changed",
    [
        {"least": timedelta()},
        {"most": timedelta(seconds=30)},
        {"unsaid": 2 * HOUR},
        {"stale_limit": HOUR},
        {"cooldown": timedelta()},
        {"least_pause": timedelta()},
        {"most_pause": timedelta(milliseconds=1)},
    ],
)
def test_a_schedule_that_contradicts_itself_is_refused(changed: dict[str, timedelta]) -> None:
    with pytest.raises(ConfigError, match="contradicts itself"):
        Schedule(**changed)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_in_whatever_order_a_known_key_is_found_and_the_issuer_is_left_in_peace(seed: int) -> None:
    random = Random(seed)
    world = World(chance=random.random()).warm()
    failures = 0
    for _ in range(1500):
        world.clock.step(timedelta(seconds=random.choice([0, 0, 0.1, 1, 5, 60, 400])))
        match random.randrange(5):
            case 0:
                world.origin.error = None
            case 1 if random.random() < 0.3:
                world.origin.go_down()
            case 2:
                failures += len(world.hangar.waiting) if world.origin.error else 0
                world.hangar.land()
        with pytest.raises((KeysUnavailableError, UnknownKeyError)):
            world.cache.find(f"evil-{random.randrange(3)}")
        assert len(world.hangar.waiting) <= 1
        if world.cache.known() is not None:
            assert world.cache.find("k1").kid == "k1"
        else:
            assert world.refused("k1").retry_after_s >= 1
    elapsed = world.clock.now() - NOW
    successes = len(world.origin.fetches) - failures
    assert successes <= 2 + elapsed / COOLDOWN + elapsed / (450 * SECOND)
    pauses = [later - earlier for earlier, later in pairwise(world.origin.fetches)]
    assert sum(pause < SECOND / 2 for pause in pauses) <= elapsed / (450 * SECOND), "a refresh may meet a search, and nothing else"
