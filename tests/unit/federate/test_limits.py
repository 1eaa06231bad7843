# SPDX-License-Identifier: Apache-2.0
from podpass.federate.change import Action, Change
from podpass.federate.limits import cautions
from podpass.google.policy import Policy


def grants(count: int, action: Action = Action.CREATE) -> list[Change]:
    return [Change(f"grant/n/a{index}:viewer@project/demo", action, {"target": "project/demo", "role": "r"}) for index in range(count)]


def policy(size: int) -> dict[str, Policy]:
    members = [f"user:{index}@example.com" for index in range(size)]
    return {"project/demo": {"bindings": [{"role": "a", "members": members[:5]}, {"role": "b", "members": members[5:]}]}}


def test_a_policy_that_passes_googles_limit_is_named_with_the_way_out() -> None:
    (caution,) = cautions(policy(1499), grants(2))
    assert caution.code == "policy-size"
    assert caution.message.startswith("The IAM policy of project/demo would have 1501 principals; Google refuses more than 1500.")
    assert "share a googleServiceAccount" in caution.message


def test_a_policy_that_comes_near_to_it_is_named_before() -> None:
    (caution,) = cautions({}, grants(1201))
    assert "would have 1201 principals; Google will refuse more than 1500" in caution.message


def test_what_stays_small_or_shrinks_is_not_spoken_of() -> None:
    assert not list(cautions(policy(1199), grants(1)))
    assert not list(cautions(policy(1499), grants(1, Action.DELETE)))
    assert not list(cautions(policy(1499), [Change("pool/p", Action.CREATE, {})]))
