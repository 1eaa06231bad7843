# SPDX-License-Identifier: Apache-2.0
"""The short way for a known caller at a known place: it may admit only whom the whole judgement admits."""

import json
import logging
from datetime import timedelta
from itertools import product
from pathlib import Path

import pytest
from msgspec.structs import replace

from attacks import ATTACKS, REQUESTS
from guarding import CLUSTER, POLICY, World, bearer, good, google, of, policy
from podpass.guard import Allow, Deny, Guard, Incoming
from podpass.guard.familiar import Place
from podpass.policy import HandlerToken
from podpass.policy.reading import parse
from token_forge import NOW_S, SUBJECT, ec_signer
from unit.guard.test_guard import CLOSED, Watched

TOKEN = good()
HEADERS = [(b"host", b"orders"), bearer(TOKEN)]


def place(path: str = "/private", **changed: str) -> Place:
    """Return a place as an ASGI server says it."""
    said = {"type": "http", "method": "GET", "raw": path, "mount": "", **changed}
    return said["type"], said["method"], said["raw"].encode(), said["mount"], path


def warm(world: World, guard: Guard | None = None, path: str = "/private", token: str = TOKEN) -> Guard:
    """Return a guard that has judged a request."""
    guard = guard or world.guard()
    assert guard.recognise(place(path), [bearer(token)]) is None
    assert isinstance(guard.decide(Incoming("GET", path.encode(), [bearer(token)], "", path)), Allow)
    return guard


def knows(guard: Guard, path: str = "/private", token: str = TOKEN) -> bool:
    return guard.recognise(place(path), [bearer(token)]) is not None


def test_a_known_caller_is_recognised_at_a_known_place() -> None:
    guard = warm(World())
    identity = guard.recognise(place(), HEADERS)
    assert identity is not None
    assert identity.subject == SUBJECT
    assert identity is guard.recognise(place(), HEADERS)


def test_who_is_recognised_is_counted_and_recorded_like_everybody(caplog: pytest.LogCaptureFixture) -> None:
    guard = warm(World())
    with caplog.at_level(logging.INFO, "podpass.guard.decisions"):
        assert isinstance(guard.decide(Incoming("GET", b"/private", [bearer(TOKEN)], "", "/private")), Allow)
        assert guard.recognise(place(), HEADERS)
    judged, recognised = (json.loads(record.message) for record in caplog.records)
    assert judged == recognised
    for _ in range(2):
        assert 'decisions_total{verdict="allow",code="",rule="private",issuer="cluster"} 3\n' in guard.metrics.render(is_ready=True)


def attempts() -> list[tuple[bytes, list[tuple[bytes, bytes]]]]:
    """Return every attack of the tables, and what surrounds a good token."""
    texts = [attack.token for group in ATTACKS.values() for attack in group]
    spelled = [b"Bearer " + text for text in (TOKEN.encode(), *texts)]
    good_one = b"Bearer " + TOKEN.encode()
    spelled += [good_one + b" ", good_one + b"\t", good_one + b", x", good_one + b",Bearer " + TOKEN.encode(), b"Bearer" + b" " + good_one]
    spelled += [b"bearer " + TOKEN.encode(), b"Bearer  " + TOKEN.encode(), b"Basic " + TOKEN.encode(), TOKEN.encode(), b"Bearer ", b""]
    tried = [(b"/private", [(b"authorization", text)]) for text in spelled]
    tried += [(attack.target, list(attack.headers)) for group in REQUESTS.values() for attack in group]
    return tried + [(target, [*headers, bearer(TOKEN)]) for target, headers in tried]


def test_invariant_1_whoever_is_recognised_is_admitted_by_the_whole_judgement_as_well() -> None:
    world = World()
    guard = world.guard()
    requests = [(target, headers) for target, headers in attempts() if b"?" not in target]
    callers = [(path, token) for path, token in product((b"/", b"/private", b"/node"), (TOKEN, of("shop", "cart"), google()))]
    requests += [(path, [bearer(token)]) for path, token in callers]
    recognised = 0
    for _ in range(2):
        for target, headers in requests:
            path = target.decode("latin-1")
            for mount in ("", "/private"):
                known = guard.recognise(("http", "GET", target, mount, path), headers)
                decision = guard.decide(Incoming("GET", target, headers, mount, path))
                assert known is None or (isinstance(decision, Allow) and decision.identity == known)
                recognised += known is not None
    assert recognised > 5


@pytest.mark.parametrize(
    "other",
    [
        place(method="get"),
        place(method="POST"),
        place(type="websocket"),
        place(mount="/private"),
        place(raw="/private?x"),
        place(raw="/private/"),
        place("/other", raw="/private"),
        place("/private/"),
    ],
    ids=str,
)
def test_another_reading_of_a_place_is_another_place(other: Place) -> None:
    guard = warm(World())
    assert guard.recognise(place(), HEADERS)
    assert guard.recognise(other, HEADERS) is None


def test_what_a_proxy_or_a_mount_says_about_a_path_is_never_noted() -> None:
    guard = World().guard()
    assert isinstance(guard.decide(Incoming("GET", b"/v1/private", HEADERS, "/v1", "/private")), Allow)
    assert isinstance(guard.decide(Incoming("GET", b"/private", HEADERS)), Allow)
    assert guard._judge.familiar.places == {}


@pytest.mark.parametrize("headers", [[], [(b"authorization", b"Basic x")], [bearer(TOKEN), bearer(TOKEN)], [bearer(TOKEN + " ")]])
def test_a_caller_is_known_by_one_usual_header_only(headers: list[tuple[bytes, bytes]]) -> None:
    assert warm(World()).recognise(place(), headers) is None


def test_invariant_3_nobody_is_recognised_after_the_end_of_the_token() -> None:
    world = World()
    guard = warm(world)
    world.clock.step(timedelta(seconds=3600 + 30, microseconds=-1000))
    assert knows(guard)
    world.clock.step(timedelta(microseconds=1000))
    assert world.clock.now().timestamp() == NOW_S + 3630
    assert not knows(guard)


def test_invariant_3_nobody_is_recognised_before_the_beginning_of_the_token() -> None:
    world = World()
    guard = warm(world)
    world.clock.step(timedelta(seconds=-30))
    assert knows(guard)
    world.clock.step(timedelta(microseconds=-1000))
    assert not knows(guard)
    decision = guard.decide(Incoming("GET", b"/private", HEADERS, "", "/private"))
    assert isinstance(decision, Deny)
    assert decision.code == "token.not-yet-valid"


def test_invariant_3_nobody_is_recognised_by_keys_that_have_changed() -> None:
    world = World()
    guard = warm(world)
    world.cluster.publish(CLUSTER, ec_signer("cluster-2"))
    assert not knows(guard)
    warm(world, guard)
    assert knows(guard)


def test_the_rule_is_asked_each_time() -> None:
    world = World()
    guard = warm(world)
    other = of("shop", "cart")
    assert isinstance(guard.decide(Incoming("GET", b"/", [bearer(other)], "", "/")), Allow)
    assert knows(guard, "/", other)
    assert not knows(guard, "/private", other)


def test_a_condition_is_asked_each_time() -> None:
    guard = World().guard()
    node = {"namespace": "shop", "serviceaccount": {"name": "checkout", "uid": "u"}, "node": {"name": "node-1", "uid": "n"}}
    inside, outside = good(**{"kubernetes.io": node}), good(**{"kubernetes.io": node | {"node": {"name": "node-2", "uid": "n"}}})
    warm(World(), guard, "/node", inside)
    assert isinstance(guard.decide(Incoming("GET", b"/", [bearer(outside)], "", "/")), Allow)
    assert knows(guard, "/node", inside)
    assert knows(guard, "/", outside)
    assert not knows(guard, "/node", outside)


def test_where_more_has_to_be_done_nobody_is_recognised() -> None:
    world = World()
    for _ in range(2):
        warm(world, path="/reviewed")
    assert len(world.reviews.asked) == 2
    guard = Guard.from_policy(replace(policy(), handler_token=HandlerToken.NONE), world.wiring())
    for _ in range(2):
        warm(world, guard)
    assert isinstance(World().guard(results=None).decide(Incoming("GET", b"/private", HEADERS, "", "/private")), Allow)
    guard = World().guard(results=None)
    for _ in range(2):
        warm(world, guard)


def test_places_are_bounded() -> None:
    guard = World().guard()
    places = guard._judge.familiar.places
    for path in ("/private/" + "x" * 500, *(f"/private/{number}" for number in range(1500))):
        assert isinstance(guard.decide(Incoming("GET", path.encode(), HEADERS, "", path)), Allow)
        assert len(places) <= 1024
    assert place("/private/1499") in places
    long = "/private/" + "x" * 504
    assert isinstance(guard.decide(Incoming("GET", long.encode(), HEADERS, "", long)), Allow)
    assert place(long) not in places


def test_methods_of_any_length_do_not_fill_the_memory() -> None:
    guard = World().guard()
    known = guard._judge._known_rule.cache_info
    for method in ("A" * 60_000, "B" * 60_000, "C" * 500):
        for token in (TOKEN, None):
            headers = [bearer(token)] if token else []
            guard.decide(Incoming(method, b"/", headers, "", "/"))
        place_of_it = place("/", method=method)
        is_short = len(method) < 512
        assert (place_of_it in guard._judge.familiar.places) == is_short
        assert known().currsize == is_short


def test_another_policy_knows_nobody(watched: Watched) -> None:
    guard = warm(watched.world, watched.guard)
    watched.write(CLOSED)
    guard.reload()
    assert not knows(guard)


@pytest.fixture
def watched(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    return Watched(tmp_path_factory.mktemp("policy"))


def test_whoever_is_recognised_has_the_policy_file_looked_at_once_a_second(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[float] = []
    monkeypatch.setattr(watched.guard._file, "reload", lambda _: looks.append(watched.ticks.now_s))

    def pass_s(seconds: float) -> None:
        watched.ticks.now_s += seconds
        watched.world.clock.step(timedelta(seconds=seconds))

    token = good(iat=NOW_S - 7200, nbf=NOW_S - 7200)
    guard = warm(watched.world, watched.guard, token=token)
    watched.path.write_text(CLOSED + "\n")
    assert knows(guard, token=token)
    pass_s(0.9)
    assert knows(guard, token=token)
    assert looks == []
    pass_s(0.2)
    assert knows(guard, token=token)
    assert looks == [1.1]
    assert knows(guard, token=token)
    assert looks == [1.1]
    # A clock that is set back hides no change.
    watched.ticks.now_s += 1.1
    watched.world.clock.step(timedelta(hours=-1))
    assert knows(guard, token=token)
    assert looks == [1.1, 2.2]


def test_members_named_in_full_are_those_that_are_asked_one_by_one() -> None:
    text = POLICY.replace("MODE", "enforce").replace(
        '["kubernetes:cluster/shop/checkout"]}\n    - name: node',
        '["kubernetes:cluster/other/checkout", "kubernetes:cluster/shop/*"]}\n    - name: node',
    )
    private = next(rule for rule in parse(text.encode(), Path("/policy.yaml")).rules if rule.name == "private")
    guard = World().guard()
    for token in (TOKEN, of("shop", "cart"), of("other", "cart"), of("other", "checkout"), google()):
        decision = guard.decide(Incoming("GET", b"/", [bearer(token)], "", "/"))
        assert isinstance(decision, Allow)
        identity = decision.identity
        assert (private.refusal_of(identity) is None) == any(member.admits(identity) for member in private.members)
