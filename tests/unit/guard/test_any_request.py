# SPDX-License-Identifier: Apache-2.0
"""A guard that remembers places and tokens against one that remembers nothing, over whatever may happen between requests."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guarding import CLUSTER, LiveKeys, Reviews, World, good, google, of, seconds_from_now
from podpass.errors import TokenRevokedError
from podpass.guard import Allow, Decision, Guard
from podpass.guard.asgi import _incoming
from podpass.guard.wiring import Wiring
from podpass.names import Audience, Issuer, Secret
from podpass.policy import HandlerToken, InvokerPolicy, Mode, Rule, TrustedIssuer
from podpass.policy.condition import compile_condition
from podpass.policy.members import GroupMember, Member, parse_member
from podpass.policy.path_pattern import PathPattern
from podpass.verify.identity import Identity
from token_forge import AUDIENCE, ISSUER, Signer, ec_signer, kubernetes_claims

NEXT, TWIN = ec_signer("cluster-2"), ec_signer("twin-1")
SETS: tuple[tuple[Signer, ...], ...] = ((CLUSTER,), (NEXT,), (CLUSTER, NEXT), (TWIN,), ())

TOKENS = (
    good(),
    good(exp=seconds_from_now(50)),
    good(nbf=seconds_from_now(20), iat=seconds_from_now(-5)),
    good(iat=seconds_from_now(20.5), nbf=None),
    of("shop", "cart"),
    of("other", "checkout"),
    google(),
    google(email="other@demo-project.iam.gserviceaccount.com"),
    NEXT.token(kubernetes_claims()),
    TWIN.token(kubernetes_claims()),
    good(aud=[AUDIENCE, "another"]),
    good(aud=["another"]),
    good()[:-4],
)
ISSUERS = (
    TrustedIssuer("cluster", "kubernetes", Issuer(ISSUER)),
    TrustedIssuer("twin", "kubernetes", Issuer(ISSUER)),
    TrustedIssuer("google", "google", Issuer("https://accounts.google.com")),
)
PATHS = ("/", "/private", "/private/", "/private/a", "/v1/private")
MEMBERS = (
    "kubernetes:cluster/shop/checkout",
    "kubernetes:twin/shop/checkout",
    "kubernetes:*/shop/*",
    "kubernetes:cluster/*/checkout",
    "serviceAccount:gke-gsa@demo-project.iam.gserviceaccount.com",
    "subject:twin/system:serviceaccount:shop:checkout",
    "allAuthenticatedUsers",
    "allAuthenticatedUsers",
    "allUsers",
)
CONDITIONS = (None, "identity.kubernetes.node.name == 'node-1'", "identity.kind == 'google'", "identity.expiresAt.getSeconds() >= 0")


class AnyTime(Reviews):
    """An API server that stands by the tokens of one service account, whenever it is asked."""

    def review(self, token: Secret[str], identity: Identity, *, now: datetime) -> None:
        del token, now
        if identity.subject.endswith("cart"):
            raise TokenRevokedError("The API server no longer stands by the token.")


class Directory:
    """Groups whose members are the same accounts always."""

    def is_member(self, email: str, groups: Any, *, now: datetime) -> bool:  # noqa: ANN401 - a sequence
        del now
        return email.startswith("gke") and "team@example.com" in groups


@st.composite
def policies(draw: st.DrawFn) -> InvokerPolicy:
    wanted = draw(st.lists(st.sampled_from(("/", "/private", "/private/*", "/private/**")), max_size=3, unique=True))
    rules = []
    for number, pattern in enumerate([*wanted, "/**"]):
        rules.append(
            Rule(
                name=f"rule-{number}",
                paths=(PathPattern.parse(pattern),),
                members=tuple(map(_member, draw(st.lists(st.sampled_from(MEMBERS), min_size=1, max_size=3)))),
                methods=draw(st.sampled_from((None, None, frozenset({"GET"}), frozenset({"POST", "HEAD"})))),
                condition=_condition(draw(st.sampled_from((None, *CONDITIONS)))),
                token_review=draw(_rarely()),
                google_groups=draw(st.sampled_from(((), ("team@example.com",)))),
            )
        )
    return InvokerPolicy(
        "any",
        (Audience(AUDIENCE),),
        ISSUERS,
        tuple(rules),
        mode=draw(st.sampled_from((Mode.ENFORCE, Mode.ENFORCE, Mode.AUDIT))),
        leeway=timedelta(seconds=draw(st.sampled_from((0, 30)))),
        several_audiences=draw(st.booleans()),
        serverless_authorization=draw(_rarely()),
        handler_token=HandlerToken.NONE if draw(_rarely()) else HandlerToken.WHOLE,
        group_resolver=draw(st.sampled_from((None, "cloudIdentity"))),
    )


def _rarely() -> st.SearchStrategy[bool]:
    return st.sampled_from((False, False, False, True))


def _member(text: str) -> Member:
    member = parse_member(text)
    assert not isinstance(member, GroupMember)
    return member


@cache
def _condition(text: str | None) -> Any:  # noqa: ANN401 - a condition, or none
    return None if text is None else compile_condition(text)


def usual(path: str, token: str) -> dict[str, Any]:
    """Return a request as nearly all of them are."""
    headers = [(b"host", b"orders"), (b"authorization", b"Bearer " + token.encode())]
    return {"type": "http", "method": "GET", "raw_path": path.encode(), "path": path, "root_path": "", "headers": headers}


def with_headers(*values: bytes) -> Callable[[str, bytes], dict[str, Any]]:
    """Change a request's `Authorization`; TOKEN stands for its token."""
    return lambda _, token: {"headers": [(b"authorization", value.replace(b"TOKEN", token)) for value in values]}


ODD: tuple[Callable[[str, bytes], dict[str, Any]], ...] = (
    lambda *_: {"type": "websocket"},
    lambda *_: {"method": "HEAD"},
    lambda *_: {"method": "POST"},
    lambda *_: {"method": "get"},
    lambda *_: {"root_path": "/private"},
    lambda *_: {"root_path": "/v1"},
    lambda path, _: {"raw_path": f"{path}?x=1".encode()},
    lambda path, _: {"raw_path": path.replace("p", "%70").encode()},
    lambda *_: {"path": "/"},
    with_headers(),
    with_headers(b"Bearer TOKEN", b"Bearer TOKEN"),
    with_headers(b"Basic x", b"Bearer TOKEN"),
    with_headers(b"bearer TOKEN"),
    with_headers(b"Bearer TOKEN "),
    with_headers(b"Bearer TOKEN,Bearer TOKEN"),
    with_headers(b"TOKEN"),
    lambda _, token: {
        "headers": [(b"x-serverless-authorization", b"Bearer " + TOKENS[0].encode()), (b"authorization", b"Bearer " + token)]
    },
)
TIMES = st.sampled_from([timedelta(seconds=each) for each in (-7200, -45, -21, -1, 0.5, 19, 45, 1800, 7200)])
KEYS = st.tuples(st.sampled_from(("cluster", "twin")), st.sampled_from(SETS))
STEPS = st.tuples(st.one_of(st.none(), TIMES, TIMES, KEYS, KEYS, policies()), st.sampled_from(PATHS), st.sampled_from(ODD))


class Pair:
    """The two guards, in one world."""

    def __init__(self, policy: InvokerPolicy) -> None:
        self.world = World(reviews=AnyTime())
        self.twin = LiveKeys((TWIN,))
        self.known = 0
        """How often somebody was recognised."""
        self.install(policy)

    def install(self, policy: InvokerPolicy) -> None:
        """Begin with a policy; the keys of the two issuers of one URL are apart then."""
        self.publish("cluster", (CLUSTER,))
        self.publish("twin", (TWIN,))
        self.remembering, self.forgetful = (Guard.from_policy(policy, self._wiring(**more)) for more in ({}, {"results": None}))

    def exchange(self, policy: InvokerPolicy) -> None:
        """Exchange the policy as a reload does."""
        remembering = self.remembering
        self.install(policy)
        remembering._judge, self.remembering = self.remembering._judge, remembering

    def publish(self, issuer: str, signers: tuple[Signer, ...]) -> None:
        """Exchange the keys of an issuer, or take them away."""
        keys = self.world.cluster if issuer == "cluster" else self.twin
        keys.publish(*signers)
        keys.is_down = not signers

    def ask(self, scope: dict[str, Any]) -> None:
        """Let both judge a request."""
        request = _incoming(scope, cuts_anywhere=False)
        expected = self.forgetful.decide_now(request)
        place = (scope["type"], scope["method"], scope["raw_path"], scope["root_path"], scope["path"])
        known = self.remembering.recognise(place, scope["headers"])
        if known is not None:
            self.known += 1
            assert isinstance(expected, Allow)
            assert (expected.audited, expected.edit) == (None, None)
            assert _who(known) == _who(expected.identity)
        assert _what(self.remembering.decide_now(request)) == _what(expected)

    def sweep(self, path: str, odd: Callable[[str, bytes], dict[str, Any]] = lambda *_: {}) -> None:
        """Let both judge a request with each token."""
        for token in TOKENS:
            self.ask(usual(path, token) | odd(path, token.encode()))

    def _wiring(self, **more: Any) -> Wiring:  # noqa: ANN401 - keywords of Wiring
        wiring = self.world.wiring(groups=Directory(), **more)
        wiring._keys.keys["twin"] = self.twin  # type: ignore[union-attr]
        return wiring


def _who(identity: Identity | None) -> tuple[object, ...] | None:
    return None if identity is None else (identity.issuer_name, identity.kind, identity.subject, identity.audience, identity.claims)


def _what(decision: Decision) -> tuple[object, ...]:
    if isinstance(decision, Allow):
        return _who(decision.identity), decision.rule, decision.audited, decision.edit
    return decision.status, decision.code, _who(decision.identity), decision.rule


def go(policy: InvokerPolicy, steps: list[Any]) -> None:
    """In each step, everybody asks for a place; then something changes, and everybody asks again, in the usual way and in an odd one."""
    pair = Pair(policy)
    for change, path, odd in steps:
        pair.sweep(path)
        match change:
            case timedelta():
                pair.world.clock.step(change)
            case InvokerPolicy():
                pair.exchange(change)
            case (str(issuer), signers):
                pair.publish(issuer, signers)
        pair.sweep(path)
        pair.sweep(path, odd)
        if isinstance(change, timedelta):
            pair.world.clock.step(-change)


WALKS = (policies(), st.lists(STEPS, min_size=3, max_size=6))


@settings(max_examples=20, deadline=None)
@given(*WALKS)
def test_invariant_1_what_is_remembered_admits_nobody_whom_a_guard_without_memory_would_not(
    policy: InvokerPolicy, steps: list[Any]
) -> None:
    go(policy, steps)


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(*WALKS)
def test_invariant_1_holds_over_many_walks(policy: InvokerPolicy, steps: list[Any]) -> None:
    go(policy, steps)


def test_a_walk_asks_those_who_are_known() -> None:
    everybody = Rule("all", (PathPattern.parse("/**"),), (_member("allAuthenticatedUsers"),))
    pair = Pair(InvokerPolicy("all", (Audience(AUDIENCE),), ISSUERS, (everybody,)))
    for _ in range(3):
        pair.sweep("/private")
    assert pair.known == 2 * 9  # each token that is accepted
