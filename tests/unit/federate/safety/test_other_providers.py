# SPDX-License-Identifier: Apache-2.0
"""A pool that holds others' providers is not taken over with the rest. (What `safety` refuses of them is in its own tests.)"""

from dataclasses import replace

import pytest

from podpass.config.federation import Federation
from podpass.errors import UnsafePlanError
from podpass.federate.desired.principals import OtherProvider
from podpass.federate.model.change import OWN_MARK, Action, Change
from podpass.federate.model.facts import Facts
from podpass.federate.model.plan import Plan, Subject
from podpass.federate.safety.allowances import Allowances, check_allowed
from podpass.federate.safety.other_providers import claimed
from podpass.verify import KeySet
from unit.federate.safety.situations import FORMER, KNOWN, OF_THE_CLUSTER, situation

POOL = Change("pool/shop", Action.ADOPT, {"project": "demo-project", "pool": "shop"})
GITHUB = OtherProvider("github", "https://token.actions.githubusercontent.com", {"google.subject": "assertion.sub"})
SAML = OtherProvider("staff", "")


def plan(*changes: Change) -> Plan:
    return Plan(Subject("demo", "cluster-a", "demo-project", "1", "https://a.example", "//x"), (), changes)


def test_a_pool_with_others_providers_is_adopted_by_its_own_address_only(federation: Federation, facts: Facts) -> None:
    found = claimed([POOL], situation(federation, facts, others=(GITHUB, SAML)))
    with pytest.raises(UnsafePlanError) as caught:
        check_allowed(plan(*found), Allowances(adopt=("*", "pool/*")))
    assert "pool/shop exists already, and others use it." in caught.value.what
    assert "github (https://token.actions.githubusercontent.com), staff (no OIDC issuer)" in caught.value.why
    assert "--adopt pool/shop" in caught.value.next_step
    assert "existing: true" in caught.value.next_step
    check_allowed(plan(*found), Allowances(adopt=("pool/shop",)))


def test_a_deleted_pool_with_others_providers_comes_back_by_its_own_address_only(federation: Federation, facts: Facts) -> None:
    deleted = replace(POOL, action=Action.UNDELETE)
    found = claimed([deleted], situation(federation, facts, others=(GITHUB,)))
    with pytest.raises(UnsafePlanError, match="undeletes pool/shop, and with it what others had there") as caught:
        check_allowed(plan(*found), Allowances(undelete=("*", "pool/*")))
    assert "github (https://token.actions.githubusercontent.com)" in caught.value.why
    check_allowed(plan(*found), Allowances(undelete=("pool/shop",)))
    ours = replace(deleted, known=True)
    assert claimed([ours], situation(federation, facts, others=(GITHUB,))) == (ours,)


def test_many_of_them_are_counted(federation: Federation, facts: Facts) -> None:
    many = tuple(replace(GITHUB, provider_id=f"github-{number}") for number in range(7))
    (change,) = claimed([POOL], situation(federation, facts, others=many))
    assert change.owner.endswith("github-4 (https://token.actions.githubusercontent.com) and 2 more")


def test_a_pool_of_this_cluster_alone_is_adopted_with_the_rest(federation: Federation, facts: Facts) -> None:
    kids = frozenset(KeySet.parse(facts.jwks).keys)
    alike = (
        OtherProvider("by-hand", facts.issuer),
        OtherProvider("by-hand", "https://elsewhere.example", kids=kids),
        replace(FORMER, issuer="https://before.example", mark=OF_THE_CLUSTER),
    )
    for others in ((), *((one,) for one in alike)):
        assert claimed([POOL], situation(federation, facts, others=others, receipt=KNOWN)) == (POOL,)
    (foreign,) = claimed([POOL], situation(federation, facts, others=(OtherProvider("b", facts.issuer, kids=frozenset({"theirs"})),)))
    assert foreign.is_anothers


def test_nothing_is_said_of_what_is_signed_or_not_adopted(federation: Federation, facts: Facts) -> None:
    changes = (
        replace(POOL, owner=OWN_MARK),
        replace(POOL, action=Action.CREATE),
        Change("provider/cluster", Action.ADOPT, {}),
    )
    assert claimed(changes, situation(federation, facts, others=(GITHUB,))) == changes
