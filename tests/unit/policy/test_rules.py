# SPDX-License-Identifier: Apache-2.0
import pytest

from callers import google_account, verdict_of, workload
from podpass.errors import ConfigError
from podpass.policy import InvokerPolicy, Mode, Refusal, Request, Rule, Verdict
from podpass.policy.condition import compile_condition
from podpass.policy.members import AllAuthenticatedUsers, AllUsers, Member, parse_member
from podpass.policy.path_pattern import PathPattern
from podpass.verify.identity import Identity

CHECKOUT, CART = workload("shop", "checkout"), workload("shop", "cart")


def rule(name: str, paths: str, member: str, methods: str = "", condition: str = "", *, token_review: bool = False) -> Rule:
    parsed = parse_member(member)
    assert isinstance(parsed, Member)
    return Rule(
        name,
        tuple(map(PathPattern.parse, paths.split())),
        (parsed,),
        frozenset(methods.split()) or None,
        compile_condition(condition) if condition else None,
        token_review,
    )


POLICY = InvokerPolicy(
    "shop",
    rules=(
        rule("anybody", "/**", "allUsers"),
        rule("private", "/private /private/**", "kubernetes:cluster/shop/checkout", "GET"),
        rule("private-write", "/private", "kubernetes:cluster/shop/cart", "POST"),
        rule("health", "/private/health", "allUsers", "GET"),
        rule("health-rest", "/private/health", "allAuthenticatedUsers"),
        rule("pods", "/pods", "allAuthenticatedUsers", "", "identity.kubernetes.pod.name.startsWith('checkout')"),
    ),
)


@pytest.mark.parametrize(
    ("method", "path", "identity", "decided_by", "refusal"),
    [
        ("GET", "/", None, "anybody", None),
        ("GET", "/private", CHECKOUT, "private", None),
        ("GET", "/private/", CHECKOUT, "private", None),
        ("HEAD", "/private", CHECKOUT, "private", None),
        ("GET", "/private", CART, "private", Refusal.NOT_A_MEMBER),
        ("GET", "/private", None, "private", Refusal.NOT_A_MEMBER),
        ("POST", "/private", CART, "private-write", None),
        ("POST", "/private", CHECKOUT, "private-write", Refusal.NOT_A_MEMBER),
        ("DELETE", "/private", CHECKOUT, None, Refusal.NO_METHOD),
        ("get", "/private", CHECKOUT, None, Refusal.NO_METHOD),
        ("GET", "/private/a/b", CHECKOUT, "private", None),
        ("GET", "/private/a/b", None, "private", Refusal.NOT_A_MEMBER),
        ("GET", "/private/health", None, "health", None),
        ("HEAD", "/private/health", None, "health", None),
        ("PUT", "/private/health", None, "health-rest", Refusal.NOT_A_MEMBER),
        ("PUT", "/private/health", CART, "health-rest", None),
        ("GET", "/pods", CHECKOUT, "pods", None),
        ("GET", "/pods", CART, "pods", Refusal.CONDITION),
        ("GET", "/pods", google_account(), "pods", Refusal.CONDITION),
    ],
)
def test_the_most_specific_rule_decides(
    method: str, path: str, identity: Identity | None, decided_by: str | None, refusal: Refusal | None
) -> None:
    verdict = verdict_of(POLICY, Request(method, path), identity)
    assert (verdict.rule and verdict.rule.name, verdict.refusal) == (decided_by, refusal)


def test_invariant_1_a_policy_without_rules_admits_nobody() -> None:
    for identity in (None, CHECKOUT):
        assert verdict_of(InvokerPolicy.nobody(), Request("GET", "/"), identity).refusal is Refusal.NO_RULE


def test_the_mode_changes_no_verdict() -> None:
    rules = (rule("one", "/one", "allUsers"),)
    for mode in Mode:
        assert verdict_of(InvokerPolicy("p", rules=rules, mode=mode), Request("GET", "/two"), None).refusal is Refusal.NO_RULE


def test_the_order_of_rules_in_the_file_changes_no_verdict() -> None:
    backwards = InvokerPolicy("shop", rules=tuple(reversed(POLICY.rules)))
    for method in ("GET", "HEAD", "POST", "DELETE"):
        for path in ("/", "/private", "/private/a", "/private/health", "/pods"):
            for identity in (None, CHECKOUT, CART):
                request = Request(method, path)
                assert verdict_of(backwards, request, identity) == verdict_of(POLICY, request, identity)


def test_two_rules_for_one_place_and_method_are_refused() -> None:
    with pytest.raises(ConfigError, match="GET on /a is decided by rule one already"):
        InvokerPolicy("p", rules=(rule("one", "/a", "allUsers", "GET POST"), rule("two", "/a/", "allUsers", "GET")))
    with pytest.raises(ConfigError, match=r"Every other method on /\*\* is decided by rule one already"):
        InvokerPolicy("p", rules=(rule("one", "/**", "allUsers"), rule("two", "/**", "allAuthenticatedUsers")))


def test_a_verdict_cannot_be_mistaken_for_yes_or_no() -> None:
    with pytest.raises(TypeError, match="look at its refusal"):
        bool(Verdict(None, Refusal.NO_RULE))


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [
        (Verdict(None, Refusal.NO_RULE), "no rule is for this path"),
        (Verdict(None, Refusal.NO_METHOD), "no rule is for this method on this path"),
        (Verdict(POLICY.rules[0], None), "rule anybody admits the caller"),
        (Verdict(POLICY.rules[0], Refusal.NOT_A_MEMBER), "rule anybody does not name the caller"),
        (Verdict(POLICY.rules[0], Refusal.CONDITION), "rule anybody has a condition that does not hold for the caller"),
    ],
)
def test_verdicts_say_why(verdict: Verdict, reason: str) -> None:
    assert verdict.reason == reason


def test_members_are_asked_one_by_one() -> None:
    both = Rule("r", (PathPattern.parse("/"),), (AllAuthenticatedUsers(), AllUsers()))
    assert verdict_of(InvokerPolicy("p", rules=(both,)), Request("GET", "/"), None).refusal is None
