# SPDX-License-Identifier: Apache-2.0
from podpass.sandbox.google.catalogue import SERVICES
from podpass.sandbox.google.roles import PERMISSIONS, TITLES
from podpass.sandbox.google.service import Public


def test_every_permission_that_is_asked_for_is_in_some_role() -> None:
    granted = frozenset().union(*PERMISSIONS.values())
    asked = {each.permission for service in SERVICES for each in service.methods if not isinstance(each.permission, Public)}
    assert asked <= granted


def test_basic_roles_hold_less_and_less() -> None:
    assert PERMISSIONS["roles/owner"] > PERMISSIONS["roles/editor"] > PERMISSIONS["roles/viewer"]
    assert "iam.serviceAccounts.getAccessToken" not in PERMISSIONS["roles/owner"]
    assert "storage.objects.get" not in PERMISSIONS["roles/owner"]


def test_a_workload_s_role_mints_tokens_and_signs_nothing() -> None:
    """google-behaviour: accounts."""
    user, creator = PERMISSIONS["roles/iam.workloadIdentityUser"], PERMISSIONS["roles/iam.serviceAccountTokenCreator"]
    assert {"iam.serviceAccounts.getAccessToken", "iam.serviceAccounts.getOpenIdToken"} <= user < creator
    assert {each.rpartition(".")[2] for each in creator - user} == {"implicitDelegation", "signBlob", "signJwt"}
    assert TITLES.keys() == PERMISSIONS.keys()
