# SPDX-License-Identifier: Apache-2.0
import pytest

from callers import EMAIL, google_account, identity_of, workload
from podpass.errors import ConfigError
from podpass.policy.members import AllAuthenticatedUsers, GroupMember, parse_member
from podpass.verify.identity import Identity
from token_forge import ISSUER, kubernetes_claims

CHECKOUT = workload("shop", "checkout")
PERSON = google_account(email="ann@example.com", hd="example.com")
ROBOT = google_account()
STRANGER = identity_of(kubernetes_claims(sub="repo:shop"), name="ci", kind="oidc")

CASES = [
    ("allUsers", None, True),
    ("allUsers", CHECKOUT, True),
    ("allAuthenticatedUsers", None, False),
    ("allAuthenticatedUsers", STRANGER, True),
    ("kubernetes:cluster/shop/checkout", CHECKOUT, True),
    ("kubernetes:cluster/shop/checkout", None, False),
    ("kubernetes:cluster/shop/checkout", workload("shop", "checkout", issuer="other"), False),
    ("kubernetes:cluster/shop/checkout", workload("shop", "cart"), False),
    ("kubernetes:cluster/shop/checkout", workload("shop-2", "checkout"), False),
    ("kubernetes:cluster/shop/*", workload("shop", "cart"), True),
    ("kubernetes:cluster/*/checkout", workload("other", "checkout"), True),
    ("kubernetes:*/shop/checkout", workload("shop", "checkout", issuer="other"), True),
    ("kubernetes:*/*/*", ROBOT, False),
    ("kubernetes:*/*/*", STRANGER, False),
    (f"serviceAccount:{EMAIL}", ROBOT, True),
    (f"serviceAccount:{EMAIL}", google_account(email_verified=False), False),
    (f"serviceAccount:{EMAIL}", google_account(email_verified="true"), False),
    (f"serviceAccount:{EMAIL}", google_account(email_verified=None), False),
    (f"serviceAccount:{EMAIL}", google_account(email=None), False),
    (f"serviceAccount:{EMAIL}", google_account(email=f"x{EMAIL}"), False),
    (f"serviceAccount:{EMAIL}", workload(email=EMAIL, email_verified=True), False),
    ("user:ann@example.com", PERSON, True),
    ("user:ann@example.com", google_account(email="Ann@Example.com"), True),
    ("user:ann@example.com", google_account(email="ann@example.com", email_verified=False), False),
    ("user:ann@example.com", google_account(email="bob@example.com"), False),
    ("user:ann@example.com", google_account(email=None), False),
    ("user:ann@example.com", workload(email="ann@example.com", email_verified=True), False),
    ("user:ann@example.com", None, False),
    ("domain:example.com", PERSON, True),
    ("domain:example.com", google_account(email="ann@example.com"), False),
    ("domain:example.com", google_account(hd="evil.example.com"), False),
    ("domain:example.com", workload(hd="example.com"), False),
    ("subject:ci/repo:shop", STRANGER, True),
    ("subject:other/repo:shop", STRANGER, False),
    ("subject:cluster/system:serviceaccount:shop:checkout", CHECKOUT, True),
    ("subject:ci/repo", STRANGER, False),
]


@pytest.mark.parametrize(("member", "identity", "expected"), CASES)
def test_member_admits(member: str, identity: Identity | None, expected: bool) -> None:  # noqa: FBT001 - a column of the table
    parsed = parse_member(member)
    assert not isinstance(parsed, GroupMember)
    assert parsed.admits(identity) is expected
    assert str(parsed) == member


def test_a_group_is_a_name_until_its_members_are_known() -> None:
    assert parse_member("group:callers") == GroupMember("callers")
    assert parse_member("allAuthenticatedUsers") == AllAuthenticatedUsers()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "checkout",
        "kubernetes:",
        "kubernetes:cluster/shop",
        "kubernetes:cluster/shop/checkout/x",
        "kubernetes:/shop/checkout",
        "kubernetes:cluster/Shop/checkout",
        "kubernetes:cluster/sh*/checkout",
        "serviceAccount:ann@example.com",
        "serviceAccount:*",
        "user:Ann@example.com",
        "user:ann",
        "user:ann@example",
        "user:*@example.com",
        "user:robot@demo-project.iam.gserviceaccount.com",
        "domain:Example.com",
        "domain:com",
        "domain:*.example.com",
        "subject:ci",
        "subject:/x",
        "subject:ci/",
        "subject:ci/repo:*",
        "group:",
        "role:admin",
        "group:Team@example.com",
        "group:team@",
        "allusers",
    ],
)
def test_what_is_no_member_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_member(text)


def test_an_issuer_of_another_kind_makes_no_service_account() -> None:
    assert identity_of(kubernetes_claims(iss=ISSUER), name="cluster", kind="oidc").kubernetes is None
