# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterable
from dataclasses import replace

import pytest
import yaml

from podpass.config.federation import Federation, Grant, GrantCondition, Workload
from podpass.federate.model.change import Action, Change
from podpass.federate.safety.limits import Crowd
from podpass.google.policy import Policy
from podpass.names import GoogleServiceAccount, ServiceAccountRef

TARGET = "project/demo-project"


def grants(count: int, action: Action = Action.CREATE, target: str = TARGET) -> list[Change]:
    return [Change(f"grant/n/a{index}:viewer@{target}", action, {"target": target, "role": "r"}) for index in range(count)]


def policy(size: int) -> dict[str, Policy]:
    members = [f"user:{index}@example.com" for index in range(size)]
    return {TARGET: {"bindings": [{"role": "a", "members": members[:5]}, {"role": "b", "members": members[5:]}]}}


def many(federation: Federation, namespace: str, count: int, **fields: object) -> Federation:
    accounts = (ServiceAccountRef(namespace, f"app-{index}") for index in range(count))
    more = tuple(replace(Workload(account, roles=("roles/viewer",)), **fields) for account in accounts)  # type: ignore[arg-type]  # the caller knows
    return replace(federation, workloads=(*federation.workloads, *more))


def lines_of(text: str) -> dict[str, object]:
    """Return what is to be written."""
    spec = yaml.safe_load(text.partition(":\n")[2])["spec"]
    assert isinstance(spec, dict)
    return spec


def only(crowd: Crowd, census: dict[str, tuple[str, ...] | None]) -> tuple[str, str, str]:
    (objection,) = crowd.objections(census)
    assert not list(crowd.cautions(census))
    assert objection.code == "plan.policy-too-large"
    return objection.what, objection.why, objection.next_step


def test_a_policy_that_passes_googles_limit_is_refused_with_the_lines_to_write(federation: Federation) -> None:
    crowd = Crowd(many(federation, "team-a", 400), policy(1499), grants(2))
    assert crowd.namespaces == ("team-a",)
    what, why, cure = only(crowd, {"team-a": (*(f"app-{index}" for index in range(400)), "default", "deploy")})
    assert what == f"The IAM policy of {TARGET} would have 1501 principals; Google refuses more than 1500."
    assert "the policy would then have 1102" in why
    assert "In team-a 2 accounts more than the 400 of the file would have it (default, deploy), and whoever comes." in why
    assert "take what they give from the workloads of team-a" in cure
    assert lines_of(cure) == {
        "google": {
            "attributeMapping": {"google.subject": "assertion.sub", "attribute.namespace": "assertion['kubernetes.io']['namespace']"}
        },
        "workloads": [{"namespace": "team-a", "roles": ["roles/viewer"]}],
    }


def test_a_policy_that_comes_near_to_it_is_named_before(federation: Federation) -> None:
    crowd = Crowd(many(federation, "team-a", 3), {}, grants(1201))
    assert not list(crowd.objections({}))
    (caution,) = crowd.cautions({"team-a": None})
    assert caution.code == "policy-size"
    assert caution.message.startswith(
        f"The IAM policy of {TARGET} would have 1201 principals; Google will refuse more than 1500. One principal"
    )
    assert "Who else lives in team-a, the operator may not see" in caution.message


def test_where_no_set_helps_a_shared_account_is_named(federation: Federation) -> None:
    crowd = Crowd(federation, policy(1499), grants(2))
    assert crowd.namespaces == ()
    assert only(crowd, {})[1:] == ("", "Workloads that need the same roles can share a googleServiceAccount: it is one principal.")


def test_what_stays_small_or_shrinks_is_not_spoken_of(federation: Federation) -> None:
    def spoken(policies: dict[str, Policy], changes: Iterable[Change]) -> list[object]:
        crowd = Crowd(many(federation, "team-a", 9), policies, changes)
        return [*crowd.objections({}), *crowd.cautions({})]

    assert spoken(policy(1199), grants(1)) == []
    assert spoken(policy(1499), grants(1, Action.DELETE)) == []
    assert spoken(policy(1600), grants(1, Action.DELETE)) == []
    assert spoken(policy(1499), [Change("pool/p", Action.CREATE, {})]) == []


def test_only_what_all_of_a_namespace_have_is_proposed_and_the_largest_first(federation: Federation) -> None:
    under = GrantCondition("t", "e")
    few = many(federation, "team-few", 20, roles=("roles/viewer",))
    both = many(few, "team-many", 300, roles=("roles/viewer", "roles/browser"))
    one = replace(both.workloads[-1], roles=("roles/browser",), grants=(Grant("roles/viewer", project="demo-project", condition=under),))
    crowd = Crowd(replace(both, workloads=(*both.workloads[:-1], one)), policy(1400), grants(101))
    assert crowd.namespaces == ("team-many", "team-few")
    spec = lines_of(only(crowd, {})[2])
    assert spec["workloads"] == [
        {"namespace": "team-many", "roles": ["roles/browser"]},
        {"namespace": "team-few", "roles": ["roles/viewer"]},
    ]


@pytest.mark.parametrize(("existing", "written"), [(False, "shared"), (True, "shared@demo-project.iam.gserviceaccount.com")])
def test_an_account_that_too_many_may_become_is_bound_to_the_namespace(federation: Federation, existing: bool, written: str) -> None:  # noqa: FBT001 - a row
    account = GoogleServiceAccount("shared@demo-project.iam.gserviceaccount.com")
    shared = many(federation, "team-a", 30, google_service_account=account, account_is_existing=existing)
    spec = lines_of(only(Crowd(shared, {}, grants(1501, target=f"account/{account.email}")), {})[2])
    assert spec["workloads"] == [{"namespace": "team-a", "googleServiceAccount": written}]


def test_a_bucket_s_lines_name_the_bucket_and_a_mapped_attribute_is_used(federation: Federation) -> None:
    mapping = {
        "google.subject": "assertion.sub",
        "attribute.namespace": "'x'",
        "attribute.ns": "'c::' + assertion['kubernetes.io'].namespace",
    }
    shared = many(federation, "team-a", 30, roles=(), grants=(Grant("roles/storage.objectViewer", bucket="photos"),))
    crowd = Crowd(replace(shared, google=replace(shared.google, attribute_mapping=mapping)), {}, grants(1501, target="bucket/photos"))
    assert lines_of(only(crowd, {})[2]) == {
        "google": {"attributeMapping": mapping},
        "workloads": [
            {"namespace": "team-a", "member": "attribute.ns", "grants": [{"role": "roles/storage.objectViewer", "bucket": "photos"}]}
        ],
    }
