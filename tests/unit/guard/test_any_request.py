# SPDX-License-Identifier: Apache-2.0
"""A guard that remembers places and tokens against one that remembers nothing, over whatever may happen between requests."""

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
PATHS = ("/", "/private", "/private/", "/private/a", "/private/a/b", "/other", "/v1/private")
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
    wanted = draw(st.lists(st.sampled_from(("/", "/private", "/private/*", "/private/**", "/**")), min_size=1, max_size=4, unique=True))
    rules = []
    for number, pattern in enumerate(wanted):
        rules.append(
            Rule(
                name=f"rule-{number}",
                paths=(PathPattern.parse(pattern),),
                members=tuple(map(_member, draw(st.lists(st.sampled_from(MEMBERS), min_size=1, max_size=3)))),
                methods=draw(st.sampled_from((None, None, frozenset({"GET"}), frozenset({"POST", "HEAD"})))),
                condition=_condition(draw(st.sampled_from(CONDITIONS))),
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
    return st.sampled_from((False,) * 9 + (True,))


def _member(text: str) -> Member:
    member = parse_member(text)
    assert not isinstance(member, GroupMember)
    return member


@cache
def _condition(text: str | None) -> Any:  # noqa: ANN401 - a condition, or none
    return None if text is None else compile_condition(text)


def usual(path: str, number: int) -> dict[str, Any]:
    """Return a request as nearly all of them are, with one of the tokens."""
    headers = [(b"host", b"orders"), (b"authorization", b"Bearer " + TOKENS[number].encode())]
    return {"type": "http", "method": "GET", "raw_path": path.encode(), "path": path, "root_path": "", "headers": headers}


NUMBERS = st.integers(0, len(TOKENS) - 1)


@st.composite
def odd(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a request that is another one in some respect."""
    path, number = draw(st.sampled_from(PATHS)), draw(NUMBERS)
    token = TOKENS[number].encode()
    plain = (b"authorization", b"Bearer " + token)
    changes: tuple[dict[str, Any], ...] = (
        {"type": "websocket"},
        *({"method": method} for method in ("HEAD", "POST", "get")),
        *({"root_path": root} for root in ("/private", "/v1")),
        {"raw_path": f"{path}?x=1".encode()},
        {"raw_path": path.replace("p", "%70").encode()},
        {"path": "/"},
        {"headers": []},
        {"headers": [plain, plain]},
        *({"headers": [(b"authorization", value)]} for value in (b"bearer " + token, b"Bearer " + token + b" ", b"Basic x", token)),
        {"headers": [(b"x-serverless-authorization", b"Bearer " + TOKENS[0].encode()), plain]},
    )
    return {**usual(path, number), **draw(st.sampled_from(changes))}


REQUESTS = st.builds(usual, st.sampled_from(PATHS[:3]), NUMBERS)
TIMES = st.sampled_from([timedelta(seconds=each) for each in (-7200, -45, -21, -1, 0.5, 19, 45, 1800, 7200)])
KEYS = st.tuples(st.sampled_from(("cluster", "twin")), st.sampled_from(SETS))
STEPS = st.one_of(*[REQUESTS] * 6, odd(), odd(), TIMES, KEYS, policies())


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
    """Take all steps, and ask twice wherever something is asked."""
    pair = Pair(policy)
    for step in steps:
        match step:
            case timedelta():
                pair.world.clock.step(step)
            case InvokerPolicy():
                pair.exchange(step)
            case (str(issuer), signers):
                pair.publish(issuer, signers)
            case scope:
                for _ in range(2):
                    pair.ask(dict(scope))


WALKS = (policies(), st.lists(STEPS, min_size=10, max_size=30))


@settings(max_examples=40, deadline=None)
@given(*WALKS)
def test_invariant_1_what_is_remembered_admits_nobody_whom_a_guard_without_memory_would_not(
    policy: InvokerPolicy, steps: list[Any]
) -> None:
    go(policy, steps)


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(*WALKS)
def test_invariant_1_holds_over_many_walks(policy: InvokerPolicy, steps: list[Any]) -> None:
    go(policy, steps)


def test_a_walk_asks_those_who_are_known() -> None:
    pair = Pair(InvokerPolicy.nobody())
    everybody = Rule("all", (PathPattern.parse("/**"),), (_member("allAuthenticatedUsers"),))
    pair.exchange(InvokerPolicy("all", (Audience(AUDIENCE),), ISSUERS, (everybody,)))
    for number in range(len(TOKENS)):
        for _ in range(3):
            pair.ask(usual("/private", number))
    assert pair.known == 2 * 9  # of each token that is accepted
