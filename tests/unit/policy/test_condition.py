# SPDX-License-Identifier: Apache-2.0
import pytest

from callers import google_account, workload
from podpass.errors import ConfigError
from podpass.policy.condition import VARIABLES, compile_condition
from podpass.verify.identity import Identity

POD = workload(
    "shop",
    "checkout",
    groups=["a", "b"],
    bound={
        "namespace": "shop",
        "serviceaccount": {"name": "checkout", "uid": "u-1"},
        "pod": {"name": "checkout-1", "uid": "u-2"},
        "node": {"name": "node-1", "uid": "u-3"},
    },
)
ROBOT = google_account(hd="example.com")


@pytest.mark.parametrize(
    ("text", "identity", "expected"),
    [
        ("identity.kubernetes.pod.name.startsWith('checkout')", POD, True),
        ("identity.kubernetes.pod.name.startsWith('checkout')", ROBOT, False),
        ("identity.kubernetes.pod.name.startsWith('checkout')", None, False),
        ("!identity.kubernetes.pod.name.startsWith('x')", ROBOT, False),
        ("identity.kind == 'google' || identity.kubernetes.namespace == 'shop'", POD, True),
        ("identity.kind == 'google' || identity.kubernetes.namespace == 'shop'", ROBOT, True),
        ("identity.kubernetes.serviceAccount.name == 'checkout'", POD, True),
        ("identity.kubernetes.serviceAccount.uid == 'u-1' && identity.kubernetes.pod.uid == 'u-2'", POD, True),
        ("identity.kubernetes.node.name == 'node-1' && identity.kubernetes.node.uid == 'u-3'", POD, True),
        ("identity.kubernetes.node.name != ''", workload(), False),
        ("identity.google.emailVerified && identity.google.email.endsWith('.com')", ROBOT, True),
        ("identity.google.hostedDomain == 'example.com'", ROBOT, True),
        ("identity.google.hostedDomain != 'evil.example'", google_account(), False),
        ("identity.issuer == 'google' && identity.issuerUrl == 'https://accounts.google.com'", ROBOT, True),
        ("identity.subject.startsWith('system:') && identity.audience == 'orders-api'", POD, True),
        ("identity.expiresAt - identity.issuedAt <= duration('3600s')", POD, True),
        ("identity.expiresAt - identity.issuedAt <= duration('600s')", POD, False),
        ("identity.issuedAt < identity.expiresAt", workload(iat=None), False),
        ("'a' in identity.claims.groups", POD, True),
        ("identity.claims.nothing == 'a'", POD, False),
        ("identity.claims.groups", POD, False),
        ("true", None, True),
        ("1 / 0 == 1", POD, False),
    ],
)
def test_condition_holds(text: str, identity: Identity | None, expected: bool) -> None:  # noqa: FBT001 - a column of the table
    assert compile_condition(text).holds(identity) is expected


def test_a_claim_that_cel_cannot_hold_spoils_only_conditions_over_claims() -> None:
    odd = workload(odd=2**70)
    assert compile_condition("identity.kubernetes.namespace == 'shop'").holds(odd)
    assert not compile_condition("identity.claims.odd == 1 || true").holds(odd)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("identity.kubernetes.pod.nmae == 'a'", "undeclared reference"),
        ("identity.subject", "It yields STRING"),
        ("identity.subject ==", "Syntax error"),
        ("identity.google.emailVerified == 'true'", "no matching overload"),
        ("request.path == '/'", "undeclared reference"),
    ],
)
def test_what_is_no_condition_is_found_when_it_is_read(text: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compile_condition(text)
    assert why in caught.value.why


def test_every_variable_can_be_used() -> None:
    for name in VARIABLES:
        compile_condition(f"{name} == {name}")


def test_a_condition_shows_its_text() -> None:
    assert repr(compile_condition("identity.kind == 'google'")) == "CelCondition(\"identity.kind == 'google'\")"
