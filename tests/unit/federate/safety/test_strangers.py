# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable
from dataclasses import replace

import pytest

from podpass.config.federation import Federation
from podpass.federate.desired import desired
from podpass.federate.model.change import Action, Change
from podpass.federate.model.facts import Facts
from podpass.federate.model.plan import Caution
from podpass.federate.safety.strangers import cautions
from podpass.names import PoolName

POOL = "principalSet://iam.googleapis.com/projects/415104041262/locations/global/workloadIdentityPools/workload-identity-demo"
OTHERS = "iam.googleapis.com/projects/999999999999/locations/global/workloadIdentityPools/theirs"
DECLARED = f"{POOL.replace('principalSet', 'principal')}/subject/system:serviceaccount:default:workload-identity-demo"
ACCOUNT = "account/wif-demo-sa@demo-project.iam.gserviceaccount.com"
PROJECT = "project/demo-project"
USER = "roles/iam.workloadIdentityUser"
OURS = f"serviceAccount:{ACCOUNT.partition('/')[2]}"
CONDITION = {"title": "Office hours", "expression": "request.time.getHours('Europe/Berlin') < 18"}

Told = Callable[..., list[Caution]]


@pytest.fixture
def told(federation: Federation, facts: Facts) -> Told:
    def judge(target: str, role: str, *members: str, changes: tuple[Change, ...] = (), **condition: object) -> list[Caution]:
        policies = {target: {"bindings": [{"role": role, "members": list(members), **condition}]}}
        pool = PoolName(facts.project_number, federation.google.pool.id)
        return list(cautions(federation, pool, policies, desired.resources(federation, facts), changes))

    return judge


@pytest.mark.parametrize(
    ("code", "target", "role", "member"),
    [
        ("whole-pool", ACCOUNT, USER, f"{POOL}/*"),
        ("whole-pool", PROJECT, "roles/viewer", f"{POOL}/*"),
        ("whole-pool", "bucket/photos", "roles/storage.admin", f"{POOL}/*"),
        ("undeclared-member", ACCOUNT, USER, f"{POOL}/attribute.namespace/default"),
        ("undeclared-member", PROJECT, "roles/viewer", f"{DECLARED}-2"),
        ("other-pool", ACCOUNT, USER, f"principal://{OTHERS}/subject/system:serviceaccount:default:workload-identity-demo"),
        ("other-pool", ACCOUNT, "roles/iam.serviceAccountTokenCreator", f"principalSet://{OTHERS}/*"),
        ("other-pool", PROJECT, USER, f"principalSet://{OTHERS}/group/admins"),
        ("other-pool", ACCOUNT, USER, "serviceAccount:their-project.svc.id.goog[default/somebody]"),
        ("public-member", ACCOUNT, USER, "allAuthenticatedUsers"),
        ("undeclared-grant", PROJECT, "roles/owner", OURS),
    ],
)
def test_who_can_do_what_a_workload_can_is_told_with_the_command_that_ends_it(
    told: Told, code: str, target: str, role: str, member: str
) -> None:
    (caution,) = told(target, role, member)
    assert caution.code == code
    assert caution.message.startswith(f"{member} has {role} on {target}. ")
    assert "remove-iam-policy-binding" in caution.message
    assert f"--role={role}" in caution.message


@pytest.mark.parametrize(
    ("target", "role", "member"),
    [
        (ACCOUNT, USER, DECLARED),
        (ACCOUNT, "roles/iam.serviceAccountUser", "user:somebody@example.com"),
        (PROJECT, "roles/storage.admin", OURS),
        (PROJECT, "roles/owner", "user:somebody@example.com"),
        (PROJECT, "roles/viewer", f"principalSet://{OTHERS}/*"),
        (PROJECT, "roles/viewer", f"deleted:{POOL}/*"),
        ("bucket/photos", "roles/storage.objectViewer", "allUsers"),
    ],
)
def test_what_is_declared_and_what_is_none_of_the_federations_is_not_spoken_of(told: Told, target: str, role: str, member: str) -> None:
    assert told(target, role, member) == []


def test_a_set_says_whom_it_stands_for(told: Told) -> None:
    (caution,) = told(ACCOUNT, USER, f"{POOL}/attribute.namespace/shop")
    assert "It is a set: every account whose attribute.namespace is 'shop'." in caution.message


def test_a_declared_member_under_another_condition_is_another_grant(told: Told) -> None:
    (caution,) = told(PROJECT, "roles/storage.admin", OURS, condition=CONDITION)
    assert caution.code == "undeclared-grant"
    assert "under the condition 'Office hours'" in caution.message
    assert "title=Office hours" in caution.message


def test_many_members_of_one_role_are_one_caution(told: Told) -> None:
    (caution,) = told(PROJECT, "roles/viewer", *(f"{DECLARED}-{number}" for number in range(500)))
    assert "and so have 499 more like it" in caution.message
    (caution,) = told(PROJECT, "roles/viewer", f"{DECLARED}-1", f"{DECLARED}-2")
    assert "and so has 1 more like it" in caution.message


@pytest.mark.parametrize("action", [Action.DELETE, Action.UPDATE])
def test_what_the_plan_takes_away_is_not_spoken_of(told: Told, action: Action) -> None:
    member = f"{POOL}/attribute.sub/system:serviceaccount:default:workload-identity-demo"
    item = {"target": ACCOUNT, "role": USER, "member": member}
    new = {**item, "member": DECLARED}
    change = Change("binding/default/n", action, item if action is Action.DELETE else new, item)
    assert told(ACCOUNT, USER, member, changes=(change,)) == []
    assert len(told(ACCOUNT, USER, member)) == 1


def test_what_an_account_has_that_was_there_before_is_its_own_business(federation: Federation, facts: Facts, told: Told) -> None:
    (workload,) = federation.workloads
    shared = replace(federation, workloads=(replace(workload, account_is_existing=True),))
    policies = {PROJECT: {"bindings": [{"role": "roles/owner", "members": [OURS]}]}}
    pool = PoolName(facts.project_number, federation.google.pool.id)
    assert list(cautions(shared, pool, policies, desired.resources(shared, facts), ())) == []
    assert len(told(PROJECT, "roles/owner", OURS)) == 1


def test_without_a_google_account_the_projects_impersonators_are_not_the_federations(federation: Federation, facts: Facts) -> None:
    (workload,) = federation.workloads
    direct = replace(federation, workloads=(replace(workload, google_service_account=None),))
    policies = {PROJECT: {"bindings": [{"role": USER, "members": [f"principalSet://{OTHERS}/*"]}]}}
    pool = PoolName(facts.project_number, federation.google.pool.id)
    assert list(cautions(direct, pool, policies, desired.resources(direct, facts), ())) == []
