# SPDX-License-Identifier: Apache-2.0
"""What contract tests cannot see: what a decision says to logs, and what it asks of whom."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from guarding import World, bearer, good, google, of, policy
from podpass.discovery.group_lookup import GroupLookup
from podpass.errors import GroupsUnavailableError, KeySetError, UnexpectedAnswerError
from podpass.guard import Allow, Deny, Incoming
from podpass.guard.answer import refusal
from podpass.guard.decide import Judge
from podpass.names import GoogleServiceAccount
from podpass.policy import InvokerPolicy, Refusal, Rule
from podpass.policy.condition import compile_condition
from podpass.policy.members import ServiceAccountMember
from podpass.policy.path_pattern import PathPattern
from token_forge import NOW, SUBJECT


def ask(target: str = "/private", token: str | None = None) -> Incoming:
    return Incoming("GET", target.encode(), [bearer(token)] if token else [])


def decide(world: World, request: Incoming) -> Allow | Deny:
    return world.wiring().judge(policy(world.mode)).decide(request, now=NOW)


def test_an_admission_names_the_caller_and_the_rule() -> None:
    decision = decide(World(), ask(token=good()))
    assert isinstance(decision, Allow)
    assert decision.identity is not None
    assert (decision.identity.subject, decision.rule, decision.audited) == (SUBJECT, "private", None)
    assert decision.reason == "rule private admits the caller"


def test_audit_notes_what_the_rules_would_have_refused() -> None:
    for target, token, refused, rule in (
        ("/private", of("shop", "cart"), Refusal.NOT_A_MEMBER, "private"),
        ("/nowhere", good(), Refusal.NO_RULE, None),
        ("/node", google(), Refusal.CONDITION, "node"),
    ):
        decision = decide(World("audit"), ask(target, token))
        assert isinstance(decision, Allow)
        assert (decision.audited, decision.rule) == (refused, rule)


def test_a_denial_names_the_caller_as_far_as_it_is_known() -> None:
    decision = decide(World(), ask(token=of("shop", "cart")))
    assert isinstance(decision, Deny)
    assert (str(decision.identity), decision.rule) == ("cluster/system:serviceaccount:shop:cart", "private")
    decision = decide(World(), ask())
    assert isinstance(decision, Deny)
    assert decision.reason == "the request has no token, and rule private does not name the caller"


def test_the_api_server_is_asked_where_the_rule_wants_it_and_nowhere_else() -> None:
    world = World()
    for target in ("/", "/private", "/nowhere"):
        decide(world, ask(target, good()))
    decide(world, ask("/reviewed", google()))
    decide(world, ask("/reviewed"))
    assert world.reviews.asked == []
    assert isinstance(decide(world, ask("/reviewed", good())), Allow)
    assert world.reviews.asked == [(SUBJECT, "orders-api")]


@pytest.mark.parametrize("mode", ["enforce", "audit"])
def test_invariant_1_a_review_is_authentication_and_not_relaxed(mode: str) -> None:
    world = World(mode)
    world.reviews.gone.add(SUBJECT)
    decision = decide(world, ask("/reviewed", good()))
    assert isinstance(decision, Deny)
    assert (decision.status, decision.code) == (401, "token.revoked")
    world.reviews.is_down = True
    decision = decide(world, ask("/reviewed", good()))
    assert isinstance(decision, Deny)
    assert (decision.status, decision.code, decision.retry_after_s) == (503, "review.unavailable", 1)


def test_a_review_that_nobody_can_do_is_a_503() -> None:
    judge = Judge(policy(), World().wiring().judge(policy()).authenticator)
    decision = judge.decide(ask("/reviewed", good()), now=NOW)
    assert isinstance(decision, Deny)
    assert (decision.status, decision.retry_after_s) == (503, 10)


@pytest.mark.parametrize(("after_s", "header"), [(0.0, "1"), (0.2, "1"), (2.5, "3"), (10.0, "10")])
def test_retry_after_is_in_whole_seconds(after_s: float, header: str) -> None:
    denied = Deny(503, "keys.unavailable", "", retry_after_s=max(1, -int(-after_s // 1)))
    assert dict(refusal(denied).headers)["retry-after"] == header


@pytest.mark.parametrize("error", [KeySetError("The JWKS cannot be read."), UnexpectedAnswerError("Not JSON.")])
def test_a_neighbours_fault_is_a_503(error: Exception) -> None:
    class Broken:
        def authenticate(self, token: bytes, *, now: Any) -> Any:  # noqa: ANN401, ARG002 - the protocol's
            raise error

        def missing_keys(self) -> tuple[str, ...]:
            return ()

    decision = Judge(policy(), Broken()).decide(ask(token=good()), now=NOW)
    assert isinstance(decision, Deny)
    assert (decision.status, decision.retry_after_s) == (503, 10)


def test_the_moment_is_the_callers() -> None:
    judge = World().wiring().judge(policy())
    late = judge.decide(ask(token=good()), now=NOW + timedelta(hours=2))
    assert isinstance(late, Deny)
    assert late.code == "token.expired"


@pytest.mark.parametrize("method", ["post", "Post", "get", "GEt"])
def test_a_method_that_frameworks_read_differently_is_refused(method: str) -> None:
    decision = decide(World(), Incoming(method, b"/", []))
    assert isinstance(decision, Deny)
    assert (decision.status, decision.code) == (400, "request.ambiguous-method")


@dataclass
class Groups:
    """A directory that has answered already, or cannot."""

    members: set[tuple[str, str]] = field(default_factory=set)
    is_down: bool = False
    asked: list[str] = field(default_factory=list)

    def is_member(self, email: str, groups: Sequence[str], *, now: datetime) -> bool:
        assert now == NOW
        self.asked.append(email)
        if self.is_down:
            raise GroupsUnavailableError("Nobody can tell.", retry_after_s=2)
        return any((group, email) in self.members for group in groups)


TEAM = "team@example.com"


def of_group(groups: Groups | None, token: str | None, target: str = "/team") -> Allow | Deny:
    source = policy()
    rules = (
        Rule("team", (PathPattern.parse("/team"),), (ServiceAccountMember(GoogleServiceAccount(ROBOT)),), google_groups=(TEAM,)),
        Rule("cond", (PathPattern.parse("/cond"),), (), condition=compile_condition("identity.kind == 'oidc'"), google_groups=(TEAM,)),
    )
    grouped = InvokerPolicy("p", source.audiences, source.issuers, rules, group_resolver="cloudIdentity")
    judge = World().wiring(groups=groups or Groups()).judge(grouped)
    if groups is None:
        judge = Judge(grouped, judge.authenticator)
    return judge.decide(ask(target, token), now=NOW)


ROBOT = "robot@demo-project.iam.gserviceaccount.com"


def test_a_google_group_admits_its_members() -> None:
    groups = Groups({(TEAM, "ann@example.com")})
    assert isinstance(of_group(groups, google(email="Ann@example.com")), Allow)
    denied = of_group(groups, google(email="bob@example.com"))
    assert isinstance(denied, Deny)
    assert (denied.status, denied.code) == (403, "policy.not-a-member")


def test_a_google_group_is_asked_only_about_callers_whose_email_google_has_verified() -> None:
    groups = Groups({(TEAM, "ann@example.com")})
    for token, status in (
        (google(email="ann@example.com", email_verified=False), 403),
        (google(email=None), 403),
        (good(email="ann@example.com", email_verified=True), 403),
        (None, 401),
    ):
        denied = of_group(groups, token)
        assert isinstance(denied, Deny)
        assert denied.status == status
    assert groups.asked == []


def test_a_member_by_name_is_admitted_without_asking() -> None:
    groups = Groups(is_down=True)
    assert isinstance(of_group(groups, google(email=ROBOT)), Allow)
    assert groups.asked == []


def test_where_nobody_can_tell_who_is_in_a_group_the_answer_is_503() -> None:
    denied = of_group(Groups(is_down=True), google(email="ann@example.com"))
    assert isinstance(denied, Deny)
    assert (denied.status, denied.code, denied.retry_after_s) == (503, "groups.unavailable", 2)


def test_a_condition_holds_for_members_of_groups_as_well() -> None:
    denied = of_group(Groups({(TEAM, "ann@example.com")}), google(email="ann@example.com"), "/cond")
    assert isinstance(denied, Deny)
    assert denied.code == "policy.condition"


def test_without_a_resolver_no_google_group_admits_anybody() -> None:
    denied = of_group(None, google(email="ann@example.com"))
    assert isinstance(denied, Deny)
    assert denied.code == "policy.not-a-member"


def test_the_wiring_finds_a_resolver_where_a_policy_wants_one() -> None:
    wanting = InvokerPolicy("p", group_resolver="cloudIdentity")
    wiring = World().wiring()
    assert isinstance(wiring.judge(wanting).groups, GroupLookup)
    assert wiring.judge(wanting).groups is wiring.judge(wanting).groups, "a reload forgets no answers"
    assert wiring.judge(policy()).groups is None


def test_in_audit_mode_the_api_server_is_not_asked_about_tokens_that_are_none_of_its_own() -> None:
    world = World("audit")
    decision = decide(world, ask("/reviewed", google()))
    assert isinstance(decision, Allow)
    assert decision.audited is Refusal.NOT_A_MEMBER
    assert world.reviews.asked == []
